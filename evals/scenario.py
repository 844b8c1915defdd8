"""What a scenario is: words, a world, and what must hold when they are done. Read from `scenarios/*.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from itertools import groupby
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..tools.data.reading.sample import spread

Ending = Literal[
    "dry_run", "completed", "failed", "cancelled", "timed_out", "stops", "needs_approval", "over_budget", "crashed"
]
"""How an act ended: as the run's journal says, or by what was raised. `stops`: it said why it cannot go on, which is
the right answer to a question that only a person can settle. `crashed`: an error that is none of ftagent's."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileContent(_Data):
    """What one file has in it: rows of a known kind, or text with a part that is repeated."""

    rows_of: str | None = None
    """A method, `chats`, or one of the traps in `contents.py`."""
    count: int = 40
    text: str | None = None
    each: str | None = None
    """Behind the text once a row, with `{n}` and `{twice}`."""
    configs: tuple[str, ...] = ()
    """Subsets that a dataset card names, one folder each."""


class HubModel(_Data):
    """A model on the Hub: two small layers, or the config of a real one."""

    config: str | None = None
    """A folder in `tests/configs`; there are no weights of it."""
    gated: Literal[False, "auto", "manual"] = False


class HubWorld(_Data):
    """What the Hub on this machine has, and what its user may do."""

    models: dict[str, HubModel] = {}
    datasets: dict[str, dict[str, Any]] = {}
    """Path to content; `private: true` among them makes the set private."""
    token: Literal["write", "read", "jobs", "no_jobs"] = "jobs"


class World(_Data):
    """Everything outside of the planner."""

    models: tuple[str, ...] = ("Qwen3-0.6B", "SmolLM2-135M-Instruct")
    """Folders with a small whole model, below the current one."""
    sketches: tuple[str, ...] = ()
    """Folders with a config and no weights."""
    files: dict[str, FileContent] = {}
    """Beside `chats.jsonl`, which is always there."""
    hub: HubWorld | None = None
    """None: the Hub cannot be reached."""
    preflight: str = ""
    """`check: what it found`; empty for a green one."""
    jobs: tuple[str, ...] = ()
    """What each job does, in order; those after them train: see `understudy.py`."""
    effect: Literal["better", "worse", "same"] = "better"
    """What training does to the losses of held-out rows."""


class Act(_Data):
    """Something that a person does: an instruction, going on with the last run, or editing a file."""

    run: str | None = None
    resume: bool = False
    edit: str | None = None
    """A file of the last run, or of the working folder, to which a line is added."""
    dry_run: bool = False
    approve: bool | None = None
    """True: `--yes`; false: a person who declines; None: nobody is there."""
    max_cost: float | None = None
    backend: Literal["local", "hf-jobs"] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Act:
        if (self.run is not None) + self.resume + (self.edit is not None) != 1:
            raise ValueError("an act is one of run, resume and edit")
        return self


class Scenario(_Data):
    """One situation, and how it should end."""

    name: str
    category: str
    kind: Literal["mechanical", "judgement"] = "mechanical"
    """`mechanical`: a planner without an LLM must do it."""
    acts: tuple[Act, ...]
    world: World = World()
    ends: tuple[Ending, ...]
    """Any of these."""
    says: tuple[str, ...] = ()
    """Patterns in what the person is told at the end, whatever the case."""
    spec: dict[str, Any] = {}
    """Fields of the plan; `overrides` has those alone that are listed."""
    holds: dict[str, Any] = {}
    """Dotted paths in the run to values, or to one of `at_most`, `at_least`, `contains` and `length`."""
    report: tuple[str, ...] = ()
    """Patterns in the report."""
    money: dict[Literal["at_most_usd"], float] = {}
    never: tuple[str, ...] = ()
    """Kinds of journal entries that must not be there."""
    hidden: tuple[str, ...] = ()
    """Texts that no file of the run may hold."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: dict[str, Any]) -> dict[str, Any]:
        """`say: TEXT` is one dry run, and one ending needs no list."""
        data = dict(data)
        if "say" in data:
            said = data.pop("say")
            data.setdefault("acts", [{"run": said, "dry_run": True}])
        if isinstance(data.get("ends"), str):
            data["ends"] = [data["ends"]]
        return data

    @property
    def id(self) -> str:
        """Category and name, which is one of its kind."""
        return f"{self.category}/{self.name}"


class Suite(_Data):
    """All scenarios that were asked for."""

    scenarios: tuple[Scenario, ...] = Field(min_length=1)


def load_scenarios(*, only: str = "", kind: str | None = None, each: int | None = None) -> tuple[Scenario, ...]:
    """Return the scenarios whose id has one of the texts in `only` in it, in the order of their files.

    Args:
        only: Texts, parted by commas; empty for all scenarios.
        kind: `mechanical` or `judgement`.
        each: How many of each category, evenly spread over its file; None for all.

    Raises:
        ValueError: A scenario is not as it should be, two have one name, or none is left.
    """
    texts = only.split(",")
    found = [s for s in _all() if any(text in s.id for text in texts) and kind in (None, s.kind)]
    ids = [scenario.id for scenario in found]
    if twice := {id for id in ids if ids.count(id) > 1}:
        raise ValueError(f"two scenarios are called {', '.join(sorted(twice))}")
    if each is not None:
        categories = [list(of) for _, of in groupby(found, key=lambda s: s.category)]
        found = [of[place] for of in categories for place in spread(len(of), each)]
    return Suite(scenarios=tuple(found)).scenarios


def _all() -> Iterator[Scenario]:
    folder = files("ftagent.evals") / "scenarios"
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name):
        for data in yaml.safe_load(file.read_text(encoding="utf-8")):
            yield Scenario.model_validate({**data, "category": file.name.removesuffix(".yaml")})
