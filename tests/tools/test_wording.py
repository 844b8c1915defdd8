"""Foreign text never breaks a line, grows beyond its room, or steers a terminal."""

from __future__ import annotations

from ftagent.tools.wording import one_line
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(max_size=200))
def test_any_text_becomes_one_short_printable_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 40 and line.isprintable()


def test_escape_codes_are_made_visible() -> None:
    assert one_line("\x1b[31mred\x07 \n text") == "�[31mred� text"
