"""Two steps of TRL's own trainer on a real model class, and the most memory that its tensors took.

Without a GPU the tensors are fake: they have shapes and no bytes (`FakeTensorMode`), and `MemTracker` adds up their
storages. What a GPU does otherwise than a CPU is put in place: TRL's loss kernels are Triton's there and work in place,
so that here they do nothing, and positions without a label are not scored. With `cuda` the same training runs for real,
and `torch.cuda.max_memory_allocated` has the word. bitsandbytes has no fake kernels: QLoRA is not measured.

`tests/bench/memory.py` starts it; it must not be imported by anything else, since it takes torch with it.
"""

# pyright: reportPrivateImportUsage=false
# (trl and transformers export lazily)

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers.masking_utils
import trl.trainer.distillation_trainer
import trl.trainer.grpo_trainer
import trl.trainer.rloo_trainer
import trl.trainer.utils
from datasets import Dataset, disable_progress_bars
from fake_bits import quantise
from fake_gpus import join, spread
from fake_rollouts import FakeDistillation, FakeGRPO, FakeRLOO, answer_tokens
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from trl import (
    DistillationConfig,
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    SFTConfig,
    SFTTrainer,
)
from trl.kernels import chunked_divergence, chunked_logprob

CONFIGS = Path(__file__).parent.parent / "configs"
STEPS = 2  # the optimizer's state is there from the second one on


class Storages(MemTracker):
    """Counts storages only: the statistics by module would refuse a model that is called twice in a step."""

    def _pre_fw_hook(self, module: Any, inputs: Any) -> None: ...
    def _post_fw_hook(self, module: Any, inputs: Any, outputs: Any) -> None: ...
    def _pre_bw_hook(self, module: Any, args: Any) -> None: ...
    def _post_bw_hook(self, module: Any, args: Any) -> None: ...


class Answers(TorchDispatchMode):
    """Answers what depends on values, which fake tensors have none of."""

    def __init__(self, *, share: float, padded: bool, vocabulary: int) -> None:
        super().__init__()
        self.share, self.padded, self.vocabulary = share, padded, vocabulary

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            if args[0].dtype == torch.bool:  # transformers asks whether every token is a real one, to do without a mask
                return not self.padded
            return 1.0 if args[0].is_floating_point() else 1
        if func is torch.ops.aten.index.Tensor and [i.dtype for i in args[1] if i is not None] == [torch.bool]:
            source, (mask,) = args
            return source.new_empty((round(self.share * mask.numel()), *source.shape[mask.dim() :]))
        if func is torch.ops.aten.nonzero.default:
            return args[0].new_empty((args[0].numel(), args[0].dim()), dtype=torch.long)
        if func is torch.ops.aten.add.Tensor and self._both_grads_of_a_tied_head(*args):
            # the engine adds real ones in place (can_accumulate_inplace in torch/csrc/autograd/input_buffer.cpp)
            return args[0].add_(args[1])
        return func(*args, **(kwargs or {}))

    def _both_grads_of_a_tied_head(self, one: Any, other: Any) -> bool:
        return (
            isinstance(other, torch.Tensor)
            and one.dim() == 2
            and one.shape == other.shape
            and len(one) == self.vocabulary
        )


class HalfToFloat(torch.autograd.Function):
    """softmax(bfloat16) in float32 as CUDA does it, in one kernel; a CPU makes a float32 copy of the scores first.

    `half_to_float` in aten/src/ATen/native/SoftMax.cpp.
    """

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor) -> torch.Tensor:
        ctx.dtype = scores.dtype
        ctx.save_for_backward(shares := torch.empty_like(scores, dtype=torch.float32))
        return shares

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(grads[0], dtype=ctx.dtype)


def _softmax(scores: torch.Tensor, dim: int, dtype: torch.dtype | None = None, **_: Any) -> torch.Tensor:
    if dtype == torch.float32 and scores.dtype == torch.bfloat16:
        return HalfToFloat.apply(scores)
    return torch.softmax(scores, dim, dtype)


