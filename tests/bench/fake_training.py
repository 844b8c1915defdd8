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
import trl.trainer.utils
from datasets import Dataset, disable_progress_bars
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
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
    SFTConfig,
    SFTTrainer,
)
from trl.kernels import chunked_logprob

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
    tracker = Storages()
    with FakeTensorMode(allow_non_fake_inputs=True):
        trainer: Any = _trainer(setup, device="cpu")
        for model in (trainer.model, getattr(trainer, "ref_model", None)):
            if model is not None:
                tracker.track_external(model)
        vocabulary = trainer.model.get_input_embeddings().num_embeddings
        answers = Answers(share=setup["trained_share"], padded=setup["padded"], vocabulary=vocabulary)
        with tracker, answers:
            trainer.train()
    (snapshot,) = tracker.get_tracker_snapshot("peak").values()
    return {str(kind).rpartition(".")[2].lower(): size for kind, size in snapshot.items() if size}


def _be_like_a_gpu() -> None:
    """Put in place what is done otherwise there, and what fake tensors stand in the way of."""
    kernels: Any = chunked_logprob
    kernels._forward_tile = kernels._backward_tile = lambda *_, **__: None
    kernels._addmm_fp32 = lambda *_: None
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
        "bf16": setup["precision"] == "bf16" and not setup["pure"],
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
        common |= {"num_generations": setup["batch"], "beta": 0.0}
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
        raise NotImplementedError("bitsandbytes quantises as it loads; give it a folder with weights")
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
    length = setup["length"]
    answer = round(setup["trained_share"] * length)
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


class Scored:
    """Takes completions as they are when they were generated and scored, instead of generating them."""

    setup: dict[str, Any]

    def _prepare_inputs(self: Any, generation_batch: Any) -> dict[str, Any]:
        rows, answer = self.args.per_device_train_batch_size, round(self.setup["trained_share"] * self.setup["length"])
        make = {"device": self.accelerator.device, "dtype": torch.long}
        question = self.setup["length"] - answer
        return {
            "prompt_ids": torch.ones(rows, question, **make),
            "prompt_mask": torch.ones(rows, question, **make),
            "completion_ids": torch.ones(rows, answer, **make),
            "completion_mask": torch.ones(rows, answer, **make),
            "advantages": torch.ones(rows, device=self.accelerator.device),
            "old_logps": torch.ones(rows, device=self.accelerator.device),
            "num_items_in_batch": torch.tensor(rows * answer, device=self.accelerator.device),
        }


class ScoredGRPO(Scored, GRPOTrainer): ...


class ScoredRLOO(Scored, RLOOTrainer): ...


TRAINERS: dict[str, tuple[Any, Any]] = {
    "sft": (SFTTrainer, SFTConfig),
    "dpo": (DPOTrainer, DPOConfig),
    "kto": (KTOTrainer, KTOConfig),
    "reward": (RewardTrainer, RewardConfig),
    "grpo": (ScoredGRPO, GRPOConfig),
    "rloo": (ScoredRLOO, RLOOConfig),
}
