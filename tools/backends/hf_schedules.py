"""Schedules on Hugging Face: a run's own job, started again by the clock or by commits to a dataset.

By the clock it is a scheduled job, by commits a webhook, which starts copies of a job that exists. That job is started
for the purpose and ends at once, since it finds no `WEBHOOK_PAYLOAD`. Both are found again by a label, so none is made
twice. What fires is the request of a plain job with one variable more, `FTAGENT_SCHEDULED`: with it the script takes
the newest rows, and pushes to a repository that is called after the firing's own job.
A schedule that evaluates checkpoints is a scheduled job, too, of another script (`templates/series.py`).
https://huggingface.co/docs/huggingface_hub/guides/jobs#scheduled-jobs
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UserError
from ..facts import Schedule, ScheduleQuote, Trigger
from ..run import Run
from ..settings import Settings
from .hf_client import hub, patiently
from .hf_once import oldest_job, post_once
from .hf_request import RUN_LABEL, job_spec, script_in, script_of
from .hf_results import constant_of, owner_by, repository_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ScheduledJobInfo, WebhookInfo

VARIABLE = "FTAGENT_SCHEDULED"
"""Read by `tools/templates/base.py`; its value is the schedule's label."""
LABEL, DOES_LABEL = "ftagent-schedule", "ftagent-does"
REPOSITORY = "REPOSITORY"
"""The constant of `templates/series.py` that says where the results go."""
NOT_BY_ITSELF = 'if [ -z "$WEBHOOK_PAYLOAD" ]; then echo "each commit starts a copy of this job"; exit 0; fi'

