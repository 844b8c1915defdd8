"""Writes `train.py`: a template of `tools/templates/` in which only literals change, each with where it comes from."""

from __future__ import annotations

import ast
import hashlib
import math
import re
import textwrap
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from .data.shaping.emitted import source_of
from .data.shaping.shapes import SELECT_COLUMNS
from .errors import InputError, ToolError
from .facts import DatasetReport, HardwareChoice, Method, Overrides, Parameter, Script, Spec
from .files import write_whole
from .gates import require
from .run import Run, experiment_name
from .versions import installed_version

SCRIPT = "train.py"
TEMPLATES: dict[Method, str] = {"sft": "sft.py"}

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
# What `write_script` itself decides, and a planner may set.
BY_PLANNER = "set by the planner"
BY_REPAIR = "changed by a repair"
SETTABLE = ("learning_rate", "lr_scheduler_type", "warmup_ratio", "weight_decay", "r", "lora_alpha", "packing", "seed")

SHORT_RUN_STEPS = 100
"""Up to here LoRA's best learning rate was about 15 times the full one, later 10 times ("LoRA Without Regret")."""
_REGRET = "LoRA Without Regret, Schulman et al., 2025"
POINTS = 50
"""Points of the loss curve."""
ONE_LINE = 50
"""Columns that a literal takes on one line at most: beside a key, and a few levels deep, lines stay below 120."""

_PIN = re.compile(r'^#     "([\w.-]+)==([\w.]+)",\n', re.MULTILINE)
_BITSANDBYTES = '#     "bitsandbytes==0.50.2",\n'
_FUNCTIONS = ("# <functions>\n", "\n# </functions>\n")


def write_script(run: Run, *, overrides: dict[str, Any] | None = None) -> Script:
    """Write `train.py`: readable, standalone, with pinned versions, Trackio, checkpoints and resuming.

    Returns the script's path and hash, the pinned packages, and every parameter with its value, its origin (stated by
    the person, by a rule, or a default) and its reason. What the person stated always wins. By default rules decide the
    rest: LoRA r=16 on all linear layers at 2e-4 (3e-4 in runs below 100 steps), full fine-tuning at 2e-5, cosine
    with 3 % warm-up, seed 42. Memory, batch and epochs come from pick_hardware.

    Args:
        run: The run, with data and hardware settled.
        overrides: Values for learning_rate, lr_scheduler_type, warmup_ratio, weight_decay, r, lora_alpha, packing or
            seed, where the person stated none.

    Raises:
        ToolError: An override is unknown, settled elsewhere, or contradicts what the person stated.
        InputError: The method has no script.
    """
    require("write_script", run)
    assert run.spec is not None and run.dataset is not None and run.hardware is not None
    planned = {name: value for repair in run.repairs for name, value in repair.planned.items()}
    repaired = {name: value for repair in run.repairs for name, value in repair.overrides.items()}
    parameters = choose_parameters(run.spec, run.dataset, run.hardware, planned | (overrides or {}), repaired)
    constants = {p.name.upper(): p.value for p in parameters} | _what_it_is(run, run.spec, run.dataset)
    text = render(_template(run.spec.method), constants, emitted_functions(run.dataset))
    content = text.encode()
    write_whole(run.folder / SCRIPT, content)
    return Script(
        path=SCRIPT,
        sha256=hashlib.sha256(content).hexdigest(),
        method=run.spec.method,
        parameters=parameters,
        pins=tuple(f"{name}=={pin}" for name, pin in _PIN.findall(text)),
    )


def script_is_unchanged(run: Run) -> bool:
    """Whether the script on disk is, byte by byte, the one that was written."""
    return run.script is not None and hash_on_disk(run) == run.script.sha256


def hash_on_disk(run: Run) -> str | None:
    """Return the SHA-256 of the script as it lies there now, or None where there is none."""
    if run.script is None or run.journal.folder is None:
        return None
    path = run.folder / run.script.path
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


