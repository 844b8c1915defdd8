"""HumanEval on base and tuned model: the same questions, template, decoding and server, item by item.

Three greedy passes: the base without and with examples, and the tuned model without. What the tuned model gains over
the base with examples is skill; what it gains over the base without may be no more than the form of an answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ToolError
from ..facts import Comparison
from ..run import Run
from ..sandbox.checked import SandboxUnavailable, run_checked
from ..statistics import compare
from ..trained import Checkpoint
from . import human_eval
from .client import Decoding
from .models import QUANTISATION, LazyServer, both, server
from .part import FOLDER, Part, with_file, write_items

SHOTS = len(human_eval.SHOTS)
# The longest question with three examples has 1,003 tokens in SmolLM2's vocabulary, and the answer is cut at 320.
CONTEXT = 2048

Lines = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One way to put all items to a model."""

    shots: int
    is_chat: bool
    seeds: tuple[int, ...] = (0,)
    is_greedy: bool = True

    @property
    def name(self) -> str:
        """What the pass is called in the names of files."""
        return f"{self.shots}-shot-{'greedy' if self.is_greedy else f'{len(self.seeds)}-samples'}"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that an answer depends on beside the model and the code."""
        return {**asdict(self), **asdict(self.decoding)}

    @property
    def decoding(self) -> Decoding:
        """How its answers are decoded."""
        return human_eval.decoding(is_chat=self.is_chat, is_greedy=self.is_greedy)


def _lines(server: LazyServer, wanted: Pass) -> Lines:
    """Return a line for each question of a pass; what an earlier call has answered is not asked again."""
    served = server.served
    key = served.fingerprint(human_eval.fingerprint(), wanted.settings)
    # The answers of a base serve every run that has the same one.
    home = served.run.settings.cache_dir / "evaluation" if served.name == "base" else served.run.folder / FOLDER
    return server.answer(
        human_eval.questions(shots=wanted.shots, is_chat=wanted.is_chat, seeds=wanted.seeds),
        wanted.decoding,
        file=home / f"humaneval-{served.name}-{wanted.name}-{key}.jsonl",
        what=f"HumanEval {wanted.name}",
        judge=human_eval.judge,
    )


def run_human_eval(run: Run, checkpoint: Checkpoint, *, samples: int = 0) -> Part:
    """Put HumanEval to base and tuned model and compare them item by item.

    Args:
        run: The run.
        checkpoint: Its tuned model.
        samples: How many answers to draw for each item beside the greedy one, each with a seed of its own; for pass@k.

    Raises:
        ToolError: The server failed, or this machine grants no jail for what the models write.
    """
    _require_jail()
    base, tuned = both(run, checkpoint)
    is_chat = base.chat_template is not None and base.chat_template == tuned.chat_template
    zero, few = Pass(shots=0, is_chat=is_chat), Pass(shots=SHOTS, is_chat=is_chat)
    drawn = Pass(shots=0, is_chat=is_chat, seeds=tuple(range(1, samples + 1)), is_greedy=False)
    passes = {"base": (zero, few), "tuned": (zero,)}
    lines: dict[str, Lines] = {}
    for served in (base, tuned):
        with ExitStack() as stack:
            asked = LazyServer(served, CONTEXT, stack)
            for wanted in (*passes[served.name], *([drawn] if samples else [])):
                lines[f"{served.name} {wanted.name}"] = _lines(asked, wanted)
    file = write_items(run, "humaneval", _items(lines))
    greedy = [_passed(lines[name]) for name in (f"base {zero.name}", f"tuned {zero.name}", f"base {few.name}")]
    comparisons = [
        _compare("HumanEval pass@1", greedy[0], greedy[1]),
        _compare(f"HumanEval pass@1 against the base with {SHOTS} examples", greedy[2], greedy[1]),
    ]
    if samples:
        comparisons += _sampled(lines[f"base {drawn.name}"], lines[f"tuned {drawn.name}"], samples)
    return Part(
        comparisons=with_file(comparisons, file),
        harness=_harness(is_chat, samples),
        file=file,
        caveats=contamination(run),
    )


def _require_jail() -> None:
    try:
        run_checked("x = 1", "assert x == 1")
    except SandboxUnavailable as error:
        raise ToolError(
            f"HumanEval runs what the models write, and {error}.", hint="evaluate on Linux, or leave HumanEval out"
        ) from error


def _passed(lines: Lines) -> dict[str, float]:
    """Return each item's share of answers that pass."""
    return {item: sum(found) / len(found) for item, found in _outcomes(lines).items()}


def _outcomes(lines: Lines) -> dict[str, list[bool]]:
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for key, line in lines.items():
        outcomes[human_eval.item_of(key)].append(line["passed"])
    return outcomes


def _compare(metric: str, base: Mapping[str, float], tuned: Mapping[str, float]) -> Comparison:
    items = list(human_eval.problems())
    return compare(metric, [base[i] for i in items], [tuned[i] for i in items], higher_is_better=True)


def _sampled(base: Lines, tuned: Lines, samples: int) -> list[Comparison]:
    """Compare pass@1 and pass@k as sampled; the item is the unit, since its samples depend on each other."""
    found = []
    for k in sorted({1, samples}):
        shares = (
            {i: human_eval.pass_at(k, samples, sum(o)) for i, o in _outcomes(lines).items()} for lines in (base, tuned)
        )
        found.append(_compare(f"HumanEval pass@{k} of {samples} samples", *shares))
    return found


def _items(lines: Mapping[str, Lines]) -> list[dict[str, Any]]:
    return [{"model": name, **line} for name, of_pass in lines.items() for line in of_pass.values()]


def _harness(is_chat: bool, samples: int) -> str:
    how = "through the chat template" if is_chat else "plain text"
    drawn = f", and {samples} samples at {human_eval.SAMPLING['temperature']}" if samples else ""
    return (
        f"HumanEval, {len(human_eval.problems())} items, {how}, greedy{drawn}, at most {human_eval.MAX_TOKENS} tokens, "
        f"both models in {QUANTISATION} on llama.cpp ({server()}), tests in a sandbox; harness "
        f"and items sha256 `{human_eval.fingerprint()[:12]}`"
    )


def contamination(run: Run) -> tuple[str, ...]:
    """Repeat what the data check found of the benchmark in the training rows."""
    data = run.dataset
    if data is None or human_eval.NAME not in (name.lower() for name in data.benchmarks):
        return ("the training rows were not held against HumanEval: a gain on it may be memory",)
    if data.overlap:
        rows = f"{data.overlap} row{'s' if data.overlap > 1 else ''}"
        return (f"{rows} shared text with {', '.join(data.benchmarks)} and were left out of the training",)
    return ()
