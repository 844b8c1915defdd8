"""What a planner meant is read, whatever it looks like; what it did not say is never made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ftagent.agent.calls import Call, known_name, read_call
from hypothesis import given, settings
from hypothesis import strategies as st

TOOLS = {
    "plan_run": frozenset({"model", "dataset"}),
    "pick_hardware": frozenset({"batch", "max_length", "flavor"}),
    "write_script": frozenset({"overrides"}),
    "read_skill": frozenset({"name"}),
    "preflight": frozenset(),
    "submit_job": frozenset(),
    "final_answer": frozenset({"answer"}),
}
BARE = Call("plan_run", {})


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ('{"name": "plan_run", "arguments": {}}', BARE),
        ('```json\n{"name": "plan_run", "arguments": {}}\n```', BARE),
        ("{'name': 'plan_run', 'arguments': {},}", BARE),
        ("{name: plan_run}", BARE),
        ("plan_run", BARE),
        ("Plan Run", BARE),
        ("I will call `plan_run`.", BARE),
        ("**Action:** plan_run()", BARE),
        ("Sure! First I plan.\n\nplan_run\n\nThen we will see.", BARE),
        ("<think>submit_job?</think>plan_run", BARE),
        ('<tool_call>{"name": "functions.plan_run", "parameters": null}</tool_call>', BARE),
        ("It's {'name': 'plan_run'}, isn't it?", BARE),
        ('{"tool_calls": [{"function": {"name": "plan_run", "arguments": "{}"}}]}', BARE),
        ('{"plan_run": {"model_id": "x"}}', Call("plan_run", {"model": "x"})),
        ('{"action": "plan_run", "action_input": {"modelName": "x"}}', Call("plan_run", {"model": "x"})),
        ('{"name": "plan_run", "model": null, "dataset": "None", "reason": "go"}', Call("plan_run", {"model": None})),
        ("{'tool': 'pick_hardware', 'args': {'batch_size': '4'}}", Call("pick_hardware", {"batch": "4"})),
        ('pick_hardware(batch=4, flavor="l4x1")', Call("pick_hardware", {"batch": 4, "flavor": "l4x1"})),
        ('{"name": "read_skill", "skill": "jobs"}', Call("read_skill", {"name": "jobs"})),
        (
            '{"name": "write_script", "arguments": {"learningRate": 1e-4, "overrides": {"r": 8}}}',
            Call("write_script", {"overrides": {"r": 8, "learning_rate": 1e-4}}),
        ),
    ],
)
def test_a_plain_meaning_is_read(text: str, call: Call) -> None:
    assert read_call(text, TOOLS) == call


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would be happy to help you!",
        "I should not call submit_job yet.",
        "Never call submit_job.",
        "The submit_job tool costs money.",
        "1. plan_run\n2. preflight",  # which of the two?
        '{"name": "rm_rf", "arguments": {}}',
        '{"name": "plan_run", "arguments": [1, 2]}',
        "pick_hardware(batch=open('x').read())",
        "{" * 5000,
        "[" * 5000,
        '{"name": ' * 2000,
    ],
)
def test_what_is_no_call_stays_none(text: str) -> None:
    assert read_call(text, TOOLS) is None


TEXT = st.text(max_size=300)
PIECES = st.lists(
    st.sampled_from(
        [*TOOLS, "{", "}", "[", "]", '"', "'", ":", ",", "(", ")", "\\", "\n", " ", "name", "arguments", "null", "call"]
    )
    | st.text(max_size=5),
    max_size=30,
).map("".join)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(TEXT | PIECES)
def test_any_text_is_read_without_an_error_and_only_as_a_tool_that_it_names(text: str) -> None:
    call = read_call(text, TOOLS)
    if call is not None:
        squeezed = "".join(mark for mark in text.lower() if mark.isalnum())
        assert call.name in TOOLS and call.name.replace("_", "") in squeezed


@settings(derandomize=True, max_examples=200, deadline=None)
@given(TEXT.filter(lambda text: not any(name.replace("_", "") in text.lower() for name in TOOLS)))
def test_prose_without_a_tools_name_is_never_a_call(text: str) -> None:
    assert read_call(text, TOOLS) is None
    assert read_call(json.dumps({"name": text, "arguments": {}}), TOOLS) is None or known_name(text, TOOLS)


VALUES = st.integers() | st.booleans() | st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126))
ARGUMENTS = st.dictionaries(st.sampled_from(["batch", "max_length", "flavor"]), VALUES)
PROSE = st.sampled_from(["", "Sure, here it is:\n", "I will do that.\n\n", "Thoughts: the batch is 4.\n"])


@settings(derandomize=True, max_examples=300, deadline=None)
@given(ARGUMENTS, PROSE, PROSE, st.sampled_from(["json", "fenced", "python", "beside", "keyed", "call", "text"]))
def test_every_value_comes_through_as_it_was_said_and_no_other(
    arguments: dict[str, Any], before: str, after: str, form: str
) -> None:
    call = read_call(before + _written(arguments, form) + "\n" + after, TOOLS)
    said = {
        k: v for k, v in arguments.items() if not (isinstance(v, str) and v.strip().lower() in ("", "null", "none"))
    }
    assert call == Call("pick_hardware", said)


def _written(arguments: dict[str, Any], form: str) -> str:
    whole = {"name": "pick_hardware", "arguments": arguments}
    match form:
        case "json":
            return json.dumps(whole)
        case "fenced":
            return f"```json\n{json.dumps(whole, indent=2)}\n```"
        case "python":
            return repr(whole)
        case "beside":
            return json.dumps({"tool": "pick_hardware", **arguments})
        case "keyed":
            return json.dumps({"pick_hardware": arguments})
        case "text":
            return json.dumps({"name": "pick_hardware", "arguments": json.dumps(arguments)})
        case _:
            return f"pick_hardware({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
