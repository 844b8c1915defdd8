"""What Arrow batches add up to: rows, nulls, blanks, roles, characters, and a hash for each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import InputError
from ...wording import one_line
from ..reading.formats import refuse_wide, shown
from .leaves import Leaf, by_row, leaves
from .repeats import Hashes

FIRST_BYTES = 20 * 2**20
"""A field of JSON rows that first appears behind so many bytes is unknown to `datasets`, which takes the fields and
their types from the first 10 MiB of text (`JsonConfig.chunksize` in datasets 5.2) and stops at all others."""
MAX_ROLES = 50
OTHER_ROLES = "(other roles)"
ROLE_KEYS = ("role", "from")


@dataclass(kw_only=True)
class Counts:
    """What the batches so far add up to."""

    hashes: Hashes
    columns: Sequence[str] | None
    unify: bool
    """Whether all batches must fit one schema; those of JSON each have what their own lines happen to hold."""
    rows: int = 0
    characters: int = 0
    longest: tuple[int, int | None] = (0, None)
    """Characters and number of the longest row."""
    nulls: Counter[str] = field(default_factory=Counter)
    empties: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    """Column to the rows of the batches that have it."""
    kinds: dict[str, set[str]] = field(default_factory=dict)
    """Of JSON: path to what stands there, in words; the items of lists are not looked at."""
    late: dict[str, int] = field(default_factory=dict)
    """Of JSON: path that first appears behind `FIRST_BYTES` to the number of the first row of its batch."""
    bytes: int = 0
    schema: Any = None

    def add(self, batch: Any, file: str) -> None:
        """Count one batch."""
        import numpy as np
        import pyarrow as pa

        if self.unify:
            self._fit(batch.schema, file)
        characters = np.zeros(batch.num_rows, np.int64)
        hashes = np.zeros((batch.num_rows, 2), np.uint64)
        bounds = np.arange(batch.num_rows + 1)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self.present[name] += batch.num_rows
            if pa.types.is_struct(column.type):
                self.nulls[name] += column.null_count
            hashed = self.columns is None or name in self.columns
            for leaf in leaves(column, name, bounds):
                self._count(leaf)
                if leaf.is_text:
                    characters += by_row(leaf.lengths(), leaf.bounds)
                if hashed:
                    hashes += leaf.hashes()
        self.bytes += batch.nbytes
        self._measure(characters)
        self.hashes.add(hashes, self.rows)
        self.rows += batch.num_rows

    def require(self, columns: Sequence[str] | None) -> None:
        """Refuse columns that no row has."""
        if absent := [name for name in columns or () if self.rows and name not in self.present]:
            raise InputError(
                f"no file has a column `{one_line(absent[0])}`.",
                hint=f"the columns are {one_line(', '.join(self.present), 200)}",
            )

    def all_nulls(self) -> Counter[str]:
        """Return the nulls of each path; a column that a file lacks is null in all of its rows."""
        return +(self.nulls + Counter({name: self.rows - rows for name, rows in self.present.items()}))

    def mixed(self) -> dict[str, tuple[str, ...]]:
        """Return the paths at which now this, now that stands, and what it is."""
        below = {path.rpartition(".")[0] for path in self.kinds}
        every = {
            path: kinds | ({"objects"} if path in below and "lists" not in kinds else set())
            for path, kinds in self.kinds.items()
        }
        return {path: tuple(sorted(kinds)) for path, kinds in every.items() if len(kinds) > 1}

    def _fit(self, schema: Any, file: str) -> None:
        """Refuse a batch whose columns have types that Arrow cannot unify with those of the batches before."""
        import pyarrow as pa

        if self.schema is None or schema.equals(self.schema):
            self.schema = schema
            return
        known = {column.name: column for column in self.schema}
        for column in map(_without_dictionary, schema):
            before = _without_dictionary(known.setdefault(column.name, column))
            try:
                pa.unify_schemas([pa.schema([before]), pa.schema([column])], promote_options="permissive")
            except pa.ArrowException as error:
                kinds = f"{one_line(str(column.type))}, and {one_line(str(before.type))} in the rows before"
                raise InputError(
                    f"column `{one_line(column.name)}` of `{shown(file)}` holds {kinds}.",
                    hint="write all files of a dataset with one schema",
                ) from error
        self.schema = pa.schema(list(known.values()))

    def _count(self, leaf: Leaf) -> None:
        self.nulls[leaf.path] += leaf.values.null_count
        self.empties[leaf.path] += leaf.empties()
        refuse_wide(self.nulls)
        if not (self.unify or leaf.is_item) and leaf.values.null_count < len(leaf.values):
            if leaf.path not in self.kinds and self.bytes >= FIRST_BYTES:
                self.late[leaf.path] = self.rows
            self.kinds.setdefault(leaf.path, set()).add(leaf.kind)
        if leaf.is_text and leaf.is_turn and leaf.path.endswith(tuple(f".{key}" for key in ROLE_KEYS)):
            for item in leaf.values.drop_null().value_counts():
                role = one_line(item["values"].as_py())
                is_known = role in self.roles or len(self.roles) < MAX_ROLES
                self.roles[role if is_known else OTHER_ROLES] += item["counts"].as_py()

    def _measure(self, characters: Any) -> None:
        if len(characters) and (characters.max() > self.longest[0] or self.longest[1] is None):
            self.longest = int(characters.max()), self.rows + int(characters.argmax())
        self.characters += int(characters.sum())


def _without_dictionary(column: Any) -> Any:
    """Return a field whose values are written out: a category in one shard is a string in another."""
    import pyarrow as pa

    return column.with_type(column.type.value_type) if pa.types.is_dictionary(column.type) else column
