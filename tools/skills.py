"""Skills: Markdown folders that teach, for our planner and for every other agent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from .errors import ToolError


@dataclass(frozen=True, kw_only=True)
class Skill:
    """One `SKILL.md`, checked as it was read."""

    name: str
    description: str
    text: str
    """The body below the front matter."""


def load_skills() -> tuple[Skill, ...]:
    """Return the packaged skills by name.

    Raises:
        ValueError: A skill has no front matter, or lacks its name or description.
    """
    folders = sorted((f for f in files("ftagent.skills").iterdir() if f.is_dir()), key=lambda f: f.name)
    return tuple(
        _read(folder.name, (folder / "SKILL.md").read_text(encoding="utf-8"))
        for folder in folders
        if (folder / "SKILL.md").is_file()
    )


def read_skill(name: str) -> str:
    """Read one skill in full.

    Args:
        name: The skill's name, as listed.

    Raises:
        ToolError: There is no such skill; the hint lists those there are.
    """
    skills = {skill.name: skill for skill in load_skills()}
    if name not in skills:
        raise ToolError(f"there is no skill `{name}`.", hint=f"skills: {', '.join(skills)}")
    return skills[name].text


@cache
def _read(folder: str, text: str) -> Skill:
    _, front, body = text.split("---\n", 2)
    head = yaml.safe_load(front)
    if head.get("name") != folder or not head.get("description"):
        raise ValueError(f"skills/{folder}/SKILL.md: `name` must be the folder's name, and `description` must be there")
    return Skill(name=head["name"], description=head["description"], text=body.strip())
