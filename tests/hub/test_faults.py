from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, JobNotFoundError

from .faults import Before, Cut, Refuse, Slow, Status
from .server import LoopbackHub


def whoami(hub: LoopbackHub) -> int:
    token = {"Authorization": f"Bearer {hub.tokens.write}"}
    return httpx.get(f"{hub.endpoint}/api/whoami-v2", headers=token, timeout=5).status_code


@pytest.mark.parametrize("status", [401, 402, 403, 404, 409, 429, 500, 502])
def test_every_refusal_can_be_had(hub: LoopbackHub, status: int) -> None:
    hub.faults.on("GET", "/api/jobs/hardware", Status(status, "no"))
    with hub.used_here() as api, pytest.raises(HfHubHTTPError) as raised:
        api.list_jobs_hardware()
    assert (raised.value.response.status_code, raised.value.server_message) == (status, "no")


def test_a_fault_strikes_at_its_turn_as_often_as_it_was_told(hub: LoopbackHub) -> None:
    fault = hub.faults.on("GET", "/api/*", Status(503, retry_after_s=2), nth=2, times=2)
    assert [whoami(hub) for _ in range(4)] == [200, 503, 503, 200]
    assert fault.fired == 2
    answer = httpx.get(f"{hub.endpoint}/api/models", params={"search": "x"})
    assert answer.status_code == 200


def test_a_client_waits_as_long_as_it_is_told(hub: LoopbackHub) -> None:
    hub.add_repo("model", "acme/model", {"a": "1"})
    hub.faults.on("GET", "/acme/model/resolve/*", Status(429, retry_after_s=1))
    with hub.used_here() as api:
        started = time.monotonic()
        api.hf_hub_download("acme/model", "a")
    assert time.monotonic() - started >= 1


def test_a_refused_connection_does_nothing(hub: LoopbackHub) -> None:
    hub.faults.on("POST", "/api/repos/create", Refuse())
    with hub.used_here() as api:
        with pytest.raises(httpx.HTTPError):
            api.create_repo("tester/model")
        assert not api.repo_exists("tester/model")


def test_a_lost_answer_leaves_what_was_done(hub: LoopbackHub) -> None:
    hub.faults.on("POST", "/api/jobs/*", Cut())
    with hub.used_here() as api:
        with pytest.raises(httpx.HTTPError):
            api.run_job(image="any", command=["true"], labels={"run": "x"}, namespace="tester")
        (found,) = api.list_jobs(namespace="tester", labels={"run": "x"})
    assert [found.id] == list(hub.jobs.all)
    assert hub.asked("POST", "/api/jobs/")[0].status is None


def test_a_download_that_breaks_off_is_taken_up_again(hub: LoopbackHub) -> None:
    content = bytes(range(256)) * 4096
    hub.add_repo("model", "acme/model", {"large": content})
    hub.faults.on("GET", "/acme/model/resolve/*", Cut(after_bytes=300_000, by="close"))
    with hub.used_here() as api:
        assert Path(api.hf_hub_download("acme/model", "large")).read_bytes() == content
    assert len(hub.asked("GET", "/acme/model/resolve/")) == 2


def test_slow_bytes_arrive_in_the_end(hub: LoopbackHub) -> None:
    hub.faults.on("GET", "/api/whoami-v2", Slow(piece_bytes=100, pause_s=0.02))
    started = time.monotonic()
    assert whoami(hub) == 200
    assert time.monotonic() - started > 0.05


@pytest.mark.parametrize(
    ("by", "expected"), [("end", None), ("close", httpx.RemoteProtocolError), ("reset", httpx.ReadError)]
)
def test_a_log_stream_breaks_while_the_job_goes_on(
    hub: LoopbackHub, by: Literal["end", "close", "reset"], expected: type[Exception] | None
) -> None:
    hub.faults.on("GET", "/api/jobs/*/logs", Cut(after_bytes=400, by=by))
    code = "import time\nfor n in range(20): print('line', n, flush=True); time.sleep(0.1)"
    with hub.used_here() as api:
        job = api.run_job(image="any", command=["python", "-c", code], namespace="tester")
        with httpx.stream(
            "GET",
            f"{hub.endpoint}/api/jobs/tester/{job.id}/logs",
            headers={"Authorization": f"Bearer {hub.tokens.write}"},
        ) as answer:
            got, broken = b"", None
            try:
                for block in answer.iter_raw():
                    got += block
            except httpx.HTTPError as error:
                broken = type(error)
        assert broken is expected
        assert 0 < len(got) <= 400
        assert hub.jobs.all[job.id].stage == "RUNNING"


def test_a_job_can_be_lost_at_the_third_look(hub: LoopbackHub) -> None:
    with hub.used_here() as api:
        job = api.run_job(image="any", command=["sleep", "60"], namespace="tester")
        hub.faults.on("GET", f"/api/jobs/tester/{job.id}", Before(act=lambda _: hub.jobs.vanish(job.id)), nth=3)
        for _ in range(2):
            api.inspect_job(job_id=job.id, namespace="tester")
        with pytest.raises(JobNotFoundError):
            api.inspect_job(job_id=job.id, namespace="tester")
