"""What a set of the zoo is: rows as they lie in the file, and what each method should make of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .content import Row

Method = Literal["sft", "dpo", "kto", "grpo", "reward"]
Verdict = Literal["ready", "mapped", "refused"]
METHODS: tuple[Method, ...] = ("sft", "dpo", "kto", "grpo", "reward")


@dataclass(frozen=True, kw_only=True)
class ZooSet:
    """A small dataset in the shape of a public one, with its expected verdicts.

    `ready`: TRL takes the file as it is, with all of its columns and rows, and trains what it should.
    `mapped`: it does once each row was mapped, broken rows were left out, or columns were hidden from it.
    `refused`: a piece that the method needs is not there.
    """

    name: str
    like: str
    """The public set whose column names these are, or what the set is there for."""
    rows: list[Row]
    sft: Verdict = "refused"
    dpo: Verdict = "refused"
    kto: Verdict = "refused"
    grpo: Verdict = "refused"
    reward: Verdict = "refused"
    teaches: str = ""
    """What SFT has to put loss on in the first row that is trained on."""
    nonsense: dict[Method, str] = field(default_factory=dict)
    """Why it is no training where TRL takes the rows as they are all the same; never said of what is `ready`."""

    def expected(self, method: Method) -> Verdict:
        """Return the verdict that is right for a method."""
        return getattr(self, method)

    @property
    def lines(self) -> str:
        """The rows as JSON Lines."""
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)

    @property
    def fingerprint(self) -> str:
        """A hash of the rows and of what they teach: what was measured on others says nothing about these."""
        return hashlib.sha256((self.lines + self.teaches).encode()).hexdigest()[:16]

    def write(self, folder: Path) -> Path:
        """Write the rows into a file of the set's name, and return it."""
        file = folder / f"{self.name}.jsonl"
        file.write_text(self.lines, encoding="utf-8")
        return file
