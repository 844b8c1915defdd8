"""Cards on the Hub: our part is written anew, and what a person wrote stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ftagent.tools.templates import upload
from ftagent.tools.templates.upload import laid_over, open_repository, put_card

from ...hub import LoopbackHub

OLD = "---\nlicense: unknown\ntags:\n- ftagent\n---\n\n# x\n\nno file yet\n"
NEW = "---\nlicense: unknown\ntags:\n- ftagent\n- gguf\n---\n\n# x\n\ntwo files\n"
REPO = "tester/x"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """A Hub that this process uses."""
    with LoopbackHub(tmp_path / "hub") as running, running.used_here():
        yield running


def test_a_card_that_nobody_touched_is_written_anew() -> None:
    first = laid_over(None, OLD)
    second = laid_over(first.text, NEW)
    assert second == laid_over(None, NEW)
    assert (second.kept, laid_over(second.text, NEW)) == ("", second)
    assert second.text.startswith("---\nlicense: unknown\ntags:\n- ftagent\n- gguf\n---\n")


def test_what_stands_around_our_part_stays() -> None:
    there = laid_over(None, OLD).text.replace("---\n\n<!--", "---\nMine, above.\n\n<!--") + "\n## Mine, below\n"
    text, kept = laid_over(there, NEW)
    assert "Mine, above." in text and text.endswith("\n## Mine, below\n")
    assert "two files" in text and "no file yet" not in text and "- gguf" in text
    assert kept == ""


def test_a_head_that_was_changed_stays_and_our_text_is_new() -> None:
    there = laid_over(None, OLD).text.replace("license: unknown", "license: mit")
    text, kept = laid_over(there, NEW)
    assert "license: mit" in text and "- gguf" not in text and "two files" in text
    assert kept == "the head of the card"
    assert laid_over(text, OLD).kept == "the head of the card", "it is not taken for ours the next time"


def test_a_text_of_ours_that_was_changed_stays() -> None:
    there = laid_over(None, OLD).text.replace("no file yet", "ask me for the files")
    text, kept = laid_over(there, NEW)
    assert "ask me for the files" in text and "two files" not in text and "- gguf" in text
    assert kept == "the text between ftagent's lines"
    assert laid_over(text, NEW) == (text, kept)


@pytest.mark.parametrize("there", ["# mine\n", "---\nlicense: mit\n---\nmine", f"{upload.END}\nmine"])
def test_a_card_without_our_part_stays_whole(there: str) -> None:
    assert laid_over(there, NEW) == (there, "the whole card, which has no part of ftagent's")


def test_an_editor_that_changes_line_ends_changes_nothing() -> None:
    there = laid_over(None, OLD).text.replace("\n", "\r\n")
    assert laid_over(there, NEW) == laid_over(None, NEW)


def test_an_edit_that_comes_between_reading_and_writing_is_not_lost(
    hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub.used_here(hub.tokens.write) as api:
        api.create_repo(REPO)
        put_card(api, REPO, OLD, message="Write the card")
        read, edits = upload.read_text, ["\n## Mine\n"]

        def read_and_then_somebody_writes(*asked: object) -> str | None:
            text = read(*asked)  # type: ignore[arg-type]
            if edits:
                hub.add_files("model", REPO, {"README.md": (text or "") + edits.pop()})
            return text

        monkeypatch.setattr(upload, "read_text", read_and_then_somebody_writes)
        assert put_card(api, REPO, NEW, beside={"a.txt": b"1"}, message="Add a file") == ""
    card = hub.read("model", REPO, "README.md").decode()
    assert card.endswith("## Mine\n") and "two files" in card
    assert hub.read("model", REPO, "a.txt") == b"1"


def test_a_repository_whose_card_lost_our_tag_is_still_ours(hub: LoopbackHub) -> None:
    with hub.used_here(hub.tokens.write) as api:
        api.create_repo(REPO)
        put_card(api, REPO, OLD, message="Write the card")
        untagged = hub.read("model", REPO, "README.md").decode().replace("- ftagent\n", "- mine\n")
        hub.add_files("model", REPO, {"README.md": untagged, "x.gguf": b"1"})
        assert not open_repository(api, REPO, private=True).is_new
        hub.add_files("model", REPO, {"README.md": "# mine"})
        with pytest.raises(upload.Foreign, match="not of ftagent's making"):
            open_repository(api, REPO, private=True)
