from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ftagent.tools.data.reading import batches
from ftagent.tools.data.reading.batches import BATCH_BYTES, EXPANDED_BYTES, MAX_ROW_BYTES, read_batches
from ftagent.tools.errors import InputError

from .files import lines

SHARED = pa.array(["a" * 2**20, "b" * 2**20])
MIXED = pa.array(["x"] * 50 + ["x" * (MAX_ROW_BYTES + 1)])


def rows(file: str, format: str) -> list[dict[str, Any]]:
    """Read a file, and return its rows."""
    return [row for batch in read_batches(file, format) for row in batch.to_pylist()]


def arrow(folder: Path, column: pa.Array) -> str:
    """Write a column as one record batch, and return the file."""
    with pa.ipc.new_stream(folder / "a.arrow", pa.schema([("x", column.type)])) as stream:
        stream.write_batch(pa.record_batch({"x": column}))
    return str(folder / "a.arrow")


def parquet(folder: Path, column: pa.Array) -> str:
    """Write a column as one row group, and return the file."""
    pq.write_table(pa.table({"x": column}), folder / "a.parquet")
    return str(folder / "a.parquet")


@pytest.mark.parametrize(
    "column",
    [
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 1] * 1_000), SHARED),
        pa.ListArray.from_arrays(
            pa.array(range(0, 3_001, 3), pa.int32()),
            pa.DictionaryArray.from_arrays(pa.array([0, 1, 1] * 1_000), SHARED),
        ),
        pa.RunEndEncodedArray.from_arrays(pa.array([1_500, 3_000], pa.int32()), SHARED),
    ],
    ids=["dictionary", "list of a dictionary", "run-end encoded"],
)
def test_values_that_share_their_bytes_come_in_batches_that_are_small_when_written_out(
    tmp_path: Path, column: pa.Array
) -> None:
    found = list(read_batches(arrow(tmp_path, column), "arrow"))
    assert sum(map(len, found)) == len(column)
    assert max(map(len, found)) * 2**20 <= BATCH_BYTES
    assert found[0].column(0).to_pylist() == column[: len(found[0])].to_pylist()


def test_a_parquet_file_that_repeats_large_strings_is_decoded_in_small_batches(tmp_path: Path) -> None:
    table = pa.table({"x": pa.DictionaryArray.from_arrays(pa.array([0, 1] * 200), SHARED)})
    pq.write_table(table, tmp_path / "a.parquet", store_schema=False)
    decoded = {}
    for batch in read_batches(str(tmp_path / "a.parquet"), "parquet"):
        assert batch.nbytes <= BATCH_BYTES
        content = batch.column(0).buffers()[2]
        decoded[content.address] = content.size
    assert max(decoded.values()) <= EXPANDED_BYTES < len(table) * 2**20


@pytest.mark.parametrize("column", [MIXED, MIXED.dictionary_encode(), pa.array([[text] for text in MIXED.to_pylist()])])
@pytest.mark.parametrize(("write", "format"), [(arrow, "arrow"), (parquet, "parquet")])
def test_a_row_over_the_limit_is_refused_with_its_number(
    tmp_path: Path, write: Any, format: str, column: pa.Array
) -> None:
    with pytest.raises(InputError, match=rf"`a.{format}` row 50 is larger than 16 MiB"):
        list(read_batches(write(tmp_path, column), format))


def test_a_row_at_the_limit_is_read(tmp_path: Path) -> None:
    text = "x" * (MAX_ROW_BYTES - 64)
    assert rows(arrow(tmp_path, pa.array(["a", text, text])), "arrow")[1:] == [{"x": text}] * 2


def test_a_line_within_the_limit_is_read_even_where_its_numbers_take_more_in_memory(tmp_path: Path) -> None:
    file = lines(tmp_path, '{"x": [' + "[1]," * 1_000_000 + "[1]]}\n")
    assert [len(batch) for batch in read_batches(file, "json")] == [1]


def test_small_parquet_batches_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_batch_rows", lambda group: 7)
    monkeypatch.setattr(batches, "BATCH_ROWS", 20)
    file = parquet(tmp_path, pa.array([f"{n}" for n in range(50)]).dictionary_encode())
    found = list(read_batches(file, "parquet"))
    assert [len(batch) for batch in found] == [21, 21, 8]
    assert [cell for batch in found for cell in batch.column(0).to_pylist()] == [f"{n}" for n in range(50)]


def test_content_as_text_and_as_parts_in_one_file_is_read(tmp_path: Path) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    told = [{"messages": [{"role": "user", "content": "hi"}]}, {"messages": parts}, {"messages": parts}]
    found = rows(lines(tmp_path, "".join(json.dumps(row) + "\n" for row in told)), "json")
    assert [row["messages"][0]["role"] for row in found] == ["user"] * 3
    assert json.loads(found[1]["messages"][0]["content"]) == parts[0]["content"]


def test_strings_that_look_like_times_stay_strings(tmp_path: Path) -> None:
    assert rows(lines(tmp_path, '{"text": "2024-01-01"}\n'), "json") == [{"text": "2024-01-01"}]


def test_a_json_list_is_read_like_lines(tmp_path: Path) -> None:
    told = [{"id": 1, "messages": [{"role": "user", "content": "Hällo"}]}, {"id": None, "messages": []}]
    assert rows(lines(tmp_path, "\ufeff" + json.dumps(told, indent=1), "rows.json"), "json") == told


def test_csv_is_read_as_datasets_reads_it(tmp_path: Path) -> None:
    text = 'q,a\n1,"two\nlines, and ""more"""\n,NA\n3\n'
    told = [{"q": "1", "a": 'two\nlines, and "more"'}, {"q": None, "a": None}, {"q": "3", "a": None}]
    assert rows(lines(tmp_path, text, "rows.csv"), "csv") == told
    tabs = 'q\ta\n1\t"two\nlines, and ""more"""\n\tNA\n3\n'
    assert rows(lines(tmp_path, tabs, "rows.tsv"), "csv") == told


def test_a_compressed_text_file_has_a_row_a_line(tmp_path: Path) -> None:
    file = lines(tmp_path, gzip.compress("eins\n\nzwei ü\r\n".encode()), "a.txt.gz")
    assert rows(file, "text") == [{"text": "eins"}, {"text": ""}, {"text": "zwei ü"}]


def test_bytes_that_are_no_text_are_named_with_their_column(tmp_path: Path) -> None:
    file = parquet(tmp_path, pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers()))
    with pytest.raises(InputError, match=r"column `x` of `a.parquet` is damaged in one of the rows 0 to 0"):
        list(read_batches(file, "parquet"))
