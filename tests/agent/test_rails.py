"""Weak planners are carried: held to a schema, read as they meant, relieved where they get nowhere."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent.loop import FineTuneAgent
from ftagent.agent.planner import summary
from ftagent.agent.toolbox import Toolbox
from ftagent.tools.errors import InputError, UserError
from ftagent.tools.facts import DatasetReport
from ftagent.tools.run import Run, new_run
from ftagent.tools.settings import load_settings

from ..openai_server import Reply, Script, openai_server
from . import instant
from .instant import REQUEST, instant_tools
from .scripted_llm import STEPS, expected_step, strong

__all__ = ["instant_tools"]


def run_with(script: Script, request: str = REQUEST, **options: Any) -> tuple[Run, list[dict[str, Any]]]:
    with openai_server(script) as server:
        settings = load_settings({"llm": "openai/scripted", "llm_base_url": server.url})
        result = FineTuneAgent(settings=settings, approve=True, **options).run(request)
    return result.run, server.requests


def schema_of(body: dict[str, Any]) -> dict[str, Any] | None:
    return body.get("response_format", {}).get("json_schema", {}).get("schema")


def names_in(schema: dict[str, Any]) -> list[str]:
    return [call["properties"]["name"]["const"] for call in schema.get("anyOf", [schema])]


def only_last_words_were_taken(run: Run) -> bool:
    """Whether the model walked the whole way, and the built-in planner said how it ended."""
    return ["took final_answer" in note.text for note in run.notes] == [True]


def babbler(body: dict[str, Any]) -> Reply:
    """A tiny model: prose when it is free, whatever the schema begins with when it is held."""
    if schema_of(body) is None:
        return Reply(content="As an AI language model, I love to help with tuning.")
    return Reply(content=json.dumps({"name": expected_step(body) or "final_answer", "arguments": {"answer": "done"}}))


def test_a_model_that_talks_is_held_to_a_schema_of_the_legal_calls_and_walks_the_way(workdir: Path) -> None:
    def held(body: dict[str, Any]) -> Reply:
        reply = babbler(body)
        if expected_step(body):
            reply.content = (reply.content or "").replace('{"answer": "done"}', "{}")
        return reply

    run, requests = run_with(held)
    assert run.status == "completed" and only_last_words_were_taken(run)
    assert run.ended is not None and run.ended.reason == summary(run)
    assert schema_of(requests[0]) is None and "tools" in requests[0]
    first = schema_of(requests[1])
    assert first is not None and set(names_in(first)) == {"plan_run", "read_skill", "show_run"}
    assert "tools" not in requests[1] and '{"name": "plan_run"' in str(requests[1]["messages"])
    assert [call.valid for call in run.llm_calls] == [False, *[True] * len(STEPS)]


def test_calls_that_lead_nowhere_are_held_to_bare_ones(workdir: Path) -> None:
    def inventive(body: dict[str, Any]) -> Reply:
        schema = schema_of(body)
        if schema is None:
            return Reply(content="hello")
        step = expected_step(body) or "final_answer"
        call = next(call for call in schema.get("anyOf", [schema]) if call["properties"]["name"]["const"] == step)
        given = {"batch": "many"} if "batch" in call["properties"]["arguments"]["properties"] else {}
        return Reply(
            content=json.dumps(
                {"name": step, "arguments": given or ({"answer": "ok"} if step == "final_answer" else {})}
            )
        )

    run, requests = run_with(inventive)
    assert run.status == "completed" and only_last_words_were_taken(run)
    assert [call.valid for call in run.llm_calls].count(False) == 2
    last = schema_of(requests[5])
    assert last is not None and all("batch" not in str(call) for call in last["anyOf"])


def test_a_model_that_only_looks_is_offered_the_next_step_alone(workdir: Path) -> None:
    def looks(body: dict[str, Any]) -> Reply:
        schema = schema_of(body)
        legal = names_in(schema) if schema is not None else []
        name = "show_run" if "show_run" in legal else next(iter(legal), "nothing")
        return Reply(content=json.dumps({"name": name, "arguments": {}}))

    run, requests = run_with(looks)
    offered = [names_in(schema) for request in requests if (schema := schema_of(request)) is not None]
    assert run.status == "completed" and len(requests) < 3 * len(STEPS)
    assert "show_run" in offered[0] and offered[-1] == ["export_gguf"]
    assert [call.call for call in run.llm_calls][-4:] == STEPS[-4:]


@pytest.mark.parametrize("said", ["The report is the report of the report.", "Say which rank you mean."])
def test_what_a_person_must_decide_is_said_whatever_the_last_words_are(workdir: Path, said: str) -> None:
    def ends(body: dict[str, Any]) -> Reply:
        step = expected_step(body)
        return Reply(tool="plan_run") if step == "plan_run" else Reply(tool="final_answer", arguments={"answer": said})

    with pytest.raises(InputError, match="r is stated as 8 and as 16: which one holds"):
        run_with(ends, "fine-tune Tiny-1M on rows.jsonl with rank 8 and rank 16")


def test_a_server_that_takes_no_schema_is_asked_once(workdir: Path) -> None:
    def refusing(body: dict[str, Any]) -> Reply:
        if schema_of(body) is not None:
            return Reply(status=400, content="response_format is not supported")
        return Reply(content="I think the step is good.")

    run, requests = run_with(refusing)
    assert run.status == "completed"
    assert sum(schema_of(request) is not None for request in requests) == 1
    assert "takes no JSON schema" in run.notes[0].text


def test_a_server_that_ignores_the_schema_is_carried_too(workdir: Path) -> None:
    run, _ = run_with(lambda _: Reply(content="tuning is fun"))
    assert run.status == "completed" and {note.code for note in run.notes} == {"rail"}
    assert not any(call.valid for call in run.llm_calls)


@pytest.mark.parametrize(
    "said",
    [
        "```json\n{'name': 'STEP', 'arguments': {}}\n```",
        "I will call `STEP`.",
        'Here: {"tool": "functions.STEP", "parameters": null}',
        "STEP()",
    ],
)
def test_what_is_not_quite_a_call_is_read_as_one(workdir: Path, said: str) -> None:
    def sloppy(body: dict[str, Any]) -> Reply:
        step = expected_step(body)
        return Reply(content=said.replace("STEP", step)) if step else strong(body)

    run, requests = run_with(sloppy)
    assert run.status == "completed" and len(requests) == len(STEPS) + 1
    assert all(call.valid for call in run.llm_calls) and run.llm_calls[0].mended and run.notes == ()


def test_a_step_that_is_done_is_not_done_again_by_the_same_call(workdir: Path) -> None:
    def dithering(body: dict[str, Any]) -> Reply:
        return Reply(tool="pick_hardware") if expected_step(body) == "write_script" else strong(body)

    run, requests = run_with(dithering)
    assert run.status == "completed"
    kinds = [event.kind for event in run.journal.events]
    assert kinds.count("pick_hardware") == 1
    assert any("is done, and the same call settles the same" in str(r["messages"][-1]) for r in requests)


def test_a_step_that_nobody_can_take_ends_the_run_with_its_refusal(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: Run) -> DatasetReport:
        """Refuse.

        Args:
            run: The run.
        """
        raise InputError("column `text` is empty in all rows.", hint="name another column")

    instant.install(monkeypatch, validate_dataset=refuse)
    with pytest.raises(InputError, match="column `text` is empty"):
        run_with(strong)


def test_looking_again_and_again_ends_in_a_step(workdir: Path) -> None:
    names = ["hardware", "jobs", "datasets", "evaluation", "fine-tuning", "training-methods"]

    def curious(body: dict[str, Any]) -> Reply:
        turn = str(body["messages"]).count("You called")
        return Reply(tool="read_skill", arguments={"name": names[turn % len(names)]})

    run, _ = run_with(curious)
    assert run.status == "completed"
    assert any("settled nothing" in note.text or "only looked" in note.text for note in run.notes)


# --- a strong planner is not held back --------------------------------------------------------------------------------


def test_a_strong_planner_sets_arguments_goes_back_and_proves_anew(workdir: Path) -> None:
    turns: list[str] = []

    def deliberate(body: dict[str, Any]) -> Reply:
        if expected_step(body) == "submit_job" and "back" not in turns:
            turns.append("back")
            return Reply(tool="pick_hardware", arguments={"batch": 8})
        return strong(body)

    run, _ = run_with(deliberate)
    kinds = [event.kind for event in run.journal.events]
    assert run.status == "completed" and run.hardware is not None and run.hardware.batch == 8
    assert [kinds.count(kind) for kind in ("pick_hardware", "write_script", "preflight")] == [2, 2, 2]
    assert [note.text for note in run.notes] == ["pick_hardware was asked for batch 8."]


def test_it_reads_skills_and_the_run_and_loses_no_step_by_it(workdir: Path) -> None:
    asked: list[str] = []

    def studious(body: dict[str, Any]) -> Reply:
        for name in ("fine-tuning", "hardware", "jobs", "evaluation"):
            if name not in asked:
                asked.append(name)
                return Reply(tool="read_skill", arguments={"name": name})
        return strong(body)

    run, requests = run_with(studious)
    assert run.status == "completed" and run.notes == () and len(requests) == len(STEPS) + 1 + 4


CONTRADICTS = REQUEST + ", 2 epochs, 3 epochs"


def test_a_question_goes_to_the_person_and_the_answer_holds(workdir: Path) -> None:
    questions: list[str] = []

    def person(question: str) -> str:
        questions.append(question)
        return "3"

    def asking(body: dict[str, Any]) -> Reply:
        if "A person must decide first" in str(body["messages"][-1]):
            question = "num_train_epochs is stated as 2.0 and as 3.0: which one holds?"
            return Reply(tool="ask_user", arguments={"question": question})
        return strong(body)

    run, requests = run_with(asking, CONTRADICTS, ask=person)
    assert run.status == "completed" and len(questions) == 1
    assert run.spec is not None and run.spec.overrides.num_train_epochs == 3.0
    assert "The user answered, and this holds, too: 3" in str(requests[-1]["messages"][-1])


def test_the_built_in_planner_asks_too_and_takes_no_answer_for_none(workdir: Path) -> None:
    done = FineTuneAgent(approve=True, ask=lambda _: "2").run(CONTRADICTS)
    assert done.ok and done.run.spec is not None and done.run.spec.overrides.num_train_epochs == 2.0
    with pytest.raises(InputError, match="which one holds"):
        FineTuneAgent(approve=True, ask=lambda _: "whatever you like").run(CONTRADICTS)


def test_nobody_is_asked_where_nobody_is(workdir: Path) -> None:
    toolbox = Toolbox(new_run(load_settings()), request=REQUEST)
    assert "ask_user" not in toolbox.legal()


# --- another planner in mid-run ---------------------------------------------------------------------------------------


def test_a_person_switches_the_planner_in_mid_run(workdir: Path) -> None:
    seen: list[str] = []

    def script(body: dict[str, Any]) -> Reply:
        seen.append(body["model"])
        if expected_step(body) == "write_script" and body["model"] == "first":
            thread = threading.Thread(target=agent.switch_llm, args=("openai/second", server.url))
            thread.start()
            thread.join()
        return strong(body)

    with openai_server(script) as server:
        settings = load_settings({"llm": "openai/first", "llm_base_url": server.url})
        agent = FineTuneAgent(settings=settings, approve=True)
        run = agent.run(REQUEST).run
    assert run.status == "completed" and seen == ["first"] * 4 + ["second"] * (len(STEPS) - 3)
    assert run.settings.llm == "openai/second" == agent.settings.llm
    assert [note.text for note in run.notes] == [
        "The planner is now `openai/second`, and was `openai/first`: a person switched it."
    ]


def test_a_switch_to_what_does_not_answer_is_taken_back(workdir: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        if body["model"] == "broken":
            return Reply(status=401, content="bad key")
        if expected_step(body) == "preflight":
            agent.switch_llm("openai/broken", server.url)
        return strong(body)

    with openai_server(script) as server:
        settings = load_settings({"llm": "openai/first", "llm_base_url": server.url})
        agent = FineTuneAgent(settings=settings, approve=True)
        run = agent.run(REQUEST).run
    assert run.status == "completed" and run.settings.llm == "openai/first"
    assert "refuses the key: bad key" in run.notes[-1].text


def test_a_switch_to_the_built_in_planner_and_to_nonsense(workdir: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        if expected_step(body) == "pick_hardware":
            with pytest.raises(UserError, match="names no provider"):
                agent.switch_llm("nonsense")
            agent.switch_llm("builtin")
        return strong(body)

    with openai_server(script) as server:
        agent = FineTuneAgent(llm="openai/first", settings=None, approve=True)
        agent.settings = load_settings({"llm": "openai/first", "llm_base_url": server.url})
        run = agent.run(REQUEST).run
    assert run.status == "completed" and len(server.requests) == 3 and run.settings.llm == "builtin"
