"""Failures of trainers, models and tokenizers, each as small as it still fails for real."""

from __future__ import annotations

from .making import Case

TRL = ("trl", "transformers", "torch")
TRANSFORMERS = ("transformers", "torch")

_SFT = """
from datasets import Dataset, load_dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer
def config(**more):
    common = dict(output_dir="checkpoint", use_cpu=True, bf16=False, max_steps=4, logging_steps=1, disable_tqdm=True,
                  report_to="none", max_length=64, per_device_train_batch_size=2, save_strategy="no")
    return SFTConfig(**(common | more))
chats = load_dataset("json", data_files=CHATS, split="train")
"""
_TEMPLATE = 'tokenizer = AutoTokenizer.from_pretrained(MODEL)\ntokenizer.chat_template = "%s"\n'

CASES = (
    # --- arguments and versions
    Case(
        name="sft_config_of_an_old_trl",
        failure="wrong_argument",
        packages=TRL,
        script=_SFT + "config(max_seq_length=512)\n",
    ),
    Case(
        name="trainer_given_a_tokenizer",
        failure="wrong_argument",
        packages=TRL,
        script=_SFT
        + """
SFTTrainer(MODEL, args=config(), train_dataset=chats, tokenizer=AutoTokenizer.from_pretrained(MODEL))
""",
    ),
    Case(
        name="best_model_without_matching_saves",
        failure="wrong_argument",
        packages=TRL,
        script=_SFT
        + """
config(load_best_model_at_end=True, eval_strategy="steps", save_strategy="epoch")
""",
    ),
    Case(
        name="trainer_that_moved",
        failure="wrong_import",
        packages=TRL,
        script="from trl import DataCollatorForCompletionOnlyLM\n",
    ),
    Case(name="package_missing", failure="missing_package", packages=TRL, script="import unsloth\n"),
    Case(
        name="wandb_missing",
        failure="missing_package",
        packages=TRL,
        script=_SFT
        + """
SFTTrainer(MODEL, args=config(report_to="wandb"), train_dataset=chats).train()
""",
    ),
    Case(
        name="flash_attention_missing",
        failure="flash_attention",
        packages=TRL,
        script=_SFT
        + """
SFTTrainer(MODEL, args=config(model_init_kwargs={'attn_implementation': 'flash_attention_2'}), train_dataset=chats)
""",
    ),
    Case(
        name="bitsandbytes_missing",
        failure="quantizer",
        packages=TRANSFORMERS,
        script="""
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
AutoModelForCausalLM.from_pretrained(MODEL, quantization_config=BitsAndBytesConfig(load_in_4bit=True))
""",
    ),
    Case(
        name="adapter_without_targets",
        failure="adapter_targets",
        packages=("peft", "trl"),
        script=_SFT
        + """
from peft import LoraConfig
lora = LoraConfig(target_modules=['query_key_value'], task_type='CAUSAL_LM')
SFTTrainer(MODEL, args=config(), train_dataset=chats, peft_config=lora)
""",
    ),
    Case(
        name="grpo_without_a_reward",
        failure="wrong_argument",
        packages=TRL,
        script="""
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
rows = Dataset.from_list([{'prompt': 'a'}])
GRPOTrainer(MODEL, args=GRPOConfig(use_cpu=True, bf16=False, report_to='none'), train_dataset=rows)
""",
    ),
    # --- columns, as trainers meet them
    Case(
        name="sft_prompt_beside_messages",
        failure="missing_column",
        packages=TRL,
        script=_SFT
        + """
SFTTrainer(MODEL, args=config(), train_dataset=chats.add_column('prompt', ['x'] * len(chats)))
""",
    ),
    Case(
        name="sft_text_column_missing",
        failure="missing_column",
        packages=TRL,
        script=_SFT + "SFTTrainer(MODEL, args=config(), train_dataset=chats.rename_column('messages', 'body'))\n",
    ),
    Case(
        name="dpo_rejected_missing",
        failure="missing_column",
        packages=TRL,
        script="""
from datasets import Dataset
from trl import DPOConfig, DPOTrainer
rows = Dataset.from_list([{'prompt': 'a', 'chosen': 'b'}] * 4)
DPOTrainer(MODEL, args=DPOConfig(use_cpu=True, bf16=False, report_to='none'), train_dataset=rows)
""",
    ),
    Case(
        name="grpo_prompt_missing",
        failure="missing_column",
        packages=TRL,
        script="""
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
rows = Dataset.from_list([{'question': 'a'}] * 8)
config = GRPOConfig(use_cpu=True, bf16=False, report_to='none', max_completion_length=4, disable_tqdm=True)
GRPOTrainer(MODEL, args=config, train_dataset=rows, reward_funcs=lambda **_: [0.0]).train()
""",
    ),
    # --- tokenizers and templates
    Case(
        name="chat_template_missing",
        failure="chat_template",
        packages=TRL,
        script=_SFT
        + """
tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.chat_template = None
SFTTrainer(MODEL, args=config(), train_dataset=chats, processing_class=tokenizer)
""",
    ),
    Case(
        name="chat_template_raises",
        failure="chat_template",
        packages=TRL,
        script=_SFT
        + """
tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.chat_template = "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
SFTTrainer(MODEL, args=config(), train_dataset=chats, processing_class=tokenizer)
""",
    ),
    Case(
        name="assistant_only_loss_without_mask",
        failure="chat_template",
        packages=TRL,
        script=_SFT
        + """
tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
SFTTrainer(MODEL, args=config(assistant_only_loss=True), train_dataset=chats, processing_class=tokenizer).train()
""",
    ),
    Case(
        name="padding_token_missing",
        failure="padding_token",
        packages=TRANSFORMERS,
        script="""
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(MODEL)
tokenizer.pad_token = None
tokenizer(['a', 'bc'], padding=True)
""",
    ),
    Case(
        name="tokenizer_missing",
        failure="broken_model",
        packages=TRANSFORMERS,
        script="""
import pathlib
from transformers import AutoTokenizer
for name in ('tokenizer.json', 'tokenizer_config.json'):
    pathlib.Path(MODEL, name).unlink()
AutoTokenizer.from_pretrained(MODEL)
""",
    ),
    Case(
        name="token_beyond_the_vocabulary",
        failure="token_range",
        packages=TRANSFORMERS,
        script="""
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(MODEL)
model(input_ids=torch.tensor([[1, 5000]]))
""",
    ),
    # --- models
    Case(
        name="architecture_unknown",
        failure="unknown_architecture",
        packages=TRANSFORMERS,
        script="""
import json, pathlib
from transformers import AutoModelForCausalLM
pathlib.Path(MODEL, 'config.json').write_text(json.dumps({'model_type': 'qwen9', 'architectures': ['Qwen9']}))
AutoModelForCausalLM.from_pretrained(MODEL)
""",
    ),
    Case(
        name="remote_code_needed",
        failure="remote_code",
        packages=TRANSFORMERS,
        script="""
import json, pathlib
from transformers import AutoModelForCausalLM
config = {'model_type': 'own', 'auto_map': {'AutoConfig': 'own.Config', 'AutoModelForCausalLM': 'own.Model'}}
pathlib.Path(MODEL, 'config.json').write_text(json.dumps(config))
AutoModelForCausalLM.from_pretrained(MODEL)
""",
    ),
    Case(
        name="weights_missing",
        failure="broken_model",
        packages=TRANSFORMERS,
        script="""
import pathlib
from transformers import AutoModelForCausalLM
pathlib.Path(MODEL, 'model.safetensors').unlink()
AutoModelForCausalLM.from_pretrained(MODEL)
""",
    ),
    Case(
        name="weights_cut_short",
        failure="broken_model",
        packages=TRANSFORMERS,
        script="""
import pathlib
from transformers import AutoModelForCausalLM
weights = pathlib.Path(MODEL, 'model.safetensors')
weights.write_bytes(weights.read_bytes()[:5000])
AutoModelForCausalLM.from_pretrained(MODEL)
""",
    ),
    Case(
        name="tied_weights_on_save",
        failure="tied_weights",
        packages=("safetensors", "torch"),
        script="""
import torch
from safetensors.torch import save_file
weight = torch.zeros(4, 4)
save_file({'model.embed_tokens.weight': weight, 'lm_head.weight': weight}, 'model.safetensors')
""",
    ),
    # --- checkpoints
    Case(
        name="checkpoint_not_there",
        failure="broken_checkpoint",
        packages=TRL,
        script=_SFT
        + """
SFTTrainer(MODEL, args=config(), train_dataset=chats).train(resume_from_checkpoint='checkpoint/none')
""",
    ),
    Case(
        name="checkpoint_cut_short",
        failure="broken_checkpoint",
        packages=TRL,
        script=_SFT
        + """
import pathlib
SFTTrainer(MODEL, args=config(save_strategy='steps', save_steps=2), train_dataset=chats).train()
state = pathlib.Path('checkpoint/checkpoint-2/optimizer.pt')
state.write_bytes(state.read_bytes()[:2000])
SFTTrainer(MODEL, args=config(), train_dataset=chats).train(resume_from_checkpoint='checkpoint/checkpoint-2')
""",
    ),
    Case(
        name="checkpoint_of_another_shape",
        failure="broken_checkpoint",
        packages=("peft", "trl"),
        script=_SFT
        + """
from peft import LoraConfig
def trainer(rank):
    lora = LoraConfig(r=rank, target_modules='all-linear', task_type='CAUSAL_LM')
    return SFTTrainer(MODEL, args=config(save_strategy='steps', save_steps=2), train_dataset=chats, peft_config=lora)
trainer(4).train()
trainer(8).train(resume_from_checkpoint='checkpoint/checkpoint-2')
""",
    ),
    # --- numbers
    Case(
        name="loss_is_nan",
        failure="not_finite",
        packages=TRL,
        script=_SFT
        + """
import math, sys
from transformers import TrainerCallback
class Watch(TrainerCallback):
    def on_log(self, args, state, control, logs=None, **kwargs):
        if not math.isfinite(logs.get('loss', 0.0)):
            print(f"loss is {logs['loss']} at step {state.global_step}: training ends here", file=sys.stderr)
            sys.exit(3)
wild = config(learning_rate=1e30, max_grad_norm=0, logging_nan_inf_filter=False, max_steps=30)
SFTTrainer(MODEL, args=wild, train_dataset=chats, callbacks=[Watch()]).train()
""",
    ),
    Case(
        name="fp16_without_a_gpu",
        failure="none",  # the installed version falls back, and trains
        stage="completed",
        packages=TRL,
        script=_SFT + "SFTTrainer(MODEL, args=config(fp16=True, use_cpu=False), train_dataset=chats).train()\n",
    ),
    Case(
        name="nothing_left_to_learn",
        failure="nothing_to_learn",
        packages=TRL,
        script="""
import sys
print('36 rows to train on with 0 trained tokens, 4 rows held out')
sys.exit('every label is masked (-100), nothing would be learned: check the mapping and MAX_LENGTH')
""",
    ),
    Case(
        name="dataset_is_empty",
        failure="nothing_to_learn",
        packages=TRL,
        script=_SFT + "SFTTrainer(MODEL, args=config(), train_dataset=chats.select([])).train()\n",
    ),
)
