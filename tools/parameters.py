"""Every value of a training: what was stated, else what a planner set, else what a rule or a default says, and why."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pydantic import ValidationError

from .errors import ToolError
from .facts import (
    GENERATING_METHODS,
    REWARDED_METHODS,
    DatasetReport,
    HardwareChoice,
    Method,
    Overrides,
    Parameter,
    Spec,
)
from .work import COMPLETION_TOKENS, GENERATIONS

# What `pick_hardware` settled, under the names of TRL and PEFT: memory, time and cost hang on it.
FROM_HARDWARE = {
    "adapter": "adapter",
    "precision": "precision",
    "activation_checkpointing": "checkpointing",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch",
    "gradient_accumulation_steps": "accumulation",
    "max_length": "max_length",
}
# Which rows are trained on, where somebody says so; all are by default.
OF_ROWS = ("max_train_samples", "sampling")
# What `write_script` itself decides, and a planner may set.
SETTABLE = (
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "r", "lora_alpha", "packing", "seed"),
    *("beta", "temperature", "lora_dropout"),
)

BY_PLANNER = "set by the planner"
BY_REPAIR = "changed by a repair"

SHORT_RUN_STEPS, SHORT_RUN_RATE = 100, 3e-4
"""Up to here LoRA's best learning rate was about 15 times the full one, later 10 times ("LoRA Without Regret")."""
_REGRET = "LoRA Without Regret, Schulman et al., 2025"
POINTS = 50
"""Points of the loss curve."""

NOT_PACKED = (
    "batches of like length have little padding, and rows packed to 1,000 tokens took 32 % more CPU time a token: "
    "SDPA scores all pairs of a batch; on GPUs not measured"
)
"""SmolLM2-135M, LoRA, fp32, chats of 100 tokens, milliseconds of CPU a token: 6.8 in batches of 4 by length, 7.4
padding-free, 9.0 packed, 9.4 in random batches of 8. Flash attention would not score all pairs, but transformers 5.23
loads its kernels with `kernels` 0.18.2 to 0.19 only, and the newest on PyPI was 0.17.2 (November 2026)."""


class Rates(NamedTuple):
    """Learning rates of a method, its warm-up, and where they come from."""

    full: float
    lora: float
    warmup_steps: float
    source: str


_ZEPHYR = "alignment-handbook's zephyr-7b-dpo-full and -qlora"
RATES: dict[Method, Rates] = {
    "sft": Rates(2e-5, 2e-4, 0.03, "TRL; 10 times that for LoRA"),
    "dpo": Rates(5e-7, 5e-6, 0.1, _ZEPHYR),
    "kto": Rates(5e-7, 5e-6, 0.1, "TRL's scripts/kto.py; 10 times that for LoRA"),
    "grpo": Rates(1e-6, 1e-5, 0.1, "TRL and open-r1; 10 times that for LoRA"),
    "rloo": Rates(1e-6, 1e-5, 0.1, "TRL; 10 times that for LoRA"),
    "reward": Rates(1e-5, 1e-4, 0.03, "TRL's scripts/reward.py, full and LoRA"),
    "distillation": Rates(2e-5, 2e-4, 0.03, "TRL's scripts/distillation.py, full and LoRA"),
}
BETAS: dict[Method, tuple[float, str]] = {
    "dpo": (0.1, "as TRL"),
    "kto": (0.1, "as TRL"),
    "grpo": (0.0, "as TRL: no reference model"),
    "rloo": (0.05, "as TRL"),
    "distillation": (1.0, "as TRL: reverse KL on the student's own answers"),
}


def choose_parameters(
    spec: Spec,
    dataset: DatasetReport,
    hardware: HardwareChoice,
    overrides: dict[str, Any],
    repaired: dict[str, Any] | None = None,
) -> tuple[Parameter, ...]:
    """Return every value of the training: what was stated, else what a repair or the planner set, else what rules say.

    Raises:
        ToolError: An override is refused.
    """
    stated = spec.overrides.given()
    if "gradient_checkpointing" in stated:
        stated["activation_checkpointing"] = stated.pop("gradient_checkpointing")
    wanted = _checked(overrides, stated)
    settled = {name: getattr(hardware, field) for name, field in FROM_HARDWARE.items()} | wanted | stated
    if settled["adapter"] == "full" and (useless := {"r", "lora_alpha", "lora_dropout"} & (stated | wanted).keys()):
        raise ToolError(
            f"this run trains all weights: there is no adapter for {' and '.join(sorted(useless))}.",
            hint="call pick_hardware with adapter lora, or leave the rank out",
        )
    rules = {rule.name: rule for rule in _rules(spec.method, dataset, hardware, settled)}
    rules |= {name: _rule(name, value, BY_PLANNER) for name, value in wanted.items()}
    rules |= {name: _rule(name, value, BY_REPAIR) for name, value in (repaired or {}).items() if name in rules}
    said = {name: value for name, value in stated.items() if name in rules or name in OF_ROWS}  # the rest is for others
    rules |= {name: Parameter(name=name, value=value, origin="stated") for name, value in said.items()}
    return tuple(rules.values())


def _checked(overrides: dict[str, Any], stated: dict[str, Any]) -> dict[str, Any]:
    """Return a planner's overrides as the types that they should have."""
    for name in overrides:
        if name in FROM_HARDWARE:
            raise ToolError(
                f"`{name}` is settled by pick_hardware: memory, time and cost hang on it.", hint="call pick_hardware"
            )
        if name not in SETTABLE:
            raise ToolError(f"there is no override `{name}`.", hint=f"known: {', '.join(SETTABLE)}")
    try:
        wanted = Overrides.model_validate(overrides).given()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise ToolError(f"`{overrides[name]}` is no {name}: {first['msg'].lower()}.", hint="leave it out") from error
    for name, value in wanted.items():
        if name in stated and stated[name] != value:
            raise ToolError(
                f"the person stated {name} {stated[name]}; {value} is another one.",
                hint=f"leave `{name}` out, or ask them",
            )
    return wanted


