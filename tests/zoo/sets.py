"""All sets of the zoo, by name."""

from __future__ import annotations

from . import (
    sets_chats,
    sets_instructions,
    sets_odd,
    sets_preferences,
    sets_prompts,
    sets_sharegpt,
    sets_text,
    sets_tools,
)
from .zoo_set import ZooSet

FAMILIES = (
    sets_text,
    sets_chats,
    sets_tools,
    sets_sharegpt,
    sets_instructions,
    sets_preferences,
    sets_prompts,
    sets_odd,
)
ZOO: dict[str, ZooSet] = {zoo_set.name: zoo_set for family in FAMILIES for zoo_set in family.SETS}
