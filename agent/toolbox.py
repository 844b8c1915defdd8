"""The tools of one run: which are legal now, who approves what they spend, and what they settle in the journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ..tools.errors import ToolError
from ..tools.facts import Answer, Fact, Purpose, Reopened, Spec
from ..tools.files import require_space
from ..tools.gates import APPROVED, GATES, SCHEDULE_APPROVED, closed_gate, next_tool
from ..tools.models import weight_files
from ..tools.run import STANDS_ON, Run, has_other_runs, home_of, refold
from ..tools.stopping import check
from ..tools.wording import cut, without_secrets
from .approval import Decide, approve, approve_schedule
from .held import hold_to_choice, hold_to_words, note_choice
from .signatures import check_arguments, tool_info

OBSERVATION_CHARS = 4000  # about 1,000 tokens: a turn's result never crowds out the request
DETOURS = ("read_skill", "show_run")  # always legal, and they settle nothing
REOPENED = ("validate_dataset", "pick_hardware", "write_script", "preflight")
"""Steps that may be done anew, with other arguments, as long as no job was started."""
LATER: dict[str, Purpose] = {"evaluate_model": "evaluate", "export_gguf": "export"}
"""Tools that may start a job of their own after the training, and what it is for."""


Ask = Callable[[str], str]
"""Puts a question to a person and returns the answer, in the person's own words."""


def only_plans(run: Run) -> bool:
    """Whether the person only wants to know what it would be, and has not taken up the run that ended so."""
    endings = (event for event in run.journal.events if event.kind == "ended")
    return run.spec is not None and run.spec.plan_only and all(end.data["status"] != "dry_run" for end in endings)


