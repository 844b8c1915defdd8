"""Columns taken apart into leaves: flat strings, numbers and lengths, which are measured and hashed row by row.

Nothing is turned into Python objects: strings are judged by Arrow's kernels, and a row is hashed from the slices that
it has in Arrow's buffers. A leaf's hash is seeded with its path and is zero where it holds nothing: the sum over a
row's leaves depends on no order of columns, and a column that one file lacks equals one that holds nulls.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..reading.formats import compute

NULL_BITS = 0x7FF8_DEAD_BEEF_0001
"""A NaN that no computation makes stands for null among hashed numbers."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """Strings, numbers or lengths of lists, flat, and which of them belong to which row."""

    path: str
    values: Any
    """An Arrow array: large_binary or large_string, double or int64; or lists, whose lengths are meant."""
    bounds: Any
    """Row n has the values from `bounds[n]` up to `bounds[n + 1]`."""
    is_turn: bool
    """Whether it is a field of the items of a list."""
    is_item: bool
    """Whether it is the items of a list themselves, which go by the list's path."""

    @property
    def is_text(self) -> bool:
        import pyarrow as pa

        return pa.types.is_large_string(self.values.type)

    @property
    def kind(self) -> str:
        """What it holds, in words."""
        import pyarrow as pa

        return "text" if self.is_text else "lists" if pa.types.is_large_list(self.values.type) else "numbers"

    def lengths(self) -> Any:
        """Return the characters of each string."""
        pc = compute()
        return pc.fill_null(pc.utf8_length(self.values), 0).to_numpy(zero_copy_only=False)

    def empties(self) -> int:
        """Return the number of blank strings, or of empty lists."""
        import pyarrow as pa

        pc = compute()

        if self.is_text:
            blank = pc.sum(pc.utf8_is_space(self.values)).as_py() or 0
            return blank + (pc.sum(pc.equal(pc.binary_length(self.values), 0)).as_py() or 0)
        if pa.types.is_large_list(self.values.type):
            return pc.sum(pc.equal(pc.list_value_length(self.values), 0)).as_py() or 0
        return 0

    def hashes(self) -> Any:
        """Return two 64-bit numbers a row; zeros where nothing in the row but nulls, or nothing at all, stands here."""
        import numpy as np

        pc = compute()
        import xxhash

        digest, seed = xxhash.xxh3_128_digest, xxhash.xxh3_64_intdigest(self.path.encode())
        numbers, places = self._numbers().tobytes(), itertools.pairwise((8 * self.bounds).tolist())
        if self._has_bytes:
            content, offsets = self._content()
            spans = itertools.pairwise(offsets[self.bounds].tolist())
            rows = (
                digest(b"".join((numbers[a:b], content[c:d])), seed)
                for (a, b), (c, d) in zip(places, spans, strict=True)
            )
        else:
            rows = (digest(numbers[a:b], seed) for a, b in places)
        found = np.frombuffer(b"".join(rows), np.uint64).reshape(-1, 2)
        valid = pc.is_valid(self.values).to_numpy(zero_copy_only=False)
        return found * (by_row(valid, self.bounds) > 0)[:, None].astype(np.uint64)

    @property
    def _has_bytes(self) -> bool:
        import pyarrow as pa

        return self.is_text or pa.types.is_large_binary(self.values.type)

    def _numbers(self) -> Any:
        """Return 64 bits for each value: its length, or the number itself."""
        import numpy as np
        import pyarrow as pa

        pc = compute()

        if self._has_bytes:
            return pc.fill_null(pc.binary_length(self.values), -1).to_numpy(zero_copy_only=False)
        if pa.types.is_large_list(self.values.type):
            return pc.fill_null(pc.list_value_length(self.values), -1).to_numpy(zero_copy_only=False)
        values = pc.fill_null(self.values, 0).to_numpy(zero_copy_only=False)
        bits = values.astype(np.float64).view(np.int64)
        if values.dtype == np.int64:  # 1 in one shard is 1.0 in another; what no float can hold stays as it is
            bits = np.where(np.abs(values) < 2**53, bits, values)
        return np.where(pc.is_valid(self.values).to_numpy(zero_copy_only=False), bits, NULL_BITS)

    def _content(self) -> tuple[memoryview | bytes, Any]:
        """Return the bytes of all strings, and where in them each one starts; nulls have none."""
        import numpy as np

        pc = compute()

        values = pc.fill_null(self.values, "" if self.is_text else b"") if self.values.null_count else self.values
        _, offsets, content = values.buffers()
        if not len(values) or offsets is None:
            return b"", np.zeros(1, np.int64)
        starts = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
        return memoryview(content) if content else b"", starts


def by_row(counts: Any, bounds: Any) -> Any:
    """Sum what stands beside each value over the values of each row."""
    import numpy as np

    sums = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return sums[bounds[1:]] - sums[bounds[:-1]]


def leaves(array: Any, path: str, bounds: Any, *, in_list: bool = False, is_turn: bool = False) -> Iterator[Leaf]:
    """Take a column apart, lists and structs of any depth."""
    import numpy as np
    import pyarrow as pa

    pc = compute()

    array = _plain(array)
    if pa.types.is_struct(array.type):
        for part, values in zip(array.type, array.flatten(), strict=True):
            yield from leaves(values, f"{path}.{part.name}", bounds, is_turn=in_list)
        return
    yield Leaf(path=path, values=array, bounds=bounds, is_turn=is_turn, is_item=in_list)
    if pa.types.is_large_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        below = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])[bounds]
        yield from leaves(array.flatten(), path + "[]" * in_list, below, in_list=True)


def _plain(array: Any) -> Any:
    """Return an array as a struct, or as one of the few types that `Leaf` knows."""
    import pyarrow as pa

    pc = compute()

    types, kind = pa.types, array.type
    if isinstance(array, pa.ExtensionArray):
        return _plain(array.storage)
    if types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if types.is_struct(kind):
        return array
    if target := _target(kind):
        return array.cast(target)
    cells = (None if cell is None else repr(cell) for cell in array.to_pylist())
    return pa.array(cells, pa.large_binary())


def _target(kind: Any) -> Any:
    """Return the type that stands for `kind` in a `Leaf`; None where Arrow casts it to none."""
    import pyarrow as pa

    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind):
        return pa.large_string()
    if (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    ):
        return pa.large_binary()
    if types.is_boolean(kind) or (types.is_integer(kind) and kind != pa.uint64()):
        return pa.int64()
    if types.is_floating(kind):
        return pa.float64()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.large_list(kind.value_field)
    return None