def peak_bytes(setup: dict[str, Any], *, cuda: bool = False) -> dict[str, int]:
    """Return the peak in bytes, in all and by what MemTracker takes it for; it changes torch and TRL for good."""
    disable_progress_bars()
    if cuda:
        return _real_peak(setup)
    _be_like_a_gpu()
    gpus = join(setup["gpus"]) if setup["gpus"] > 1 else None
    tracker = Storages()
    with FakeTensorMode(allow_non_fake_inputs=True):
        trainer: Any = _trainer(setup, device="cpu")
        if gpus is not None:
            spread(trainer, gpus, pure=setup["pure"])
        for name in ("model", "ref_model", "teacher_model"):
            if getattr(trainer, name, None) is not None:
                tracker.track_external(getattr(trainer, name))
        vocabulary = trainer.model.get_input_embeddings().num_embeddings
        # a distillation looks at completions only, and all of them carry loss
        share = 1.0 if setup["method"] == "distillation" else setup["trained_share"]
        answers = Answers(share=share, padded=setup["padded"], vocabulary=vocabulary)
        with tracker, answers:
            trainer.train()
    (snapshot,) = tracker.get_tracker_snapshot("peak").values()
    return {str(kind).rpartition(".")[2].lower(): size for kind, size in snapshot.items() if size}


def _be_like_a_gpu() -> None:
    """Put in place what is done otherwise there, and what fake tensors stand in the way of."""
    kernels: Any = chunked_logprob
    kernels._forward_tile = kernels._backward_tile = lambda *_, **__: None
    kernels._addmm_fp32 = lambda *_: None
    two: Any = chunked_divergence
    two._stats_tile = two._jsd_tile = two._backward_tile = two._addmm_fp32 = lambda *_, **__: None
    two._project = lambda tile, hidden, weight, bias, start, end, dtype: [weight[start:end].to(dtype)].clear()
    distillation: Any = trl.trainer.distillation_trainer
    distillation._use_triton = lambda device: True
    utils: Any = trl.trainer.utils
    utils._use_triton = lambda device: True
    masks: Any = transformers.masking_utils
    masks.is_tracing = lambda tensor=None: False  # else it never does without a mask
    functions: Any = torch.nn.functional
    functions.softmax = _softmax
    module: Any = torch.nn.Module
    module._apply = _convert


