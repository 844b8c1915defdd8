"""Repeats a proven run: by the clock, or whenever its dataset is updated; never without a person's approval.

Or evaluates, by the clock, the checkpoints that have come (`series.py`).
"""

from __future__ import annotations

import contextlib

from .backends.hf_results import repository_of
from .backends.hf_schedules import VARIABLE, Action, Standing, change, create_schedule, standing
from .cron import firings_a_month
from .errors import BudgetExceeded, GateClosed, InputError, UserError
from .facts import CheckpointSeries, Fact, Schedule, ScheduleQuote, Trigger
from .gates import require
from .jobs import cost_cap, hold_to_script
from .outlook import price_usd_per_hour
from .run import Run, list_runs
from .series import prepare_series, proven_series, series_part
from .settings import Settings
from .triggers import THE_DATASET, read_trigger

EXAMPLES = (
    "every night at 2; hourly; every Monday at 9:30; on weekdays at 18:00; whenever org/set is updated; "
    "evaluate every new checkpoint every night at 2"
)
STATES = {"suspend": "suspended", "resume": "active", "delete": "deleted"}


def schedule_run(run: Run, *, when: str | None = None) -> Schedule:
    """Let this run's training be repeated, by the clock or whenever a dataset on the Hub is updated.

    Returns the schedule's id, its cron expression in UTC or the dataset that is watched, and the repository that each
    firing's own repository is called after. What fires is the very script that preflight ran, on the newest rows, with
    the flavor and the timeout of the run. Where the words say so, such as `evaluate every new checkpoint each night`,
    it is a script that measures the checkpoints which have been pushed since, proven here first. A person must approve
    it; nothing else can, `--yes` neither.

    Args:
        run: The run, with its script proven, on Hugging Face Jobs.
        when: When, in words, such as `every night at 2`, or `evaluate every new checkpoint each night`; by default as
            the instruction said.

    Raises:
        GateClosed: Something is not settled, or no person approved this very schedule.
        InputError: The words have no meaning, or two; or the run cannot be repeated.
        UserError: The Hub refuses.
        ToolError: The schedule could not be made; calling again looks for it first.
    """
    require("schedule_run", run)
    quote = make_schedule_quote(run, when=when)
    if not is_approved(run, quote):
        raise GateClosed("what a person approved is another schedule than this one.", hint="call schedule_run anew")
    return create_schedule(run, quote)


def prepare_schedule(run: Run, *, when: str | None = None) -> Run:
    """Prove what would fire, where that is not the script that preflight ran; return the run that knows of it.

    Raises:
        InputError: The words have no meaning, or two.
        ToolError: It failed here.
    """
    return prepare_series(run) if _trigger(run, when).does == "evaluate" else run


def is_approved(run: Run, quote: ScheduleQuote) -> bool:
    """Whether a person approved this very schedule, at this price, whatever words it was said in."""
    approval = run.schedule_approval
    if approval is None or approval.by != "person":
        return False
    without_words = {"trigger": {"words"}}
    return approval.quote.model_dump(exclude=without_words) == quote.model_dump(exclude=without_words)


def make_schedule_quote(run: Run, *, when: str | None = None) -> ScheduleQuote:
    """Return when the run would be repeated, and the worst case of one firing and of a month.

    Args:
        run: The run, with its script written.
        when: When, in words; by default as the instruction said.

    Raises:
        InputError: The words have no meaning, or two; or the run cannot be repeated.
        GateClosed: The script was changed since its preflight.
        BudgetExceeded: A month, or one firing of a webhook, costs more than the cap.
    """
    trigger = _trigger(run, when)
    flavor, timeout_s, once, sha256 = _evaluation(run) if trigger.does == "evaluate" else _training(run, trigger)
    often = firings_a_month(trigger.cron) if trigger.cron else None
    quote = ScheduleQuote(
        trigger=trigger,
        flavor=flavor,
        script_sha256=sha256,
        timeout_s=timeout_s,
        once_usd=once,
        firings_a_month=often,
        month_usd=None if often is None else often * once,
    )
    _hold_to_cap(run, quote)
    return quote


def _training(run: Run, trigger: Trigger) -> tuple[str, int, float, str]:
    """Return flavor, seconds, worst case and script of a firing that trains."""
    if run.hardware is None or run.script is None:
        raise GateClosed("there is no script that could be repeated.", hint="call write_script")
    hold_to_script(run, run.script)
    _refuse_unrepeatable(run, trigger)
    once = price_usd_per_hour(run) * run.hardware.timeout_s / 3600
    return run.hardware.flavor, run.hardware.timeout_s, once, run.script.sha256


def _evaluation(run: Run) -> tuple[str, int, float, str]:
    """Return flavor, seconds, worst case and script of a firing that evaluates checkpoints."""
    script, part = proven_series(run), series_part(run)
    return part.flavor, part.timeout_s, part.reserve_usd, script.sha256