class Toolbox:
    """One run and the tools that may work on it.

    Args:
        run: Where the run stands.
        request: The user's own words; a planner cannot plan for other ones.
        decide: Who approves: see `approval.approve`.
        dry_run: Leave out everything from `submit_job` on.
        keep: Give the run a folder once its data was found to train; without it, all stays in memory.
        ask: Puts a planner's question to the person and returns the answer; None where nobody is there.
    """

    def __init__(
        self,
        run: Run,
        *,
        request: str | None = None,
        decide: Decide | bool | None = None,
        dry_run: bool = False,
        keep: bool = True,
        ask: Ask | None = None,
    ) -> None:
        self.run = run
        self.request = request and without_secrets(request)
        self.decide = decide
        self.dry_run = dry_run
        self.keep = keep
        self.ask = ask
        self.last_error: ToolError | None = None
        self.last_result = ""
        """What the planner's last call told it."""
        self._done_with: dict[str, dict[str, Any]] = {}

    @property
    def answered(self) -> bool:
        """Whether the person answered something since the run was planned: then it has to be planned anew."""
        kinds = [event.kind for event in self.run.journal.events if event.kind in ("plan_run", "answer")]
        return bool(kinds) and kinds[-1] == "answer"

    def open_question(self) -> str | None:
        """Return what a person must decide first, where none has answered."""
        asked = self.run.spec.questions if self.run.spec is not None else ()
        return asked[0] if asked and not self.answered else None

    def expected(self) -> str | None:
        """Return the step that comes next, or None when the way is at its end."""
        if self.run.spec is not None and self.run.spec.questions and self.answered:
            return "plan_run"
        step = next_tool(self.run)
        return None if step == "submit_job" and (self.dry_run or only_plans(self.run)) else step

    def legal(self) -> tuple[str, ...]:
        """Return the tools that may be called now: the detours, and the next step among those that may be done anew.

        A job can be ended once a look at it has shown that it runs: only a planner that watches it in parts sees that.

        The order is always the same, and what is always there comes first, so that a provider's cache finds it again.
        """
        step = self.expected()
        steps = [name for name in GATES if name == step or self._may_be_reopened(name)] if step else []
        ends = ("cancel_job",) if step == "monitor_job" and self.run.report is not None and self.run.job_is_live else ()
        return (*self._detours(), *steps, *ends)

    def _may_be_reopened(self, name: str) -> bool:
        return (
            name in REOPENED
            and self.run.intent is None
            and self.run.job is None
            and not self.run.repairs
            and closed_gate(name, self.run) is None
        )

    def _detours(self) -> tuple[str, ...]:
        asks = ("ask_user",) if self.ask is not None else ()
        curves = ("show_metrics",) if self.run.job is not None else ()
        others = ("compare_runs",) if has_other_runs(self.run) else ()
        return (*DETOURS, *asks, *curves, *others)

    def call(self, name: str, arguments: dict[str, Any] | str) -> str:
        """Call one tool for the planner, journal what it settled, and return what the planner is told.

        Raises:
            ToolError: The tool refused; the planner may mend it.
            FtagentError: Something that only a person can mend.
        """
        try:
            if name not in self.legal():
                raise ToolError(f"`{name}` is not legal now.", hint=f"call one of {', '.join(self.legal())}")
            if not isinstance(arguments, dict):
                raise ToolError(
                    f"`{cut(arguments, 80)}` is no JSON object of arguments.", hint=f"call {name} with {{}}"
                )
            given = {key: value for key, value in arguments.items() if value is not None}
            if name in REOPENED and name != self.expected() and self._done_with.get(name, {}) == given:
                raise ToolError(
                    f"{name} is done, and the same call settles the same.",
                    hint=f"call {self.expected()}, or give {name} other arguments",
                )
            hold_to_words(self.run, self.request, name, given)
            result = self.invoke(name, arguments)
            if name == "pick_hardware":
                self.run = note_choice(self.run, given)
        except ToolError as error:
            self.last_error = error
            self.last_result = str(error)
            raise
        self._done_with[name] = given
        self.last_error = None
        self.last_result = observation(result)
        return self.last_result

    def invoke(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call one tool and journal what it settled; return the result itself.

        Raises:
            Stopped: The work is to stop; the tool was not called, or stopped itself at a safe place.
        """
        check()
        info = tool_info(name)
        if name == "plan_run" and self.request is not None:
            arguments = {**arguments, "request": self.request, "offline": False}
        checked = check_arguments(info, arguments)
        if name == "ask_user":
            return self._ask(**checked)
        if not info.takes_run:
            return info.function(**checked)
        if name == "submit_job" and closed_gate(name, self.run, but=frozenset({APPROVED})) is None:
            self._approve()
        if name in LATER and closed_gate(name, self.run) is None:
            self._approve_later(LATER[name], checked)
        if name == "schedule_run" and closed_gate(name, self.run, but=frozenset({SCHEDULE_APPROVED})) is None:
            self._approve_schedule(**checked)
        if name in GATES:
            self.run.journal.tell("step", tool=name)
        result = info.function(self.run, **checked)
        if isinstance(result, Fact):
            self.run = self._reopened(refold(self.run.journal), name).record(result)
            self._settle()
        return result

    def _reopened(self, run: Run, name: str) -> Run:
        """Journal that what stands on a step goes with it, where the step is settled anew before any job."""
        stands = any(getattr(run, part) is not None for part in STANDS_ON.get(name, ()))
        if not stands or run.intent is not None or run.repairs:
            return run
        return run.record(Reopened.model_validate({"step": name}))

    def _ask(self, question: str) -> str:
        if self.ask is None:
            return tool_info("ask_user").function(question)
        self.run.journal.tell("asks", text=question)
        answer = self.ask(question).strip()
        self.run = self.run.record(Answer(question=question, answer=answer))
        return f"The user answered: {answer or '(nothing)'}"

    def _approve(self) -> None:
        from ..tools.jobs import make_quote

        if closed_gate("submit_job", self.run) is not None:
            quote = make_quote(self.run)
            if self.decide is True:
                hold_to_choice(self.run, quote)
            self.run = self.run.record(approve(self.run, quote, self.decide))

    def _approve_later(self, purpose: Purpose, given: Mapping[str, Any]) -> None:
        from ..tools.later import later_quote

        if quote := later_quote(self.run, purpose, given):
            self.run = self.run.record(approve(self.run, quote, self.decide))

    def _approve_schedule(self, when: str | None = None) -> None:
        from ..tools.schedule import is_approved, make_schedule_quote, prepare_schedule

        self.run = prepare_schedule(self.run, when=when)
        quote = make_schedule_quote(self.run, when=when)
        if not is_approved(self.run, quote):
            self.run = self.run.record(approve_schedule(self.run, quote, self.decide))

    def _settle(self) -> None:
        """Give the run its folder once its data was found to train: nothing that failed before leaves a trace."""
        run = self.run
        if self.keep and run.journal.folder is None and run.spec is not None and run.dataset is not None:
            require_space(run.settings.workdir, _disk_bytes(run.spec))
            run.journal.settle(home_of(run, run.spec))
            run.keep_logs()


def _disk_bytes(spec: Spec) -> float:
    """Return about how much a run writes: checkpoints, and for an export the merged weights and two GGUF files of them.

    Measured with LoRA on SmolLM2-135M, 0.52 GB in float32: checkpoints 0.14, merged weights 0.27, GGUF files 0.38 GB.
    """
    if spec.model_ref is None or spec.model_ref.path is None:
        return 0.0
    weights = sum(file.stat().st_size for file in weight_files(Path(spec.model_ref.path)))
    return weights * (2.0 if "export" in spec.targets else 1.0)


def observation(result: Any) -> str:
    """Return what the planner reads of a result: compact, and cut with both ends kept."""
    if isinstance(result, Spec):
        result = result.model_copy(update={"model_ref": None, "dataset_ref": None})
    text = result if isinstance(result, str) else json.dumps(_plain(result), ensure_ascii=False)
    return cut(text, OBSERVATION_CHARS)


def _plain(result: Any) -> Any:
    return result.model_dump(mode="json", exclude_none=True) if isinstance(result, BaseModel) else result
