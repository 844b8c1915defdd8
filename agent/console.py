"""What a person sees: one line a settled fact, one live line for what takes long. Words go to stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ..tools.facts import LlmCall, Quote, ScheduleQuote
from ..tools.journal import Event
from ..tools.run import llm_words
from ..tools.told import PLANNER
from ..tools.wording import duration, one_line
from .approval import offer, schedule_words
from .fact_lines import fact_line
from .foreign import visible

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 24
LINE_CHARS = 60
QUESTION_CHARS = 1000
SAID_CHARS = 600
QUIET_S = 15.0  # without a terminal, progress is a line now and then

STEP_WORDS = {
    "plan_run": "reading the request",
    "validate_dataset": "checking the data with TRL",
    "pick_hardware": "sizing the hardware",
    "schedule_run": "making the schedule",
    "write_script": "writing train.py",
    "preflight": "proving train.py on a two-layer twin",
    "submit_job": "submitting",
    "monitor_job": "training",
    "repair_run": "repairing",
    "evaluate_model": "comparing with the base model",
    "export_gguf": "exporting to GGUF",
    "cancel_job": "cancelling",
}


class RunConsole:
    """A listener that tells a person how the run goes; a context manager that owns the live line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._spinner = Spinner("dots", Text(""))
        self._said_at = -math.inf
        self._step: str = ""
        self._calls: list[LlmCall] = []

    def __enter__(self) -> RunConsole:
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.seq is not None:
            if event.kind == "llm_call":
                self._calls.append(LlmCall.model_validate(event.data))
            if line := fact_line(event):
                self.rest()
                self.console.print(line, soft_wrap=True)
            if event.kind == "ended" and self._calls:
                self.console.print(Text(f"  {llm_words(self._calls)}", style="dim"), soft_wrap=True)
        elif event.kind == "step":
            tool: str = event.data["tool"]
            self._step = STEP_WORDS.get(tool, tool)
            self._said_at = time.monotonic()
            self._show(Text(self._step + " …", style="dim"))
        elif event.kind == "example":
            self.rest()
            self.console.print(example_text(event.data))
        elif event.kind == "alert":
            self.rest()
            self.console.print(Text(f"! {event.data['rule']}: {event.data['text']}", style="yellow"), soft_wrap=True)
        elif event.kind == "said":
            self.rest()
            self.console.print(Text(f"  {one_line(visible(event.data['text']), SAID_CHARS)}", style="italic"))
        elif event.kind == "progress":
            step = "" if event.data.get("step") == PLANNER else self._step
            self._show(progress_line(step, event.data), now_and_then=True)

    def ask(self, quote: Quote | ScheduleQuote) -> bool:
        """Show a quote and ask whether to spend it."""
        self.rest()
        if isinstance(quote, ScheduleQuote):
            self.console.print(f"  `{quote.trigger.words}`: {schedule_words(quote)}", markup=False)
            return self._says_yes("Repeat this run by itself from now on? [y/N] ")
        self.console.print(f"  {offer(quote)}", markup=False)
        return self._says_yes("Start this job? [y/N] ")

    ask.asks_a_person = True  # type: ignore[attr-defined]

    def answer(self, question: str) -> str:
        """Put a planner's question to the person, and return what they type."""
        self.rest()
        self.console.print(f"  the planner asks: {one_line(question, QUESTION_CHARS)}", markup=False, soft_wrap=True)
        return self.console.input(Text("> "))

    def _says_yes(self, question: str) -> bool:
        answer = self.console.input(Text(question))
        return answer.strip().lower() in ("y", "yes")

    def _show(self, text: Text, now_and_then: bool = False) -> None:
        if self.console.is_terminal:
            self._spinner.update(text=text)
            if self._live is None:
                self._live = Live(self._spinner, console=self.console, transient=True, refresh_per_second=8)
                self._live.start()
        elif not now_and_then or time.monotonic() - self._said_at >= QUIET_S:
            self._said_at = time.monotonic()
            self.console.print(Text("  ") + text, soft_wrap=True)

    def rest(self) -> None:
        """End the live line: somebody else writes now."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def progress_line(step: str, data: dict[str, Any]) -> Text:
    """Return the live line of a long step; for training with its numbers, what is left, and the curve of one."""
    parts = [step]
    if data.get("loss") is not None or data.get("value") is not None:
        parts += _training_parts(data)
    else:
        parts.append(str(data.get("text") or data.get("step") or "")[:LINE_CHARS])
        if data.get("total"):
            parts.append(f"{data.get('done', 0)}/{data['total']}")
    return Text(" · ".join(part for part in parts if part), style="dim")


def _training_parts(data: dict[str, Any]) -> list[str]:
    """Return step, leading number, rate, gradient, speed, time and money left, and the leading number's curve."""
    total = f"/{data['total_steps']}" if data.get("total_steps") else ""
    leads = data.get("value") is not None
    name, value = (data.get("leading", "loss"), data["value"]) if leads else ("loss", data["loss"])
    parts = [f"step {data['step']}{total}", f"{name} {value:.3f}"]
    if data.get("learning_rate") is not None:
        parts.append(f"lr {data['learning_rate']:.1e}")
    if data.get("grad_norm") is not None:
        parts.append(f"gradient {data['grad_norm']:.2g}")
    if data.get("tokens_per_s"):
        parts.append(f"{data['tokens_per_s']:.0f} tokens/s")
    if data.get("seconds_left") is not None:
        parts.append(f"{duration(data['seconds_left'])} left")
    if data.get("cost_usd"):
        to_come = data.get("cost_usd_left")
        parts.append(f"${data['cost_usd']:.2f}" + (f" + ${to_come:.2f} to come" if to_come is not None else ""))
    return [*parts, curve(data.get("values" if leads else "losses", ()))]


def example_text(data: dict[str, Any]) -> Text:
    """Return one row as the trainer sees it, the tokens that carry loss in green and between ⟦ ⟧ without colour."""
    shown = Text(f"row {data['row']}: ", style="bold")
    for foreign, trained in data["segments"]:
        text = "".join(mark if mark.isprintable() or mark in "\n\t" else "�" for mark in foreign)
        shown += Text(f"⟦{text}⟧", style="green") if trained else Text(text, style="dim")
    return shown


def curve(values: Sequence[float | None], width: int = CURVE_WIDTH) -> str:
    """Return a loss curve in block characters, the mean of each of `width` equal stretches."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if len(finite) < 2:
        return ""
    width = min(width, len(finite))
    edges = [round(i * len(finite) / width) for i in range(width + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)