Action = Literal["suspend", "resume", "delete"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A schedule as it stands on the Hub now."""

    id: str
    kind: Literal["cron", "webhook"]
    when: str
    """The cron expression in UTC, or the dataset whose commits count."""
    state: Literal["active", "suspended"]
    run: str
    flavor: str
    does: Literal["train", "evaluate"] = "train"
    repository: str | None = None
    """Of an evaluation, where the results go."""
    last_job: str | None = None
    next_at: datetime | None = None


def create_schedule(run: Run, quote: ScheduleQuote) -> Schedule:
    """Let a script be started again and again, or return the schedule that was made for that already.

    Args:
        run: The run; the script of the quote lies in its folder, and was proven.
        quote: When (a webhook names its dataset), on what, and for how long at most.

    Raises:
        UserError: The Hub refuses, or there is no such dataset.
        ToolError: Nothing was made, or nobody knows: calling again looks for it first.
    """
    trigger, api = quote.trigger, hub()
    label = label_of(trigger, quote.script_sha256)
    script, spec = _spec(run, quote)
    spec["env"][VARIABLE] = label
    spec |= {"labels": {RUN_LABEL: run.id, LABEL: label, DOES_LABEL: trigger.does}, "name": f"{run.id}-{label}"}
    source_job = None
    if trigger.kind == "cron":
        made = _scheduled_job(api, spec, trigger)
    else:
        made, source_job = _webhook(api, spec, trigger)
    return Schedule(
        id=made,
        trigger=trigger,
        namespace=spec["namespace"],
        label=label,
        flavor=spec["flavor"],
        script_sha256=quote.script_sha256,
        pushes_to=repository_of(script) or constant_of(script, REPOSITORY) or "",
        source_job=source_job,
    )


def _spec(run: Run, quote: ScheduleQuote) -> tuple[str, dict[str, Any]]:
    """Return the script, and the request of a plain job of it."""
    if quote.trigger.does == "train":
        script = script_of(run)
        return script, job_spec(run, script, quote.timeout_s)
    assert run.series is not None
    script = (run.folder / run.series.path).read_text(encoding="utf-8")
    return script, job_spec(run, script, quote.timeout_s, purpose="evaluate") | {"flavor": quote.flavor}


def label_of(trigger: Trigger, script_sha256: str) -> str:
    """Return the label of a schedule: the same for the same script and time, whatever words were used."""
    text = f"{trigger.kind} {trigger.cron or trigger.watched} {script_sha256}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def standing(settings: Settings) -> list[Standing]:
    """Return the schedules of ftagent in this namespace, the clock's before the webhooks.

    Raises:
        UserError: The Hub does not let this token look.
        ToolError: It does not answer.
    """
    api, namespace = hub(), owner_by(settings)
    jobs = patiently(lambda: api.list_scheduled_jobs(namespace=namespace), f"list the schedules of `{namespace}`")
    timed = [_of_job(info) for info in jobs if LABEL in (info.job_spec.labels or {})]
    return [*timed, *(_of_webhook(info) for info in _webhooks(api))]


def change(settings: Settings, schedule_id: str, action: Action) -> Standing:
    """Suspend, resume or delete a schedule; jobs that it has started run on.

    Returns:
        How it stood before.

    Raises:
        UserError: There is no such schedule, or the token may not change it.
        ToolError: The Hub does not answer.
    """
    known = standing(settings)
    found = next((one for one in known if one.id == schedule_id), None)
    if found is None:
        ids = ", ".join(one.id for one in known) or "none"
        raise UserError(f"there is no schedule `{schedule_id}`.", hint=f"`ftagent schedules` lists them: {ids}")
    api, namespace = hub(), owner_by(settings)
    if found.kind == "cron":
        call = {
            "suspend": api.suspend_scheduled_job,
            "resume": api.resume_scheduled_job,
            "delete": api.delete_scheduled_job,
        }[action]
        patiently(
            lambda: call(scheduled_job_id=schedule_id, namespace=namespace), f"{action} the schedule", changes=True
        )
    else:
        of_webhook = {"suspend": api.disable_webhook, "resume": api.enable_webhook, "delete": api.delete_webhook}
        patiently(lambda: of_webhook[action](schedule_id), f"{action} the webhook", changes=True)
    return found


# --- by the clock -----------------------------------------------------------------------------------------------------


def _scheduled_job(api: HfApi, spec: dict[str, Any], trigger: Trigger) -> str:
    """Return the id of the scheduled job, made where there is none; a firing never starts beside a former one."""
    namespace, labels = spec["namespace"], spec["labels"]

    def find() -> ScheduledJobInfo | None:
        what = f"list the schedules of `{namespace}`"
        return next(iter(patiently(lambda: api.list_scheduled_jobs(namespace=namespace, labels=labels), what)), None)

    assert trigger.cron is not None
    cron = trigger.cron
    info = find() or post_once(
        lambda: api.create_scheduled_job(schedule=cron, concurrency=False, **spec),
        find,
        f"schedule a job in `{namespace}`",
    )
    return info.id


def _of_job(info: ScheduledJobInfo) -> Standing:
    # huggingface_hub 1.33 leaves `last_job` as the server's own JSON, whatever its annotation says
    last: Any = info.status.last_job
    last_id = last.get("id") if isinstance(last, dict) else getattr(last, "id", None)
    evaluates = (info.job_spec.labels or {}).get(DOES_LABEL) == "evaluate"
    script = script_in(info.job_spec.environment or {}) if evaluates else None
    return Standing(
        does="evaluate" if evaluates else "train",
        repository=constant_of(script, REPOSITORY) if script else None,
        id=info.id,
        kind="cron",
        when=info.schedule or "",
        state="suspended" if info.suspend else "active",
        run=(info.job_spec.labels or {}).get(RUN_LABEL, ""),
        flavor=str(info.job_spec.flavor or ""),
        last_job=last_id,
        next_at=info.status.next_job_run_at,
    )


# --- by commits -------------------------------------------------------------------------------------------------------


def _webhook(api: HfApi, spec: dict[str, Any], trigger: Trigger) -> tuple[str, str]:
    """Return the ids of the webhook and of the job that it copies, each made where there is none.

    One dataset repository is watched, never a user or an organisation: what the firings push there would fire anew.
    """
    watched, namespace = trigger.watched, spec["namespace"]
    assert watched
    patiently(lambda: api.dataset_info(watched), f"find the dataset `{watched}`")
    script, options, command = spec["command"]
    spec = spec | {"command": [script, options, f"{NOT_BY_ITSELF}; {command}"]}
    label = spec["labels"][LABEL]
    find_webhook = lambda: next((one for one in _webhooks(api) if _environment(one)[VARIABLE] == label), None)  # noqa: E731
    find_source = lambda: oldest_job(api, namespace, spec["labels"])  # noqa: E731
    source = find_source() or post_once(lambda: api.run_job(**spec), find_source, f"start a job in `{namespace}`")
    webhook = find_webhook() or post_once(
        lambda: api.create_webhook(watched=[{"type": "dataset", "name": watched}], domains=["repo"], job_id=source.id),
        find_webhook,
        f"watch the dataset `{watched}`",
    )
    return webhook.id, source.id


def _webhooks(api: HfApi) -> list[WebhookInfo]:
    """Return the webhooks that are schedules of ftagent."""
    found = patiently(lambda: api.list_webhooks(), "list the webhooks")
    return [info for info in found if VARIABLE in _environment(info)]


def _environment(info: WebhookInfo) -> dict[str, str]:
    return (info.job.environment or {}) if info.job else {}


def _of_webhook(info: WebhookInfo) -> Standing:
    assert info.job is not None
    return Standing(
        id=info.id,
        kind="webhook",
        when=", ".join(item.name for item in info.watched),
        state="suspended" if info.disabled else "active",
        run=(info.job.labels or {}).get(RUN_LABEL, ""),
        flavor=str(info.job.flavor or ""),
    )
