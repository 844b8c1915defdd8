"""The recorder's screen shows what a terminal shows, and refuses to guess."""

from __future__ import annotations

import pytest

from .screen import Screen


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("one\r\ntwo\r\n", "one\ntwo"),
        ("\x1b[31mred\x1b[0m\x1b[?25l", "red"),
        ("working …\r\x1b[2Kdone\r\n", "done"),
        ("first\r\nsecond\r\n\x1b[2A\x1b[Jnew", "new"),
        ("abc\x1b[2DX\x1b[K", "aX"),
        ("0123456789abc\r\n", "0123456789\nabc"),
        ("0123456789\r\nnext", "0123456789\nnext"),  # a full line wraps with the next sign only
        ("kept \x1b]0;title\x07here", "kept here"),
    ],
)
def test_orders_of_a_terminal_are_obeyed(written: str, shown: str) -> None:
    whole, in_pieces = Screen(10), Screen(10)
    whole.feed(written)
    for sign in written:
        in_pieces.feed(sign)
    assert whole.text == in_pieces.text == shown


@pytest.mark.parametrize("written", ["\x1b[5n", "\x0b", "\x1b[3J"])
def test_an_unknown_order_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="known here"):
        Screen(10).feed(written)