# --- parameters -------------------------------------------------------------------------------------------------------


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
    wanted = _checked(overrides, stated)
    settled = {name: getattr(hardware, field) for name, field in FROM_HARDWARE.items()} | wanted | stated
    if settled["adapter"] == "full" and (useless := {"r", "lora_alpha"} & (stated | wanted).keys()):
        raise ToolError(
            f"this run trains all weights: there is no adapter for {' and '.join(sorted(useless))}.",
            hint="call pick_hardware with adapter lora, or leave the rank out",
        )
    rules = {rule.name: rule for rule in _rules(dataset, hardware, settled)}
    rules |= {name: _rule(name, value, BY_PLANNER) for name, value in wanted.items()}
    rules |= {name: _rule(name, value, BY_REPAIR) for name, value in (repaired or {}).items() if name in rules}
    said = {name: value for name, value in stated.items() if name in rules}  # the rest is for other tools
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


def _rules(dataset: DatasetReport, hardware: HardwareChoice, settled: dict[str, Any]) -> list[Parameter]:
    """Return every parameter as it is when nobody says otherwise."""
    rows_a_step = settled["per_device_train_batch_size"] * settled["gradient_accumulation_steps"]
    steps = _steps(dataset, settled, rows_a_step)
    rules = [
        _rule("loss_on", dataset.loss_on, "as the dataset was validated"),
        *(
            _rule(name, getattr(hardware, field), f"pick_hardware, for {hardware.flavor}")
            for name, field in FROM_HARDWARE.items()
        ),
        _default("max_steps", -1, "the epochs decide"),
        _learning_rate(settled["adapter"], steps),
        _rule("lr_scheduler_type", "cosine", "as Stanford Alpaca and open-r1"),
        _rule("warmup_ratio", 0.03, "as Stanford Alpaca and open-r1"),
        _default("weight_decay", 0.0, "as transformers"),
        _default("packing", False, "as TRL"),
        _default("seed", 42, "as transformers"),
        _rule("logging_steps", max(1, round(steps / POINTS)), f"about {POINTS} points over {steps} steps"),
        _default("save_total_limit", 2, "the last two checkpoints, in case one is cut short"),
        *_evaluations(hardware.hours.expected, rows=steps * rows_a_step),
    ]
    if settled["adapter"] != "full":
        rank = settled.get("r", 16)
        rules.append(_rule("r", rank, f"on all linear layers; enough for small datasets ({_REGRET})"))
        rules.append(_rule("lora_alpha", 2 * rank, "twice the rank"))
    return rules


def _rule(name: str, value: Any, reason: str) -> Parameter:
    return Parameter(name=name, value=value, origin="rule", reason=reason)


def _default(name: str, value: Any, reason: str) -> Parameter:
    return Parameter(name=name, value=value, origin="default", reason=reason)


def _steps(dataset: DatasetReport, settled: dict[str, Any], rows_a_step: int) -> int:
    """Return how many optimizer steps the training takes; a filter at its end may leave a few less."""
    if settled.get("max_steps", -1) > 0:
        return settled["max_steps"]
    rows = dataset.rows - (dataset.holdout.rows if dataset.holdout else 0)
    if settled.get("packing"):
        rows = math.ceil(dataset.train_tokens / settled["max_length"])
    return max(1, math.ceil(settled["num_train_epochs"] * math.ceil(rows / rows_a_step)))


def _learning_rate(adapter: str, steps: int) -> Parameter:
    if adapter == "full":
        return _default("learning_rate", 2e-5, "as TRL")
    if steps < SHORT_RUN_STEPS:
        return _rule("learning_rate", 3e-4, f"15 times that for all weights, as {steps} steps are few ({_REGRET})")
    return _rule("learning_rate", 2e-4, f"10 times that for all weights ({_REGRET})")


def _evaluations(hours: float, *, rows: int) -> list[Parameter]:
    """Return how often the model is evaluated and saved, about every half hour, and on how many rows.

    A row that is only evaluated costs about a third of one that is trained on.
    """
    times = max(2, min(20, math.ceil(2 * hours)))
    return [
        _rule("eval_steps", round(1 / times, 4), f"evaluated and saved {times} times; the last is kept"),
        _rule("eval_rows", max(16, round(0.2 * rows / times)), "all evaluations together take about 7 % of the time"),
    ]


# --- the text ---------------------------------------------------------------------------------------------------------


def _template(method: Method) -> str:
    if method not in TEMPLATES:
        raise InputError(f"ftagent has no script for `{method}` yet.", hint=f"it has one for {', '.join(TEMPLATES)}")
    return (files("ftagent.tools.templates") / TEMPLATES[method]).read_text(encoding="utf-8")