def _rules(
    method: Method, dataset: DatasetReport, hardware: HardwareChoice, settled: dict[str, Any]
) -> list[Parameter]:
    """Return every parameter as it is when nobody says otherwise."""
    at_once = settled["per_device_train_batch_size"] * max(1, hardware.gpus)
    rows_a_step = at_once * settled["gradient_accumulation_steps"]
    steps = _steps(method, dataset, settled, rows_a_step)
    rules = [
        *(
            _rule(name, getattr(hardware, field), f"pick_hardware, for {hardware.flavor}")
            for name, field in FROM_HARDWARE.items()
            if name != "max_length" or method not in GENERATING_METHODS
        ),
        *_of_method(method, dataset),
        _default("max_steps", -1, "the epochs decide"),
        _learning_rate(method, settled["adapter"], steps),
        _rule("lr_scheduler_type", "cosine", "as Stanford Alpaca, alignment-handbook and open-r1"),
        _warmup(method, steps),
        _default("weight_decay", 0.0, "as transformers"),
        _default("seed", 42, "as transformers"),
        _rule("logging_steps", max(1, round(steps / POINTS)), f"about {POINTS} points over {steps} steps"),
        _default("save_total_limit", 2, "the last two checkpoints, in case one is cut short"),
        *_evaluations(method, hardware.hours.expected, rows=steps * rows_a_step),
    ]
    if settled["adapter"] != "full":
        rank = settled.get("r", 16)
        rules.append(_rule("r", rank, f"on all linear layers; enough for small datasets ({_REGRET})"))
        rules.append(_rule("lora_alpha", 2 * rank, "twice the rank"))
        rules.append(_default("lora_dropout", 0.0, "as PEFT"))
    return rules


def _rule(name: str, value: Any, reason: str) -> Parameter:
    return Parameter(name=name, value=value, origin="rule", reason=reason)


def _default(name: str, value: Any, reason: str) -> Parameter:
    return Parameter(name=name, value=value, origin="default", reason=reason)


def _steps(method: Method, dataset: DatasetReport, settled: dict[str, Any], rows_a_step: int) -> int:
    """Return how many optimizer steps the training takes; a filter at its end may leave a few less."""
    if settled.get("max_steps", -1) > 0:
        return settled["max_steps"]
    rows = dataset.rows - (dataset.holdout.rows if dataset.holdout else 0)
    if method in REWARDED_METHODS:
        rows *= settled.get("num_generations", GENERATIONS)
    if settled.get("packing"):
        rows = math.ceil(dataset.train_tokens / settled["max_length"])
    return max(1, math.ceil(settled["num_train_epochs"] * math.ceil(rows / rows_a_step)))


def _of_method(method: Method, dataset: DatasetReport) -> list[Parameter]:
    """Return what only this method has."""
    rules = [_default("beta", *BETAS[method])] if method in BETAS else []
    if method == "sft":
        rules.append(_rule("loss_on", dataset.loss_on, "as the dataset was validated"))
        rules.append(_rule("packing", False, NOT_PACKED))
    if method in GENERATING_METHODS:
        rules.append(_default("max_completion_length", COMPLETION_TOKENS, "as TRL"))
        rules.append(_default("temperature", 1.0, "as TRL"))
    if method in REWARDED_METHODS:
        rules.append(_default("num_generations", GENERATIONS, "as TRL's GRPO"))
    return rules


def _learning_rate(method: Method, adapter: str, steps: int) -> Parameter:
    rates = RATES[method]
    if adapter == "full":
        return _rule("learning_rate", rates.full, f"for all weights ({rates.source})")
    if method == "sft" and steps < SHORT_RUN_STEPS:
        return _rule(
            "learning_rate", SHORT_RUN_RATE, f"15 times that for all weights, as {steps} steps are few ({_REGRET})"
        )
    return _rule("learning_rate", rates.lora, f"for LoRA ({rates.source}; {_REGRET})")


def _warmup(method: Method, steps: int) -> Parameter:
    """Return the share of steps in which the rate rises; transformers begins at 0, so one step of it teaches nothing.

    A run of a single step had, to the last digit, the held-out loss of the untrained model (measured).
    """
    rates = RATES[method]
    if rates.warmup_steps * steps <= 1:
        return _rule("warmup_steps", 0.0, f"of {steps} steps it would be one, at rate 0, from which nothing is learned")
    return _rule("warmup_steps", rates.warmup_steps, rates.source)


def _evaluations(method: Method, hours: float, *, rows: int) -> list[Parameter]:
    """Return how often the model is evaluated and saved, about every half hour, and on how many rows.

    A row that is only evaluated costs about a third of one that is trained on, and as much where it is answered first.
    """
    times = max(2, min(20, math.ceil(2 * hours)))
    if method in GENERATING_METHODS:
        fewest, share = 4, 0.07 / (GENERATIONS if method in REWARDED_METHODS else 1)
    else:
        fewest, share = 16, 0.2
    return [
        _rule("eval_steps", round(1 / times, 4), f"evaluated and saved {times} times; the last is kept"),
        _rule("eval_rows", max(fewest, round(share * rows / times)), "all evaluations take about 7 % of the time"),
    ]
