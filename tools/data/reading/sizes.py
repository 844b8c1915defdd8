"""What Arrow data takes without dictionaries and views, in which many values share the same bytes."""

from __future__ import annotations

from typing import Any

from .formats import compute


def written_bytes(batch: Any) -> int:
    """Return what the columns of a record batch take."""
    return sum(map(_array_bytes, batch.columns))


def _array_bytes(array: Any) -> int:
    import pyarrow as pa

    types, kind = pa.types, array.type
    if isinstance(array, pa.ExtensionArray):
        return _array_bytes(array.storage)
    if types.is_struct(kind):
        return sum(map(_array_bytes, array.flatten()))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return 8 * len(array) + _array_bytes(array.flatten())
    if types.is_dictionary(kind):
        pc = compute()
        return 8 * len(array) + (pc.sum(pc.take(_entry_bytes(array.dictionary), array.indices)).as_py() or 0)
    if types.is_run_end_encoded(kind):
        return len(array) * (8 + (compute().max(_entry_bytes(array.values)).as_py() or 0))
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return array.cast(pa.large_binary()).nbytes
    return array.nbytes


def _entry_bytes(entries: Any) -> Any:
    """Return the size of each entry of a dictionary: exact for strings, else the average."""
    import pyarrow as pa

    types, kind = pa.types, entries.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return compute().binary_length(entries).cast(pa.int64())
    return pa.repeat(pa.scalar(entries.nbytes // max(1, len(entries)), pa.int64()), len(entries))