def _real_peak(setup: dict[str, Any]) -> dict[str, int]:
    trainer = _trainer(setup, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    return {"total": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}


def _trainer(setup: dict[str, Any], device: str) -> Trainer:
    model, method = _model(setup, device), setup["method"]
    with tempfile.TemporaryDirectory() as folder:
        more: dict[str, Any] = {"train_dataset": _rows(setup), "args": _arguments(setup, folder, device)}
        if setup["logits"] == "full":
            return _plain_trainer(setup, model, **more)
        if method in ("dpo", "kto") and setup["adapter"] == "full":
            more["ref_model"] = _model(setup, device)
        if method in ("grpo", "rloo"):
            more["reward_funcs"] = lambda completions, **_: [0.0] * len(completions)
            rollouts: Any = trl.trainer.grpo_trainer if method == "grpo" else trl.trainer.rloo_trainer
            rollouts.create_model_from_path = lambda *_, **__: _model(setup, device)  # the second one
        if method == "distillation":
            more["teacher_model"] = _model(setup | {"model": setup["teacher"]}, device)
        trainer = TRAINERS[method][0](model, peft_config=_lora(setup), processing_class=_tokenizer(), **more)
    trainer.setup = setup
    trainer.remove_callback(PrinterCallback)
    return trainer


def _plain_trainer(setup: dict[str, Any], model: Any, **more: Any) -> Trainer:
    """Return transformers' own trainer, whose loss is taken from logits that are there as a whole."""
    if (lora := _lora(setup)) is not None:
        model = get_peft_model(model, lora)
    return Trainer(model, data_collator=DataCollatorForSeq2Seq(_tokenizer()), **more)


def _arguments(setup: dict[str, Any], folder: str, device: str) -> TrainingArguments:
    common: dict[str, Any] = {
        "output_dir": folder,
        "per_device_train_batch_size": setup["batch"],
        "gradient_accumulation_steps": 2 if setup["accumulates"] else 1,
        "max_steps": STEPS,
        "bf16": setup["precision"] == "bf16" and not setup["pure"] and setup["gpus"] == 1,
        "use_cpu": device == "cpu",
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1000,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    if setup["logits"] == "full":
        kwargs = {"use_reentrant": False}  # as TRL sets it
        return TrainingArguments(
            **common, gradient_checkpointing=setup["checkpointing"], gradient_checkpointing_kwargs=kwargs
        )
    if setup["method"] == "sft":
        common["dataset_kwargs"] = {"skip_prepare_dataset": True}
    if setup["method"] in ("grpo", "rloo"):
        common |= {"num_generations": setup["batch"], "beta": 0.05 if setup["reference"] else 0.0}
    if setup["method"] in ("grpo", "rloo", "distillation"):
        common["max_completion_length"] = answer_tokens(setup)
    else:
        common["max_length"] = setup["length"]
    return TRAINERS[setup["method"]][1](**common, activation_checkpointing=setup["checkpointing"])


def _model(setup: dict[str, Any], device: str) -> Any:
    config = AutoConfig.from_pretrained(CONFIGS / setup["model"])
    # as templates/sft.py does it: what is trained is held in full, unless everything is bfloat16
    full = setup["precision"] == "fp32" or (setup["adapter"] == "full" and not setup["pure"])
    dtype = torch.float32 if full else torch.bfloat16
    kind = AutoModelForCausalLM
    if setup["method"] == "reward":
        kind, config.num_labels, config.pad_token_id = AutoModelForSequenceClassification, 1, 0
    with _default(dtype), torch.device(device):
        model = kind.from_config(config, dtype=dtype, attn_implementation=setup["attention"])
    model.tie_weights()
    if setup["adapter"] == "qlora":
        quantise(model)
    return model


def _convert(module: torch.nn.Module, change: Any, recurse: bool = True) -> torch.nn.Module:
    """Do what `Module.to` does; torch would swap the tensors under their names, which fake ones do not let it."""
    for child in module.children():
        _convert(child, change)
    for kind in (module._parameters, module._buffers):
        for name, old in kind.items():
            if old is not None and (new := change(old)) is not old:
                kind[name] = torch.nn.Parameter(new, old.requires_grad) if kind is module._parameters else new
    return module


@contextlib.contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _lora(setup: dict[str, Any]) -> LoraConfig | None:
    if setup["adapter"] == "full":
        return None
    task = "SEQ_CLS" if setup["method"] == "reward" else "CAUSAL_LM"
    return LoraConfig(r=setup["rank"], lora_alpha=2 * setup["rank"], target_modules="all-linear", task_type=task)


def _tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({"<eos>": 0, "a": 1, "<pad>": 2}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<pad>")


def _rows(setup: dict[str, Any]) -> Dataset:
    """Return rows of as many tokens as were asked for, whose end carries loss; trainers add the end's token."""
    length, answer = setup["length"], answer_tokens(setup)
    prompt, completion = "a " * (length - answer), "a " * (answer - 1)
    row: dict[str, Any] = {"prompt": prompt}
    if setup["method"] == "sft":
        row = {"input_ids": [1] * length, "labels": [-100] * (length - answer) + [1] * answer}
    elif setup["method"] in ("dpo", "reward"):
        row |= {"chosen": completion, "rejected": completion[:-2] if setup["padded"] else completion}
    elif setup["method"] == "kto":
        row |= {"completion": completion, "label": True}
    rows = [dict(row) for _ in range(2 * STEPS * setup["batch"])]
    if setup["method"] == "kto":
        for one in rows[::2]:
            one["label"] = False
    if setup["method"] == "sft" and setup["padded"]:
        for one in rows[::2]:
            one["input_ids"], one["labels"] = one["input_ids"][:-1], one["labels"][:-1]
    return Dataset.from_list(rows)


TRAINERS: dict[str, tuple[Any, Any]] = {
    "sft": (SFTTrainer, SFTConfig),
    "dpo": (DPOTrainer, DPOConfig),
    "kto": (KTOTrainer, KTOConfig),
    "reward": (RewardTrainer, RewardConfig),
    "grpo": (FakeGRPO, GRPOConfig),
    "rloo": (FakeRLOO, RLOOConfig),
    "distillation": (FakeDistillation, DistillationConfig),
}
