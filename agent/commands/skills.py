"""The command that shows skills, and puts them where other agents look."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path

from .options import DONE, FAILED, Parser, say

ACTIONS = ("list", "show", "path", "install", "uninstall")
AGENTS = ("claude", "codex", "gemini", "cursor")


def skills(arguments: list[str]) -> int:
    """List the skills, show one, say where they lie, or put them where other agents look."""
    options = _options(arguments)
    match options.action:
        case "path":
            print(files("ftagent.skills"))
        case "show":
            from ...tools.skills import read_skill

            print(read_skill(options.name or ""))
        case "install" | "uninstall":
            return _install(options)
        case _:
            _list()
    return DONE


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="ftagent skills", description="What ftagent knows, for you and for other agents.")
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list")
    parser.add_argument("name", nargs="?", help="the skill, for `show`")
    parser.add_argument("--for", dest="agents", choices=(*AGENTS, "all"), default="all", help="which agent's folder")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--user", action="store_true", help="in the home folder, for all projects")
    place.add_argument("--project", action="store_true", help="in this folder (the default)")
    parser.add_argument("--force", action="store_true", help="also what was changed since it was installed")
    return parser.parse_args(arguments)


def _list() -> None:
    from ...tools.skills import known_skills

    known = known_skills()
    for _, skill in sorted(known.skills.items()):
        print(f"{skill.name}: {skill.description}" + (f" [{skill.origin}]" if skill.origin else ""))
    for why in known.refused:
        say(f"left out: {why}")


def _install(options: argparse.Namespace) -> int:
    from ..installing import FOR_ALL, install, uninstall

    base = Path.home() if options.user else Path()
    act, for_all = (install, FOR_ALL) if options.action == "install" else (uninstall, AGENTS)
    agents = for_all if options.agents == "all" else [options.agents]
    left = 0
    for done in act(base, agents, force=options.force):
        print(f"{done.path}: {done.what}")
        left += done.is_left
    sys.stdout.flush()
    return FAILED if left else DONE
