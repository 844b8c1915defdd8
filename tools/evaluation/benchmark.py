"""HumanEval on base and tuned model: the same questions, template, decoding and server, item by item.

Three greedy passes: the base without and with examples, and the tuned model without. What the tuned model gains over
the base with examples is skill; what it gains over the base without may be no more than the form of an answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ToolError
from ..facts import Comparison
from ..run import Run
from ..sandbox.checked import SandboxUnavailable, run_checked
from ..statistics import compare
from ..templates.openai_client import Decoding
from ..trained import Checkpoint
from . import human_eval
from .models import answered_here, chat_templates
from .part import Part, with_file, write_items
from .sheets import Lines, ModelName, Said, Sheet, Templates

SHOTS = len(human_eval.SHOTS)
# The longest question with three examples has 1,003 tokens in SmolLM2's vocabulary, and the answer is cut at 320.
CONTEXT = 2048


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


@dataclass(frozen=True, kw_only=True)
class HumanEval:
    """HumanEval as one of the harnesses of an evaluation; see `Harness`.

    The answers may come from a job; they are judged here in any case. A job's image has no jail, and code that a model
    wrote has no business beside a token that may write to the Hub; the tests of an item take milliseconds.
    """

    samples: int = 0
    """Answers to draw for each item beside the greedy one, each with a seed of its own; for pass@k."""

    @property
    def is_stated(self) -> bool:
        """Nothing but a person's word calls for a benchmark."""
        return True

    def sheets(self, templates: Templates) -> list[Sheet]:
        """Return the greedy passes over both models, and the sampled ones where any are wanted."""
        return [
            self._sheet(model, wanted)
            for model, passes in self._passes(templates).items()
            for wanted in passes.values()
        ]

    def _passes(self, templates: Templates) -> dict[ModelName, dict[str, Pass]]:
        is_chat = is_chat_by(templates)
        zero, few = Pass(shots=0, is_chat=is_chat), Pass(shots=SHOTS, is_chat=is_chat)
        seeds = tuple(range(1, self.samples + 1))
        drawn = {"drawn": Pass(shots=0, is_chat=is_chat, seeds=seeds, is_greedy=False)} if seeds else {}
        return {"base": {"zero": zero, "few": few, **drawn}, "tuned": {"zero": zero, **drawn}}

    def _sheet(self, model: ModelName, wanted: Pass) -> Sheet:
        return Sheet(
            model=model,
            name=f"humaneval-{wanted.name}",
            what=f"HumanEval {wanted.name}",
            questions=human_eval.questions(shots=wanted.shots, is_chat=wanted.is_chat, seeds=wanted.seeds),
            decoding=wanted.decoding,
            context=CONTEXT,
            judge=human_eval.judge,
            made_by=(human_eval.fingerprint(), wanted.settings),
            is_shared=True,
        )

    def part(self, run: Run, said: Said, templates: Templates) -> Part:
        """Compare both models item by item."""
        lines = {
            model: {key: said.to(self._sheet(model, wanted)) for key, wanted in passes.items()}
            for model, passes in self._passes(templates).items()
        }
        names = {
            sheet.title: f"{sheet.model} {sheet.name.removeprefix('humaneval-')}" for sheet in self.sheets(templates)
        }
        file = write_items(run, "humaneval", _items({name: said.lines[title] for title, name in names.items()}))
        base, tuned, few = (_passed(lines[model][key]) for model, key in GREEDY)
        comparisons = [
            _compare("HumanEval pass@1", base, tuned),
            _compare(f"HumanEval pass@1 against the base with {SHOTS} examples", few, tuned),
        ]
        if self.samples:
            comparisons += _sampled(lines["base"]["drawn"], lines["tuned"]["drawn"], self.samples)
        return Part(
            comparisons=with_file(comparisons, file),
            harness=_harness(is_chat_by(templates), self.samples, said.served),
            file=file,
            caveats=contamination(run),
        )


GREEDY: tuple[tuple[ModelName, str], ...] = (("base", "zero"), ("tuned", "zero"), ("base", "few"))


def is_chat_by(templates: Templates) -> bool:
    """Whether both models are asked through a chat template: they have one, and the same."""
    return templates[0] is not None and templates[0] == templates[1]


def run_human_eval(run: Run, checkpoint: Checkpoint, *, samples: int = 0) -> Part:
    """Put HumanEval to base and tuned model on this machine, and compare them item by item.

    Args:
        run: The run.
        checkpoint: Its tuned model.
        samples: See `HumanEval`.

    Raises:
        ToolError: The server failed, or this machine grants no jail for what the models write.
    """
    require_jail()
    harness, templates = HumanEval(samples=samples), chat_templates(checkpoint)
    return harness.part(run, answered_here(run, checkpoint, harness.sheets(templates)), templates)


def require_jail() -> None:
    """Refuse to begin what could not be judged here.

    Raises:
        ToolError: This machine grants no jail for what the models write.
    """
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


def _harness(is_chat: bool, samples: int, served: str) -> str:
    how = "through the chat template" if is_chat else "plain text"
    drawn = f", and {samples} samples at {human_eval.SAMPLING['temperature']}" if samples else ""
    return (
        f"HumanEval, {len(human_eval.problems())} items, {how}, greedy{drawn}, at most {human_eval.MAX_TOKENS} tokens, "
        f"{served}, tests in a sandbox; harness and items sha256 `{human_eval.fingerprint()[:12]}`"
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