def _what_it_is(run: Run, spec: Spec, dataset: DatasetReport) -> dict[str, Any]:
    """Return the constants that no parameter stands for: model, data, and the names in Trackio."""
    model, data = spec.model_ref, spec.dataset_ref
    if model is None or data is None:
        raise ToolError("the plan's model and dataset are not resolved.", hint="call plan_run without offline")
    is_local = model.path is not None and not (spec.backend == "hf-jobs" and model.source in ("cache", "hub"))
    return {
        "MODEL": model.path if is_local else model.id,
        "REVISION": None if is_local else model.revision,
        "LOADER": data.loader | ({"name": dataset.subset} if dataset.subset else {}),
        "SPLIT": dataset.split,
        "LEFT_OUT": list(dataset.left_out),
        "COLUMNS": {name: dataset.column_types.get(name, "same") for name in dataset.trainer_columns},
        "PROJECT": experiment_name(spec),
        "RUN": run.id,
    }


def emitted_functions(dataset: DatasetReport) -> str:
    """Return the functions that hold out, filter and map, and the line that gives them their parts."""
    mapping = None if dataset.mapping == SELECT_COLUMNS else dataset.mapping  # every script selects its columns
    names = (dataset.holdout.function if dataset.holdout else None, dataset.filter, mapping)
    sources = source_of(*(name for name in names if name))
    given = f"hold_out, why_not, mapping = {', '.join(map(str, names))}"
    return f"{sources}\n\n\n{given}" if sources else given


def render(template: str, constants: dict[str, Any], functions: str) -> str:
    """Return the template with other literals in its constants, other functions, and the installed versions.

    Args:
        template: The text of a template.
        constants: The names of assignments at the template's top, and their new values.
        functions: What stands between the markers.
    """
    lines = template.splitlines(keepends=True)
    assigned = {
        node.targets[0].id: node
        for node in ast.parse(template).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for name in sorted(constants, key=lambda name: -assigned[name].lineno):  # from the end, as lines may be added
        node = assigned[name]
        lines[node.lineno - 1 : node.end_lineno] = [f"{name} = {literal(constants[name])}\n"]
    text = "".join(lines)
    before, _, rest = text.partition(_FUNCTIONS[0])
    after = rest.partition(_FUNCTIONS[1])[2]
    return _with_pins(before, constants) + _FUNCTIONS[0] + functions + _FUNCTIONS[1] + after


def literal(value: object) -> str:
    """Write a value as Python source that means exactly this value, in lines that are not too long.

    Raises:
        ToolError: It is no text, number, flag or None, or a list or dict of such.
    """
    match value:
        case str():
            return _text(value)
        case None | bool() | int():
            return repr(value)
        case float() if math.isfinite(value):
            return repr(value)
        case dict():
            return _bracketed("{", [f"{literal(key)}: {literal(item)}" for key, item in value.items()], "}")
        case list() | tuple():
            return _bracketed("[", [literal(item) for item in value], "]")
        case _:
            raise ToolError(f"`{value!r}` cannot stand in a script.", hint="use text, numbers, lists and dicts")


def _text(value: str) -> str:
    """Write text in double quotes where that is plain, and what is long in pieces that Python joins."""
    short = f'"{value}"' if value.isprintable() and not {'"', "\\"} & set(value) else repr(value)
    if len(short) <= ONE_LINE:
        return short
    size = 45 if value.isascii() and value.isprintable() else 9  # `ascii` takes 2 columns for a quote, 10 for an emoji
    pieces = [ascii(value[start : start + size]) for start in range(0, len(value), size)]
    return "(\n" + "".join(f"    {piece}\n" for piece in pieces) + ")"


def _bracketed(opening: str, items: list[str], closing: str) -> str:
    line = opening + ", ".join(items) + closing
    if len(line) <= ONE_LINE and "\n" not in line:
        return line
    return opening + "\n" + "".join(textwrap.indent(item, "    ") + ",\n" for item in items) + closing


def _with_pins(header: str, constants: dict[str, Any]) -> str:
    """Pin the installed versions; what is not installed here keeps the template's, with which it was tested."""
    if constants.get("ADAPTER") == "qlora":
        header = _PIN.sub(lambda match: match[0] + _BITSANDBYTES * (match[1] == "accelerate"), header)
    return _PIN.sub(lambda match: f'#     "{match[1]}=={installed_version(match[1]) or match[2]}",\n', header)
