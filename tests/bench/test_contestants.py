"""The bench itself: what it compares must stay comparable as templates and data change."""

from __future__ import annotations

import pytest
from ftagent.tools.rendering import template_of

from .chats import short_chats
from .contestants import OTHER_PRECISION, SPINNING, SWITCHES

PRECISIONS = [(chosen, other) for chosen, (_, other) in OTHER_PRECISION.items()]


@pytest.mark.parametrize("switch", [*SWITCHES.values(), SPINNING])
def test_every_choice_that_the_bench_switches_off_is_one_of_the_script(switch: tuple[str, str]) -> None:
    old, new = switch
    assert template_of("sft").count(old) == 1
    assert new not in template_of("sft")


@pytest.mark.parametrize(("chosen", "other"), PRECISIONS)
def test_the_script_says_its_precision_where_the_bench_changes_it(chosen: str, other: str) -> None:
    name = chosen.partition(" ")[0]
    assert template_of("sft").count(f"\n{name} = ") == 1
    assert other.startswith(f"{name} = ")


def test_the_same_rows_are_drawn_every_time_and_none_is_held_out_and_trained_on() -> None:
    chats = short_chats(40, 20)
    assert chats == short_chats(40, 20)
    assert not [row for row in chats.heldout if row in chats.train]
