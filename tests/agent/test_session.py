"""What a chat's lines do, without a terminal: commands, changes, refusals in one line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from ftagent.agent.console import RunConsole
from ftagent.agent.repl import _completions
from ftagent.agent.session import Session
from ftagent.agent.slash import COMMANDS, Leave
from ftagent.tools.facts import Quote
from ftagent.tools.run import list_runs
from ftagent.tools.settings import load_settings
from prompt_toolkit.document import Document
from rich.console import Console

from ..openai_server import Reply, openai_server
from .instant import REQUEST, instant_tools

__all__ = ["instant_tools"]


class Chat:
    """A session and what it says; a person answers its quotes."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.asked: list[Quote] = []
        self.out, self.err = io.StringIO(), io.StringIO()
        self.session = Session(
            load_settings(),
            out=Console(file=self.out, width=200),
            told=RunConsole(Console(file=self.err, width=200)),
            decide=self._decide,
        )

    def _decide(self, quote: Quote) -> bool:
        self.asked.append(quote)
        return self.answers.pop(0)

    def says(self, line: str) -> tuple[int, str]:
        """Say a line; return its exit code and all that came back."""
        for stream in (self.out, self.err):
            stream.seek(0)
            stream.truncate()
        code = self.session.handle(line)
        return code, self.out.getvalue() + self.err.getvalue()


def test_a_declined_run_is_asked_about_again_and_all_under_a_cap_need_not_be(workdir: Path) -> None:
    chat = Chat(False, True)
    assert chat.says(REQUEST)[0] == 3
    assert chat.says("/approve all") == (
        2,
        "error: there is no cap that this would stay under. hint: first /budget USD\n",
    )
    assert chat.says("/approve")[0] == 0
    assert "waits for no approval" in chat.says("/approve")[1]
    assert "cap: $2.00" in chat.says("/budget $2")[1]
    assert "all that stays under $2.00" in chat.says("/approve all")[1]
    assert chat.says("same, but rank 64")[0] == 0 and len(chat.asked) == 2
    assert list_runs(workdir)[0].settings.max_cost_usd == 2.0
    assert "each quote is asked about" in chat.says("/approve ask")[1]
    chat.answers.append(False)
    assert chat.says("again")[0] == 3 and len(chat.asked) == 3


def test_what_a_run_would_cost_is_planned_and_not_looked_up(workdir: Path) -> None:
    chat = Chat()
    code, said = chat.says(f"what would it cost to {REQUEST}?")
    assert code == 0 and "nothing was submitted" in said and chat.asked == []
    assert "$0.00" in chat.says("how much did it cost?")[1]


def test_a_stated_value_is_taken_back_and_a_chain_of_changes_adds_up(workdir: Path) -> None:
    chat = Chat(*[True] * 9)
    chat.says(f"{REQUEST}, rank 8")
    chat.says("same, but learning rate 1e-4")
    chat.says("same, but rank 64")
    assert chat.says("/undo-override")[1] == "learning_rate 0.0001, r 64\n"
    assert "`seed` was not stated" in chat.says("/undo-override seed")[1]
    chat.says("/undo-override rank")
    given = [run.spec.overrides.given() for run in list_runs(workdir) if run.spec]
    assert sorted(map(str, given)) == sorted(
        map(str, [{"r": 8}, {"learning_rate": 1e-4, "r": 8}, {"learning_rate": 1e-4, "r": 64}, {"learning_rate": 1e-4}])
    )


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("/nope", 2, "there is no command `/nope`"),
        ("/show 'half", 2, "close the quotation mark"),
        ("/budget lots", 2, "is no amount"),
        ("/budget -1", 2, "below 0"),
        ("/resume", 2, "there is no run"),
        ("same, but rank 64", 2, "there is no run"),
        ("what did it cost?", 2, "no run to ask about"),
        ("sing", 2, "no instruction to train"),
        ("fine-tune Tiny-1M", 2, "names no dataset"),
        ("/llm no/such-model", 2, "hint: "),
        ("/skills nope", 1, "there is no skill"),
        ("", 0, ""),
        ("/llm", 0, "planner: builtin"),
        ("/skills", 0, "fine-tuning: "),
        ("/help", 0, "/undo-override"),
        ("/runs", 0, "no runs yet"),
    ],
)
def test_a_line_says_in_one_line_what_is_wrong(workdir: Path, line: str, code: int, says: str) -> None:
    got, said = Chat().says(line)
    assert got == code and says in said
    assert [line.startswith("error: ") for line in said.splitlines()].count(True) == (code != 0)


def test_a_question_goes_to_the_llm_and_back_to_the_journal_when_that_fails(workdir: Path) -> None:
    chat = Chat(True)
    chat.says(REQUEST)
    with openai_server(lambda _: Reply(content="By the LLM.")) as server:
        assert "planner: openai/scripted" in chat.says(f"/llm openai/scripted {server.url}")[1]
        assert "By the LLM." in chat.says("would a rainbow help?")[1]
    with openai_server(lambda _: Reply(status=401, content="no")) as server:
        chat.says(f"/llm openai/scripted {server.url}")
        code, said = chat.says("what did it cost?")
        assert code == 0 and "The journal itself says:" in said and "has cost $0.00" in said
    chat.says("/llm builtin")
    assert "needs an LLM" in chat.says("why is the sky blue?")[1]


def test_an_llm_is_told_what_was_said_before_and_no_more_than_three_times(workdir: Path) -> None:
    chat = Chat(True)
    chat.says(REQUEST)
    with openai_server(lambda body: Reply(content=f"Answer {len(body['messages'])}.")) as server:
        chat.says(f"/llm openai/scripted {server.url}")
        for number in range(5):
            chat.says(f"what is the number {number}?")
    talks = [[str(message["content"]) for message in body["messages"]] for body in server.requests]
    assert [len(talk) for talk in talks] == [2, 4, 6, 8, 8]
    assert "Answer 2." in talks[1][2] and "number 0" in talks[1][1] and "<data>" not in talks[1][1]
    assert "number 1" in talks[4][1]


def test_looking_at_runs(workdir: Path) -> None:
    chat = Chat(True)
    chat.says(REQUEST)
    (run,) = list_runs(workdir)
    assert f"* {run.id}  completed" in chat.says("/runs")[1]
    assert "completed" in chat.says(f"/show {run.id[-8:]}")[1]
    assert "### Evaluation" in chat.says("/report")[1]
    assert "has cost" in chat.says("/cost")[1]
    assert "no job is running" in chat.says("/cancel")[1]
    with pytest.raises(Leave):
        chat.says("/quit")


def test_completions_are_commands_runs_and_paths(workdir: Path) -> None:
    chat = Chat(True)
    chat.says(REQUEST)
    (run,) = list_runs(workdir)
    (workdir / "data").mkdir()
    (workdir / "data" / "rows.jsonl").touch()

    def completed(text: str) -> list[str]:
        return [completion.text for completion in _completions(chat.session, Document(text))]

    assert completed("/re") == ["/report", "/resume"] and set(completed("/")) == {f"/{name}" for name in COMMANDS}
    assert completed("/show ") == [run.id] and completed("/show 9999") == []
    assert completed("train X on ./da") == ["./data/"] and completed("train X on ./data/r") == ["./data/rows.jsonl"]
    assert completed("train") == [] and completed("/no/such/pla") == []
