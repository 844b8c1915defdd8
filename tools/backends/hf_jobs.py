"""Jobs on Hugging Face: submitted once, followed through broken connections, their results brought home.

A job is known by its label, the run's id and the attempt, and its id is `<namespace>/<id>`, so any process on any
machine finds it again. The script travels inside the request itself: one POST starts everything, and nothing has to be
uploaded or cleaned up. https://huggingface.co/docs/huggingface_hub/guides/jobs
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..errors import ToolError
from ..facts import TERMINAL_STAGES, Alert, Job, JobIntent
from ..metrics import OF_METRICS, Point, points_in
from ..run import Run
from . import JobState, logging_steps
from .hf_client import explained, http_error, hub, is_transient, patiently, status_of
from .hf_inputs import upload_inputs
from .hf_logs import LogLine, LogMirror, read_lines, replay
from .hf_once import jobs_with, oldest_job, post_once
from .hf_record import push_record
from .hf_request import labels_of, namespace_of, refuse_local_inputs, request_for, script_of
from .hf_results import fetch_results, prepare_repository, pushed_step, repository_of
from .hf_states import state_of
from .hf_steps import fetch_step

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

CANCEL_S = 60.0
"""For a job to be gone after it was cancelled."""


class HfJobsBackend:
    """Runs a job on rented hardware, in the namespace that owns the run's repository."""

    name = "hf-jobs"

    def __init__(self) -> None:
        self._mirrors: dict[str, LogMirror] = {}
        self._last: dict[str, JobState] = {}

    def submit(self, run: Run, intent: JobIntent) -> Job:
        """Start the intended job, or return the one that was started for this intent already.

        Raises:
            UserError: The Hub refuses: no token, no credits, no permission, or what the job needs lies here only.
            ToolError: The job could not be started; whether it was, where nobody knows, is found out by calling again.
        """
        assert run.spec is not None
        refuse_local_inputs(run.spec)
        script = script_of(run, intent.purpose)
        request, api = request_for(run, intent, script), hub()
        if job := self.find(run, intent):
            return job
        if repo_id := repository_of(script_of(run)):
            prepare_repository(api, repo_id)
            push_record(api, repo_id, run, script)
        if intent.purpose == "train":
            upload_inputs(api, run)
        namespace = request["namespace"]
        info = post_once(
            lambda: api.run_job(**request),
            lambda: oldest_job(api, namespace, labels_of(intent)),
            f"start a job in `{namespace}`",
        )
        return _job(info, run, intent)

    def find(self, run: Run, intent: JobIntent) -> Job | None:
        """Return the job that carries this intent's label and attempt, whatever its stage."""
        found = oldest_job(hub(), namespace_of(run), labels_of(intent))
        return _job(found, run, intent) if found else None

    def status(self, run: Run, job: Job) -> JobState:
        """Return how the job stands; while the Hub cannot be reached, how it stood, and why that is all.

        Raises:
            UserError: The Hub does not let this token look any more.
        """
        if (last := self._last.get(job.id)) and last.stage in TERMINAL_STAGES:
            return last
        api, (namespace, job_id) = hub(), _parted(job)
        try:
            state = state_of(api.inspect_job(job_id=job_id, namespace=namespace))
        except http_error() as error:
            if status_of(error) == 404:
                return self._vanished(run, job)
            if not is_transient(error):
                raise explained(error, "read the job") from error
            return self._out_of_reach(run, job, error)
        self._last[job.id] = state
        return state

    def cancel(self, run: Run, job: Job) -> JobState:
        """End the job, from whichever process; one that has ended already stays as it ended.

        Raises:
            UserError: The Hub does not let this token cancel it.
            ToolError: It could not be cancelled, and may run on.
        """
        state = self.status(run, job)
        if state.stage in TERMINAL_STAGES:
            return state
        api, (namespace, job_id) = hub(), _parted(job)
        patiently(lambda: api.cancel_job(job_id=job_id, namespace=namespace), f"cancel the job {job.id}", changes=True)
        until = time.monotonic() + CANCEL_S
        while (state := self.status(run, job)).stage not in TERMINAL_STAGES and time.monotonic() < until:
            time.sleep(0.5)
        if state.stage not in TERMINAL_STAGES:
            raise ToolError(f"the job {job.id} was asked to end, and is still {state.stage}.", hint="call cancel_job")
        return state

    def collect(self, run: Run, job: Job, state: JobState) -> None:
        """Bring home what a job that has ended left: the whole log, and of a completed one what it pushed.

        Raises:
            UserError: The Hub refuses the download.
            ToolError: The results could not be downloaded, and calling again goes on; or they are not this job's.
        """
        if not self._mirror(run, job).finish():
            text = f"the end of {job.log} may be missing: the Hub did not send the whole log"
            run.journal.tell("alert", **Alert(level="warn", rule="log", text=text).model_dump())
        if state.stage != "completed" or (repo_id := repository_of(script_of(run))) is None:
            return
        if job.purpose == "train":
            fetch_results(hub(), repo_id, run.folder, f"pushed-{job.attempt}")
        else:
            fetch_step(hub(), repo_id, run.folder, job)

    def log_tail(self, run: Run, job: Job, lines: int) -> list[str]:
        """Return the last lines of the job's output as far as they were mirrored here, oldest first."""
        texts = (line.text.rsplit("\r", 1)[-1].rstrip() for line in self._lines(run, job))
        return [text for text in texts if text][-lines:]

    def metrics(self, run: Run, job: Job) -> list[Point]:
        """Return what this attempt's log says of the training; the log is mirrored here from the first call on."""
        lines = (line for line in self._lines(run, job) if line.text.startswith(OF_METRICS))
        return points_in(((line.time, line.text) for line in lines), logging_steps=logging_steps(run))

    def saved_step(self, run: Run) -> int:
        """Return the step of the checkpoint that the run's jobs have pushed, 0 before the first one.

        Raises:
            UserError: The Hub refuses to show it.
            ToolError: The Hub does not answer.
        """
        repo_id = repository_of(script_of(run)) if run.script else None
        return pushed_step(hub(), repo_id) if repo_id else 0

    def _lines(self, run: Run, job: Job) -> list[LogLine]:
        last = self._last.get(job.id)
        if last is None or last.stage not in TERMINAL_STAGES:
            self._mirror(run, job).follow()
        return read_lines(run.folder / job.log)

    def _mirror(self, run: Run, job: Job) -> LogMirror:
        namespace, job_id = _parted(job)
        if job.id not in self._mirrors:
            source = lambda silence_s: replay(hub(), namespace, job_id, silence_s)  # noqa: E731
            self._mirrors[job.id] = LogMirror(source, run.folder / job.log)
        return self._mirrors[job.id]

    def _vanished(self, run: Run, job: Job) -> JobState:
        """Return the state of a job whose page is not there: it still counts while the list of jobs has it."""
        for info in jobs_with(hub(), _parted(job)[0], labels_of(job)):
            if info.id == _parted(job)[1]:
                return state_of(info)
        known = self._last.get(job.id) or _as_reported(run, job)
        reason = "the Hub does not know this job any more: it was deleted, or lost"
        return JobState(stage="failed", started_at=known.started_at, seconds=known.seconds, reason=reason)

    def _out_of_reach(self, run: Run, job: Job, error: Exception) -> JobState:
        """Return the last known state: a job on the Hub does not end because we cannot see it."""
        known = self._last.get(job.id) or _as_reported(run, job)
        what = status_of(error) or type(error).__name__
        reason = f"the Hub does not answer ({what}); the job goes on, and was {known.stage} when it was last seen"
        return JobState(stage=known.stage, started_at=known.started_at, seconds=known.seconds, reason=reason)


def _job(info: JobInfo, run: Run, intent: JobIntent) -> Job:
    return Job(
        id=f"{info.owner.name}/{info.id}",
        backend=HfJobsBackend.name,
        purpose=intent.purpose,
        flavor=str(info.flavor or (run.hardware.flavor if run.hardware else "")),
        label=intent.label,
        attempt=intent.attempt,
        script_sha256=intent.script_sha256,
        submitted_at=info.created_at or datetime.now(UTC),
        timeout_s=intent.timeout_s,
        log=f"{intent.purpose}-{intent.attempt}.log",
        url=info.url,
    )


def _parted(job: Job) -> tuple[str, str]:
    namespace, _, job_id = job.id.partition("/")
    return namespace, job_id


def _as_reported(run: Run, job: Job) -> JobState:
    """Return what the journal says of the job."""
    report = run.report if run.report is not None and run.report.job_id == job.id else None
    if report is None or report.stage in TERMINAL_STAGES:  # an end that was told is asked for anew: it has a reason
        return JobState(stage="queued", seconds=report.seconds if report else 0.0)
    return JobState(stage=report.stage, seconds=report.seconds)
