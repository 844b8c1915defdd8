"""Skills: Markdown folders that teach, for our planner and for every other agent (https://agentskills.io).

Those of the package come first. A person's own, in the config folder and in `./skills`, join them, and one of the same
name takes the place of ours. A skill speaks; what may be done, the gates decide all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from .errors import ToolError
from .settings import config_folder

FILE = "SKILL.md"
# https://agentskills.io/specification
FIELDS = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
LONGEST = {"name": 64, "description": 1024, "compatibility": 500}
LARGEST_BYTES = 2**18
"""Of a person's SKILL.md; the specification recommends 500 lines."""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """One `SKILL.md`, checked as it was read."""

    name: str
    description: str
    text: str
    """The body below the front matter."""
    home: str = ""
    """The folder that it lies in; empty for the package's own."""
    replaces: bool = False
    """Whether it stands in the place of one of the package's."""

    @property
    def origin(self) -> str:
        """Where it comes from, in words; empty for the package's own."""
        if not self.home:
            return ""
        return f"{self.name} from {self.home}" + (", in place of ftagent's" if self.replaces else "")


@dataclass(kw_only=True)
class Known:
    """All skills by name, and what is wrong with those of a person that cannot be used."""

    skills: dict[str, Skill] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def load_skills() -> tuple[Skill, ...]:
    """Return all skills by name, a person's own in place of ours; those that cannot be used are left out.

    Raises:
        ValueError: One of the package's own is broken.
    """
    return tuple(skill for _, skill in sorted(known_skills().skills.items()))


def known_skills() -> Known:
    """Return what `load_skills` does, and the reasons for what it left out."""
    known = Known()
    for folder in _folders(files("ftagent.skills")):
        known.skills[folder.name] = read_skill_file(folder.name, _text(folder), "")
    for place in (config_folder() / "skills", Path("skills")):
        try:
            _join(place, known)
        except OSError as error:
            known.refused.append(f"{place}: it cannot be read: {error.strerror}")
    return known


def _join(place: Path, known: Known) -> None:
    """Add a person's skills; whatever else lies in a folder of that name is left out, and said."""
    for folder in _folders(place):
        try:
            known.skills[folder.name] = _of_a_person(folder.name, _text(folder), place, known.skills)
        except ValueError as error:
            known.refused.append(f"{place}/{error}")


def own_skills() -> str:
    """Say in one line which skills are a person's own and where each comes from; empty where there is none."""
    origins = [skill.origin for skill in load_skills() if skill.origin]
    return f"Skills of your own: {'; '.join(origins)}." if origins else ""


def _of_a_person(folder: str, text: str, place: Path, known: dict[str, Skill]) -> Skill:
    """Return a person's skill; a copy of ours, as in a checkout of this very package, stays ours."""
    ours = known.get(folder)
    skill = read_skill_file(folder, text, str(place.resolve() / folder))
    if ours is None:
        return skill
    same = (ours.description, ours.text) == (skill.description, skill.text)
    return ours if same else replace(skill, replaces=not ours.home or ours.replaces)


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
    skill = skills[name]
    return f"({skill.origin})\n\n{skill.text}" if skill.origin else skill.text


def _folders(place: Traversable) -> Iterator[Traversable]:
    """Yield every folder that holds a skill, by name."""
    if place.is_dir():
        yield from (f for f in sorted(place.iterdir(), key=lambda f: f.name) if (f / FILE).is_file())


def _text(folder: Traversable) -> str:
    try:
        with (folder / FILE).open("rb") as file:
            text = file.read(LARGEST_BYTES + 1)
        if len(text) > LARGEST_BYTES:
            raise ValueError(f"{folder.name}/{FILE}: it has more than {LARGEST_BYTES} bytes")
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{folder.name}/{FILE}: it is not UTF-8") from None
    except OSError as error:
        raise ValueError(f"{folder.name}/{FILE}: it cannot be read: {error.strerror}") from error


@cache
def read_skill_file(folder: str, text: str, home: str) -> Skill:
    """Return the skill of a folder's `SKILL.md`.

    Raises:
        ValueError: It breaks a rule of the specification; the message names the rule.
    """
    parts = re.split(r"^---[ \t]*\r?\n", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0]:
        raise ValueError(f"{folder}/{FILE}: it begins with no front matter between two lines of `---`")
    try:
        head = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise ValueError(f"{folder}/{FILE}: its front matter is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(head, dict):
        raise ValueError(f"{folder}/{FILE}: its front matter names no fields")
    if wrong := next(_broken_rules(folder, head), None):
        raise ValueError(f"{folder}/{FILE}: {wrong}")
    return Skill(name=head["name"], description=head["description"].strip(), text=parts[2].strip(), home=home)


def _broken_rules(folder: str, head: dict[str, Any]) -> Iterator[str]:
    """Yield what the specification does not allow."""
    for name in ("name", "description"):
        if not isinstance(head.get(name), str) or not head[name].strip():
            yield f"`{name}` must be there, as text"
    for name, most in LONGEST.items():
        if len(str(head.get(name, ""))) > most:
            yield f"`{name}` has more than {most} characters"
    if not NAME.fullmatch(str(head.get("name"))):
        yield "`name` is made of small letters, digits and single hyphens"
    if head.get("name") != folder:
        yield "`name` must be the folder's name"
    if unknown := [name for name in head if name not in FIELDS]:
        yield f"`{unknown[0]}` is no field of a skill"
