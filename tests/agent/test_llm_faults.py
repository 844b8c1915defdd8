"""A server that is busy, broken or refuses, over real HTTP: waiting where it helps, else one plain line."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent import llm
from ftagent.agent.llm_errors import LlmDown, asked_to_wait_s
from ftagent.agent.loop import FineTuneAgent
from ftagent.tools.errors import UserError
from ftagent.tools.run import Run
from ftagent.tools.settings import load_settings
from smolagents.models import ChatMessage, MessageRole

from ..openai_server import OpenAiServer, Reply, Script, openai_server
from .instant import REQUEST, instant_tools
from .scripted_llm import STEPS, strong

__all__ = ["instant_tools"]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(llm, "pause", waited.append)
    return waited


def faulty(*faults: Reply, at: int = 0, then: Script = strong) -> Script:
    """A strong planner that fails in these ways first, or from its call number `at` on."""
    left = list(faults)
    calls = 0

    def answer(body: dict[str, Any]) -> Reply:
        nonlocal calls
        calls += 1
        return left.pop(0) if left and calls > at else then(body)

    return answer


def run_with(script: Script, model: str = "openai/scripted", **options: Any) -> Run:
    with openai_server(script) as server:
        settings = load_settings({"llm": model, "llm_base_url": server.url, **options})
        return FineTuneAgent(settings=settings, approve=True).run(REQUEST).run


def test_what_passes_is_waited_out_and_a_retry_after_is_honoured(workdir: Path, waits: list[float]) -> None:
    run = run_with(
        faulty(
            Reply(status=429, headers={"Retry-After": "7"}),
            Reply(status=500),
            Reply(body=b"<html>busy</html>"),
            Reply(tool="plan_run", cut=True),
            Reply(status=529, headers={"Retry-After": "3"}),
        )
    )
    assert run.status == "completed" and run.notes == ()
    assert (waits[0], waits[-1]) == (7.0, 3.0) and len(waits) == 5
    assert 1.0 <= waits[1] <= 2.0 and 2.0 <= waits[2] <= 4.0 and 4.0 <= waits[3] <= 8.0
    assert len(run.llm_calls) == len(STEPS) + 1  # only what was answered is booked


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(status=401, content="bad key"), r"refuses the key: bad key\. hint: set OPENAI_API_KEY"),
        (Reply(status=403, content="not yours"), r"refuses the key: not yours"),
        (Reply(status=404, content="no such model"), r"there is no model `openai/scripted` at http.*: no such model"),
        (Reply(status=429, content="insufficient_quota"), r"nothing is left to spend for `openai/scripted`"),
        (Reply(status=429, headers={"Retry-After": "3600"}), r"did not answer in 1 try: .*it asks to wait 3600 s"),
    ],
)
def test_what_no_waiting_mends_is_one_line_at_once(workdir: Path, waits: list[float], reply: Reply, says: str) -> None:
    with pytest.raises(UserError, match=says):
        run_with(lambda _: reply)
    assert waits == [] and list(workdir.iterdir()) == []


@pytest.mark.parametrize("model", ["nonsense", "no-such-provider/model"])
def test_an_id_of_no_provider_says_how_ids_look(workdir: Path, model: str) -> None:
    with pytest.raises(UserError, match=rf"`{model}` names no provider .* hint: write PROVIDER/MODEL"):
        FineTuneAgent(llm=model).run(REQUEST)


def test_a_server_that_stays_down_is_given_up(workdir: Path, waits: list[float]) -> None:
    with pytest.raises(LlmDown, match=r"did not answer in 6 tries: .*`ftagent resume` goes on then"):
        run_with(lambda _: Reply(status=503, content="overloaded"))
    assert len(waits) == 5 and sum(waits) < 2 * 31


def test_an_outage_in_mid_run_costs_a_step_and_not_the_run(workdir: Path) -> None:
    run = run_with(faulty(*[Reply(status=503)] * llm.TRIES, at=2))
    assert run.status == "completed"
    assert next(note.text for note in run.notes if note.code == "rail").startswith(
        "The built-in planner took pick_hardware: `openai/scripted` at http"
    )


def test_a_secret_that_a_server_repeats_is_not_shown(workdir: Path) -> None:
    secret = "hf_" + "a" * 34
    with pytest.raises(UserError) as raised:
        run_with(lambda _: Reply(status=401, content=f"wrong: {secret}"))
    assert secret not in str(raised.value) and "[Hugging Face token]" in str(raised.value)


def test_a_retry_after_may_be_a_date() -> None:
    class Busy(Exception):
        litellm_response_headers = {"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=30))}

    assert 25 < (asked_to_wait_s(Busy()) or 0) <= 30


def test_tokens_cached_tokens_and_dollars_are_booked_at_each_call(workdir: Path) -> None:
    run = run_with(strong, "openai/gpt-4o-mini")
    assert all(call.cost_usd and call.valid and not call.mended for call in run.llm_calls)
    assert run.llm_calls[5].cached_tokens > 0
    call = run.llm_calls[5]
    fresh, cached = call.prompt_tokens - call.cached_tokens, call.cached_tokens
    # The table that litellm 1.105 brings along: $0.15 and $0.60 a million, cached ones $0.075.
    assert call.cost_usd == pytest.approx((fresh * 0.15 + cached * 0.075 + call.completion_tokens * 0.60) / 1e6)
    assert run.cost_usd == pytest.approx(sum(call.cost_usd or 0 for call in run.llm_calls))


def test_the_call_that_could_break_the_cap_is_not_made(workdir: Path) -> None:
    calls: list[int] = []

    def counted(body: dict[str, Any]) -> Reply:
        calls.append(1)
        return strong(body)

    # At its worst a call of gpt-4o-mini takes 4,096 tokens of answer: $0.0025.
    run = run_with(counted, "openai/gpt-4o-mini", max_cost_usd=0.003)
    assert run.status == "completed" and 1 <= len(calls) < len(STEPS)
    assert run.cost_usd <= 0.003 and len(run.llm_calls) == len(calls)
    assert "could cost $0.00" in run.notes[0].text and "the cap leaves $0.00" in run.notes[0].text


def test_an_unknown_price_is_said_and_that_of_this_machine_is_none(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = run_with(strong)
    assert {call.cost_usd for call in here.llm_calls} == {0.0} and here.notes == ()
    monkeypatch.setattr(llm.Llm, "is_here", False)
    elsewhere = run_with(strong)
    assert {call.cost_usd for call in elsewhere.llm_calls} == {None}
    assert elsewhere.notes[0].text.startswith("litellm has no price for `openai/scripted`")


def test_a_prompt_that_is_too_long_for_the_server_is_shortened(workdir: Path) -> None:
    def small(body: dict[str, Any]) -> Reply:
        if len(str(body["messages"])) > 6000:
            return Reply(status=400, content="This model's maximum context length is 2048 tokens")
        return strong(body)

    run = run_with(small)
    assert run.status == "completed" and all(note.code != "rail" for note in run.notes)


@pytest.mark.parametrize("order", ["end the job", "leave the job"])
def test_a_server_that_never_answers_does_not_hold_up_a_stop(workdir: Path, order: str) -> None:
    asked, released = threading.Event(), threading.Event()

    def silent(_: dict[str, Any]) -> Reply:
        asked.set()
        released.wait(60)
        return Reply(status=500)

    with openai_server(silent) as server:
        agent = FineTuneAgent(settings=load_settings({"llm": "openai/scripted", "llm_base_url": server.url}))
        threading.Thread(target=lambda: (asked.wait(60), agent.cancel(keep_job=order == "leave the job"))).start()
        began, result = time.monotonic(), agent.run(REQUEST)
        assert asked.is_set() and result.stopped and time.monotonic() - began < 30  # one call may take 120 s
        released.set()
    assert result.run.status == ("cancelled" if order == "end the job" else "planned")


def _asked(server: OpenAiServer, shown: list[str], model: str = "openai/scripted") -> ChatMessage:
    planner = llm.connect(load_settings({"llm": model, "llm_base_url": server.url}))
    question = [ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": "is it better?"}])]
    return planner.stream(question, shown.append)


def test_an_answer_is_shown_as_it_comes_and_booked_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    shown: list[str] = []
    with openai_server(lambda _: Reply(content="It is better.")) as server:
        message = _asked(server, shown, "openai/gpt-4o-mini")
        booked = llm.connect(load_settings({"llm": "openai/gpt-4o-mini"})).cost_usd(message)
    assert [text.split() for text in shown] == [["It"], ["It", "is"], ["It", "is", "better."]]
    assert message.token_usage is not None and message.token_usage.input_tokens == server.prompt_tokens[0]
    assert booked and booked == pytest.approx(server.prompt_tokens[0] * 0.15e-6 + 10 * 0.6e-6, rel=0.01)


@pytest.mark.parametrize("fault", [Reply(status=503), Reply(content="It is much better.", cut=True)])
def test_an_answer_that_breaks_off_is_asked_for_again(waits: list[float], fault: Reply) -> None:
    shown: list[str] = []
    with openai_server(faulty(fault, then=lambda _: Reply(content="It is better."))) as server:
        message = _asked(server, shown)
    assert str(message.content).split() == ["It", "is", "better."] and len(server.requests) == 2 and len(waits) == 1
    assert shown[-1] == message.content
