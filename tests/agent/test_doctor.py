"""What `ftagent doctor` finds, with a Hub, without one, and with one that does not answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftagent.agent import doctor
from ftagent.agent.cli import main
from ftagent.agent.doctor import Finding, checks
from ftagent.tools import catalog
from ftagent.tools.sandbox import checked
from ftagent.tools.settings import Settings

from ..hub import LoopbackHub
from ..hub.faults import Slow, Status


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TRACKIO_SPACE_ID", raising=False)
    catalog.catalog.cache_clear()
    yield
    catalog.catalog.cache_clear()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


def found(hub: LoopbackHub, token: str, **settings: str) -> dict[str, Finding]:
    with hub.used_here(token):
        return {one.name: one for one in checks(Settings.model_validate(settings))}


def test_a_write_token_may_do_everything(hub: LoopbackHub) -> None:
    by_name = found(hub, hub.tokens.write)
    assert by_name["Hub token"].detail == "found, of tester, role write"
    assert (by_name["writing"].ok, by_name["jobs"].ok, by_name["prices"].ok) == (True, True, True)
    assert "asked from the Hub just now" in by_name["prices"].detail
    assert "does not tell" in by_name["credits"].detail


@pytest.mark.parametrize(
    ("token", "writes", "runs"), [("read", False, False), ("jobs", True, True), ("no_jobs", True, False)]
)
def test_a_role_says_what_may_be_done(hub: LoopbackHub, token: str, writes: bool, runs: bool) -> None:
    by_name = found(hub, getattr(hub.tokens, token), namespace="acme")
    assert (by_name["writing"].ok, by_name["jobs"].ok) == (writes, runs)
    assert by_name["jobs"].detail == f"the token {'may' if runs else 'may not'} run jobs in `acme`"
    assert ("job.write" in by_name["jobs"].mend) is not runs


def test_a_fine_grained_token_of_another_namespace_opens_nothing(hub: LoopbackHub) -> None:
    person = hub.people.add("somebody")
    token = hub.people.issue(person, "fineGrained", "repo.write", "job.write")
    person.orgs = ("late",)  # joined after the token was made
    by_name = found(hub, token, namespace="late")
    assert (by_name["writing"].ok, by_name["jobs"].ok) == (False, False)


def test_a_namespace_of_others_is_said(hub: LoopbackHub) -> None:
    by_name = found(hub, hub.tokens.write, namespace="strangers")
    assert not by_name["namespace"].ok
    assert by_name["namespace"].detail == "`strangers` is neither tester nor an organisation of theirs"


def test_a_token_that_was_revoked_is_said(hub: LoopbackHub) -> None:
    hub.people.revoke(hub.tokens.write)
    finding = found(hub, hub.tokens.write)["Hub token"]
    assert (finding.ok, finding.mend) == (False, "hf auth login")
    assert "does not know it" in finding.detail


def test_a_hub_that_does_not_answer_holds_nobody_up(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.3)
    hub.faults.on("GET", "/api/whoami-v2", Slow(piece_bytes=1, pause_s=0.2))
    hub.faults.on("GET", "/api/jobs/hardware", Slow(piece_bytes=1, pause_s=0.2))
    by_name = found(hub, hub.tokens.write)
    assert not by_name["Hub token"].ok and "does not answer" in by_name["Hub token"].detail
    assert "as the Hub could not be asked" in by_name["prices"].detail


def test_a_hub_that_fails_is_told_with_its_status(hub: LoopbackHub) -> None:
    hub.faults.on("GET", "/api/whoami-v2", Status(503))
    assert "the Hub says 503" in found(hub, hub.tokens.write)["Hub token"].detail


def test_a_trackio_space_is_looked_for(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_SPACE_ID", "tester/metrics")
    missing = found(hub, hub.tokens.write)["Trackio"]
    assert (missing.ok, missing.detail) == (False, "TRACKIO_SPACE_ID is tester/metrics: the Hub says 404")
    hub.add_repo("space", "tester/metrics", {"README.md": "x"})
    assert found(hub, hub.tokens.write)["Trackio"].ok


def test_offline_everything_else_is_told(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    by_name = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(by_name["disk"]) == {"name", "ok", "detail", "mend"}
    assert by_name["Hub token"]["mend"] == "hf auth login"
    assert "as the Hub could not be asked" in by_name["prices"]["detail"]
    assert {"sandbox", "llama.cpp", "Trackio", "ftagent[local]"} <= set(by_name)


def test_what_is_not_well_comes_with_what_mends_it(hub: LoopbackHub, tmp_path: Path) -> None:
    sick = [one for one in found(hub, hub.tokens.read, llama_cpp=str(tmp_path)).values() if not one.ok]
    assert {"writing", "jobs", "llama.cpp"} <= {one.name for one in sick}
    assert all(one.mend and "\n" not in one.detail for one in sick)


def test_a_machine_without_a_jail_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked.sys, "platform", "darwin")
    checked._jail.cache_clear()
    finding = doctor._sandbox()
    checked._jail.cache_clear()
    assert (finding.ok, "needs Linux" in finding.detail) == (False, True)
