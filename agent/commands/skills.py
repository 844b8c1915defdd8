"""The command that shows skills."""

from __future__ import annotations

from .options import DONE, Parser


def skills(arguments: list[str]) -> int:
    """List the skills, show one, or say where they lie."""
    from importlib.resources import files

    from ...tools.skills import load_skills, read_skill

    parser = Parser(prog="ftagent skills", description="What ftagent knows, for you and for other agents.")
    parser.add_argument("action", nargs="?", choices=("list", "show", "path"), default="list")
    parser.add_argument("name", nargs="?", help="the skill, for `show`")
    options = parser.parse_args(arguments)
    if options.action == "path":
        print(files("ftagent.skills"))
    elif options.action == "show":
        print(read_skill(options.name or ""))
    else:
        for skill in load_skills():
            print(f"{skill.name}: {skill.description}")
    return DONE
