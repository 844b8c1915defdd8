"""Where a job goes: the time and the money that it still takes, and what else it could run on."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from .backends import JobState
from .facts import Job
from .metrics import Point, pace
from .rules import Outlook
from .run import Run


def outlook(run: Run, job: Job, state: JobState, points: list[Point]) -> Outlook:
    """Return where a job goes at the pace of its attempt so far.

    Args:
        run: The run of the job.
        job: The job.
        state: How it stands.
        points: What this attempt has logged.
    """
    total, steps_per_s = total_steps(run, points), pace(points)
    left = max(0, total - points[-1].step) / steps_per_s if points and total and steps_per_s else None
    return Outlook(
        seconds=state.seconds,
        seconds_left=left,
        timeout_s=job.timeout_s,
        price_usd_per_hour=price_usd_per_hour(run),
        spent_usd=run.llm_cost_usd + run.earlier_usd,
        cap_usd=cost_cap(run),
        waiting_s=waiting_s(job, state),
        flavor=job.flavor,
        others=other_flavors(run, job.flavor),
    )


def waiting_s(job: Job, state: JobState) -> float:
    """Return how long a job has been waiting for a machine, 0 once it has one."""
    return (datetime.now(UTC) - job.submitted_at).total_seconds() if state.stage == "queued" else 0.0


def other_flavors(run: Run, taken: str) -> tuple[str, ...]:
    """Return the flavors on which the run would fit beside the one that was taken, the cheapest first."""
    candidates = run.hardware.candidates if run.hardware else ()
    fitting = sorted((one for one in candidates if one.fits), key=lambda one: (one.cost_usd, one.hours))
    return tuple(dict.fromkeys(one.flavor for one in fitting if one.flavor != taken))


def price_usd_per_hour(run: Run) -> float:
    """Return what the chosen hardware costs an hour; nothing on this machine."""
    if run.hardware is None or run.hardware.hours.expected <= 0:
        return 0.0
    return run.hardware.cost_usd.expected / run.hardware.hours.expected


def cost_cap(run: Run) -> float | None:
    """Return the lower of the settings' cap and the stated budget, in US dollars; None without any."""
    caps = (run.settings.max_cost_usd, run.spec.budget_usd if run.spec else None)
    return min((cap for cap in caps if cap is not None), default=None)


def total_steps(run: Run, points: list[Point]) -> int | None:
    """Return how many steps the training has, by its parameters or by how far in its epochs a step is."""
    parameters = {p.name: p.value for p in run.script.parameters} if run.script else {}
    if (parameters.get("max_steps") or 0) > 0:
        return parameters["max_steps"]
    done = next(((p.step, e) for p in reversed(points) if (e := p.values.get("train/epoch"))), None)
    if done is None or run.hardware is None:
        return None
    # The trainer rounds up twice (`Trainer.set_initial_training_values`); 1e-6 is for the division's own error.
    steps_per_epoch = math.ceil(done[0] / done[1] - 1e-6)
    return math.ceil(run.hardware.epochs * steps_per_epoch - 1e-6)
