"""Skills are valid for every agent, stand alone, and name only commands and options that there are."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from ftagent.agent import cli
from ftagent.agent.commands.options import Parser
from ftagent.agent.installing import FOR_ALL, installed_texts
from ftagent.agent.signatures import TOOL_NAMES
from ftagent.tools.errors import ToolError
from ftagent.tools.skills import known_skills, load_skills, own_skills, read_skill, read_skill_file

SKILLS = Path(__file__).parents[2] / "skills"
NAMES = sorted(path.parent.name for path in SKILLS.glob("*/SKILL.md"))


def _commands(text: str) -> list[str]:
    """Return every `ftagent …` of a text: in code spans, and the lines of code blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [*(line for line in lines if line.startswith("ftagent ")), *re.findall(r"`(ftagent [^`]+)`", prose)]


class Parsed(Exception):
    """The options were understood; nothing is to be done."""


@pytest.fixture
def only_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line end where its options were parsed."""

    def parse(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        argparse.ArgumentParser.parse_args(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(Parser, "parse_args", parse)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_a_skill_mentions_is_one_with_these_options(
    name: str, only_parse: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del only_parse
    found = _commands((SKILLS / name / "SKILL.md").read_text(encoding="utf-8"))
    assert any(command.startswith("ftagent tool ") for command in found), "a skill refers to the tools"
    for command in found:
        words = shlex.split(re.split(r" \| | > | && ", command)[0], comments=True)[1:]
        assert words[0] in cli.COMMANDS or " " in words[0] or words[0].isupper(), command
        if words[:1] == ["tool"] and len(words) > 1:
            assert words[1] in TOOL_NAMES or words[1] == "NAME", command
            if words[1] == "NAME":
                continue
        try:
            code = cli.main(words)
        except Parsed:
            continue
        pytest.fail(f"`{command}` ends with {code}: {capsys.readouterr().err}")


@pytest.mark.parametrize("name", NAMES)
def test_a_skill_stands_alone(name: str) -> None:
    text = (SKILLS / name / "SKILL.md").read_text(encoding="utf-8")
    read_skill_file(name, text, "")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert target.startswith(("https://", "#")) or (SKILLS / name / target).resolve().is_relative_to(SKILLS / name)
    assert len(text.splitlines()) <= 500  # what the specification recommends


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no front matter", "begins with no front matter"),
        ("---\nname: x\n", "begins with no front matter"),
        ("---\n- a\n---\n", "names no fields"),
        ("---\nname: [\n---\n", "not YAML"),
        ("---\nname: x\n---\n", "`description` must be there"),
        ("---\nname: other\ndescription: d\n---\n", "the folder's name"),
        ("---\nname: X_1\ndescription: d\n---\n", "small letters"),
        (f"---\nname: x\ndescription: {'d' * 1025}\n---\n", "more than 1024"),
        ("---\nname: x\ndescription: d\nowner: me\n---\n", "`owner` is no field"),
    ],
)
def test_a_skill_that_breaks_a_rule_is_refused_with_the_rule(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_skill_file("x", text, "")


def _write(folder: Path, text: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_bytes(text)


def test_a_persons_skills_join_and_override_and_broken_ones_are_left_out(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workdir / "config"))
    _write(workdir / "config" / "ftagent" / "skills" / "jobs", b"---\nname: jobs\ndescription: mine\n---\nIn our lab.")
    _write(workdir / "skills" / "our-data", b"---\nname: our-data\ndescription: where it lies\n---\nOn /data.")
    _write(workdir / "skills" / "latin", b"---\nname: latin\ndescription: \xe4\n---\n")
    assert {skill.name for skill in load_skills()} == {*NAMES, "our-data"}
    places = {name: workdir / "config" / "ftagent" / "skills" / name for name in ("jobs",)}
    places["our-data"] = workdir / "skills" / "our-data"
    assert read_skill("jobs") == f"(jobs from {places['jobs']}, in place of ftagent's)\n\nIn our lab."
    assert read_skill("our-data") == f"(our-data from {places['our-data']})\n\nOn /data."
    assert own_skills() == (
        f"Skills of your own: jobs from {places['jobs']}, in place of ftagent's; our-data from {places['our-data']}."
    )
    with pytest.raises(ToolError, match="there is no skill `latin`"):
        read_skill("latin")
    assert known_skills().refused == ["skills/latin/SKILL.md: it is not UTF-8"]
    assert cli.main(["skills"]) == 0
    out, err = capsys.readouterr()
    assert f"our-data: where it lies [our-data from {places['our-data']}]" in out
    assert "left out: skills/latin" in err


def test_a_folder_of_that_name_that_holds_no_skills_changes_nothing(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workdir / "config"))
    theirs = workdir / "skills"
    (theirs / "guitar").mkdir(parents=True)
    (theirs / "guitar" / "README.md").write_text("# Guitar", encoding="utf-8")
    (theirs / "notes.txt").write_text("piano", encoding="utf-8")
    _write(theirs / "large", b"---\nname: large\ndescription: d\n---\n" + b"x" * 2**18)
    (theirs / "folder" / "SKILL.md").mkdir(parents=True)
    (theirs / "dangling").mkdir()
    (theirs / "dangling" / "SKILL.md").symlink_to(workdir / "nowhere")
    assert {skill.name for skill in load_skills()} == {*NAMES} and own_skills() == ""
    assert known_skills().refused == ["skills/large/SKILL.md: it has more than 262144 bytes"]
    (workdir / "config" / "ftagent").mkdir(parents=True)
    (workdir / "config" / "ftagent" / "skills").write_text("a file", encoding="utf-8")
    assert {skill.name for skill in load_skills()} == {*NAMES}


# --- installed --------------------------------------------------------------------------------------------------------


def _lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())


def test_skills_are_installed_once_and_what_a_person_changed_is_left(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["skills", "install"]) == 0
    done = _lines(capsys)
    assert len(done) == len(FOR_ALL) * len(NAMES) and set(done.values()) == {"installed"}
    assert {Path(folder).parent for folder in done} == {Path(".claude/skills"), Path(".agents/skills")}
    for folder in done:
        path = workdir / folder
        read_skill_file(path.name, (path / "SKILL.md").read_text(encoding="utf-8"), "")
    assert cli.main(["skills", "install", "--for", "codex"]) == 0
    assert set(_lines(capsys).values()) == {"up to date"}

    jobs = workdir / ".claude" / "skills" / "ftagent-jobs"
    (jobs / "SKILL.md").write_text("mine", encoding="utf-8")
    older = workdir / ".agents" / "skills" / "ftagent-jobs"
    (older / "SKILL.md").write_text("of an earlier version", encoding="utf-8")
    (older / ".ftagent").write_text(
        "0b6bd6ff4d8f2dd6ab69e1a9ee9c0d4b8ba1a2f5f2c8d9df4a3d1b8a4f3f1e55", encoding="utf-8"
    )
    assert cli.main(["skills", "install"]) == 1
    assert {path: what.split(":")[0] for path, what in _lines(capsys).items() if what != "up to date"} == {
        ".claude/skills/ftagent-jobs": "left",
        ".agents/skills/ftagent-jobs": "left",
    }
    assert (jobs / "SKILL.md").read_text(encoding="utf-8") == "mine"
    assert cli.main(["skills", "install", "--for", "codex", "--force"]) == 0
    assert _lines(capsys)[".agents/skills/ftagent-jobs"] == "updated"
    assert cli.main(["skills", "install", "--for", "cursor"]) == 0
    assert set(_lines(capsys).values()) == {"installed"}  # alone, an agent gets its own folder; removed with the rest
    assert cli.main(["skills", "uninstall"]) == 1
    assert list(workdir.glob(".*/skills/*")) == [jobs]
    assert cli.main(["skills", "uninstall", "--force"]) == 0
    assert not list(workdir.glob(".*/skills/*"))


def test_an_older_version_of_ours_is_updated_and_a_link_is_never_written_through(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ftagent.agent import installing

    now = installed_texts()
    monkeypatch.setattr(installing, "installed_texts", lambda: [(name, text + "\nolder\n") for name, text in now])
    assert cli.main(["skills", "install", "--for", "gemini"]) == 0
    monkeypatch.setattr(installing, "installed_texts", lambda: now)
    capsys.readouterr()
    assert cli.main(["skills", "install", "--for", "gemini"]) == 0
    assert set(_lines(capsys).values()) == {"updated"}

    theirs = workdir / "theirs"
    _write(theirs, b"theirs")
    link = workdir / ".agents" / "skills" / "ftagent-jobs"
    link.parent.mkdir(parents=True)
    link.symlink_to(theirs)
    assert cli.main(["skills", "install", "--for", "codex"]) == 1
    assert cli.main(["skills", "install", "--for", "codex", "--force"]) == 0
    assert (theirs / "SKILL.md").read_bytes() == b"theirs" and not link.is_symlink()