def list_schedules(settings: Settings) -> list[Standing]:
    """Return the schedules that ftagent has made in this namespace, as they stand on the Hub.

    Raises:
        UserError: There is no token, or the Hub does not let it look.
        ToolError: The Hub does not answer.
    """
    return standing(settings)


def change_schedule(settings: Settings, schedule_id: str, action: Action) -> Standing:
    """Suspend, resume or delete a schedule, and journal it where its run lies below this folder and nobody works on it.

    Returns:
        How it stood before.

    Raises:
        UserError: There is no such schedule, or the token may not change it.
        ToolError: The Hub does not answer.
    """
    before = change(settings, schedule_id, action)
    for run in list_runs(settings.workdir):
        for schedule in run.schedules:
            if schedule.id == schedule_id:
                # Ending what spends must work while another process works on the run; then its journal goes without.
                with contextlib.suppress(UserError):
                    _journal(run, schedule.model_copy(update={"state": STATES[action]}))
    return before


def look_at_series(settings: Settings, one: Standing) -> CheckpointSeries | None:
    """Return what a schedule's firings have found of checkpoints, and journal it where its run lies below this folder.

    Args:
        settings: Name the folder.
        one: The schedule; None comes back for one that trains.

    Raises:
        UserError: The Hub refuses.
        ToolError: It does not answer.
    """
    from .series_results import read_series

    if one.repository is None:
        return None
    found = read_series(one.repository)
    for run in list_runs(settings.workdir):
        if run.id == one.run and run.checkpoints != found:
            with contextlib.suppress(UserError):  # another process works on the run: its journal goes without
                _journal(run, found)
    return found


def _journal(run: Run, fact: Fact) -> None:
    from .report import writer

    run.journal.acquire()
    try:
        run.journal.listeners.append(writer(run.journal))
        run.record(fact)
    finally:
        run.journal.release()


def _trigger(run: Run, when: str | None) -> Trigger:
    """Return when the run is to be repeated; a watched dataset has its name then.

    Raises:
        InputError: Nothing is said of it, or something that can be meant in two ways.
    """
    trigger = run.spec.trigger if run.spec else None
    if when is not None:
        reading = read_trigger(when)
        if reading.question:
            raise InputError(reading.question, hint=EXAMPLES)
        if reading.trigger is None:
            raise InputError(f"`{when}` does not say when.", hint=EXAMPLES)
        trigger = reading.trigger
    if trigger is None:
        raise InputError("nobody said when the run is to be repeated.", hint=f"--when: {EXAMPLES}")
    if trigger.kind == "webhook" and trigger.watched == THE_DATASET and run.spec and run.spec.dataset_ref:
        trigger = trigger.model_copy(update={"watched": run.spec.dataset_ref.id})
    return trigger


def _refuse_unrepeatable(run: Run, trigger: Trigger) -> None:
    """Refuse a run whose repetition would not do what it seems to.

    Raises:
        InputError: With what stands in the way.
    """
    text = (run.folder / run.script.path).read_text(encoding="utf-8") if run.script else ""
    reference, pushes_to = run.spec.dataset_ref if run.spec else None, repository_of(text)
    if pushes_to is None or VARIABLE not in text:
        raise InputError("the script does not push, or cannot tell one firing from another.", hint="call write_script")
    if (
        reference is None
        or reference.loader.get("path") != reference.id
        or "@" in (run.spec.dataset if run.spec else "")
    ):
        raise InputError(
            "each firing takes the newest rows of a dataset repository, and this run's rows are fixed.",
            hint="name the dataset as owner/name, without a revision or files",
        )
    if run.dataset is not None and run.dataset.left_out:
        raise InputError(
            f"{len(run.dataset.left_out)} single rows are left out by number, and an update moves them.",
            hint="remove them from the dataset",
        )
    if trigger.watched is not None and (trigger.watched == pushes_to or trigger.watched.startswith(f"{pushes_to}-")):
        raise InputError(f"each firing pushes to `{pushes_to}-…`, and would fire itself.", hint="watch the dataset")


def _hold_to_cap(run: Run, quote: ScheduleQuote) -> None:
    cap, worst = cost_cap(run), quote.once_usd if quote.month_usd is None else quote.month_usd
    if cap is not None and run.cost_usd + worst > cap:
        what = "one firing" if quote.month_usd is None else "a month of it"
        raise BudgetExceeded(
            f"{what} could cost ${worst:.2f} on top of ${run.cost_usd:.2f} spent; the cap is ${cap:.2f}.",
            hint=f"raise the cap to at least ${run.cost_usd + worst:.2f} with --max-cost, or let it fire less often",
        )
