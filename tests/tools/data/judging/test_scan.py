from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ftagent.tools.data.judging import counts, repeats
from ftagent.tools.data.judging.contamination import Overlap
from ftagent.tools.data.judging.scan import Scan, scan
from ftagent.tools.data.reading import batches
from ftagent.tools.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st

from .files import lines, write

CHATS: list[dict[str, Any]] = [
    {"id": 1, "messages": [{"role": "user", "content": "Hällo"}, {"role": "assistant", "content": "Hi"}]},
    {"id": 2, "messages": [{"role": "user", "content": " \n"}, {"role": "assistant", "content": None}]},
    {"id": None, "messages": []},
    {"id": 1, "messages": [{"role": "user", "content": "Hällo"}, {"role": "assistant", "content": "Hi"}]},
    {"id": 4, "messages": None},
]


@pytest.mark.parametrize("format", ["json", "parquet", "arrow"])
def test_chats_are_counted_alike_in_every_format(tmp_path: Path, format: str) -> None:
    found = scan([write(tmp_path, format, CHATS)], format)
    assert (found.rows, found.files) == (5, 1)
    assert found.nulls == {"id": 1, "messages": 1, "messages.content": 1}
    assert found.empties == {"messages": 1, "messages.content": 1}
    assert found.roles == {"user": 3, "assistant": 3}
    assert (found.characters, found.longest_row, found.longest_row_characters) == (2 * 20 + 15, 0, 20)
    assert (found.duplicates, found.first_duplicates) == (1, (3,))


def test_only_the_stated_columns_decide_what_a_duplicate_is(tmp_path: Path) -> None:
    rows = [{"id": n, "text": "same" if n % 2 else f"{n}"} for n in range(6)]
    file = write(tmp_path, "parquet", rows)
    assert scan([file], "parquet").duplicates == 0
    assert scan([file], "parquet", columns=["text"]).first_duplicates == (3, 5)


def test_a_column_that_no_file_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file has a column `txt`.*id, messages"):
        scan([write(tmp_path, "json", CHATS)], "json", columns=["txt"])


cells = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=2),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"x": st.lists(st.none() | st.text(max_size=3), max_size=3)}), max_size=8))
def test_duplicates_of_nested_rows_are_those_that_python_finds(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        schema = pa.schema([("x", pa.list_(pa.string()))])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), Path(folder, "a.parquet"))
        found = scan([str(Path(folder, "a.parquet"))], "parquet")
    seen = [json.dumps(row) for row in rows]
    again = tuple(number for number, row in enumerate(seen) if row in seen[:number])
    assert (found.rows, found.duplicates, found.first_duplicates) == (len(rows), len(again), again)
    assert found.characters == sum(len(text or "") for row in rows for text in row["x"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["x", "y"]), cells, min_size=1), min_size=1, max_size=8))
def test_any_json_rows_are_counted(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), "json", rows)
        assert scan([file, file], "json").duplicates >= len(rows)
        assert scan([file], "json").rows == len(rows)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "a"], pa.large_string()),
        pa.array(["a", None, "a"], pa.string_view()),
        pa.array(["a", None, "a"]).dictionary_encode(),
        pa.array([b"\xff", None, b"\xff"]),
        pa.array([b"ab", None, b"ab"], pa.binary(2)),
        pa.array([1.5, None, 1.5], pa.float32()),
        pa.array([2**64 - 1, None, 2**64 - 1], pa.uint64()),
        pa.array([True, None, True]),
        pa.array([1, None, 1], pa.timestamp("us", "UTC")),
        pa.array([1, None, 1], pa.duration("s")),
        pa.array([[1, 2], None, [1, 2]], pa.list_(pa.int8(), 2)),
        pa.array([[1, 2], None, [1, 2]], pa.list_view(pa.int8())),
        pa.array([[("k", 1)], None, [("k", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array([{"a": [["x"], []]}, None, {"a": [["x"], []]}]),
        pa.nulls(3),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_any_type_are_scanned(tmp_path: Path, column: pa.Array) -> None:
    file = tmp_path / "a.arrow"
    batch = pa.record_batch({"n": pa.array([1, 2, 1]), "x": column})
    with pa.OSFile(str(file), "wb") as stream, pa.ipc.new_file(stream, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch.slice(1))
    found = scan([str(file)], "arrow")
    assert (found.rows, found.first_duplicates) == (5, (2, 3, 4))
    assert found.nulls["x"] == (5 if pa.types.is_null(column.type) else 2)


def test_shards_with_other_column_orders_widths_and_absent_columns_are_compared_by_value(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int32()), "b": ["x", None]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"b": pa.array(["x"], pa.large_string()), "a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [2.0]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"a": [9], "b": pa.array(["x"]).dictionary_encode()}), tmp_path / "3.parquet")
    found = scan([str(tmp_path / f"{n}.parquet") for n in range(4)], "parquet")
    assert (found.rows, found.first_duplicates, found.nulls) == (5, (2, 3), {"b": 2})


def test_shards_that_cannot_be_one_table_are_refused_with_file_and_column(tmp_path: Path) -> None:
    one, two = write(tmp_path, "parquet", [{"a": "x"}], "one"), write(tmp_path, "parquet", [{"a": [1]}], "two")
    with pytest.raises(InputError, match=r"column `a` of `two.parquet` holds list.*, and string in the rows before"):
        scan([one, two], "parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n\n{"a": 1\n{"a": 1}\n', "`rows.jsonl` line 3 is not JSON"),
        ('{"a": 1}\n{"a": ', "line 2, the last one, is cut off"),
        ('{"a": 1}\n[1]\n', "line 2 is .*no object"),
        (b'{"a": "x"}\n{"a": "\xff"}\n', "line 2 is not UTF-8: byte 0xff"),
        ('{"a": "\\ud800"}\n', "cannot be read to its end"),
        ('{"a": ' + 100 * "[" + 100 * "]" + "}\n" + '{"a": "x"}\n', "nested deeper"),
        ("".join(json.dumps({f"k{n}": 1}) + "\n" for n in range(1_500)), "more than 1000 columns"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scan([lines(tmp_path, text)], "json")


def test_json_rows_that_are_now_this_now_that_are_named_with_their_paths(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = [{"a": "x", "b": {"c": 1}, "d": None}, {"a": None, "b": {"c": None}, "d": ["x"]}]
    one = write(tmp_path, "json", told, "one")
    assert scan([one, one], "json").mixed == {}
    two = write(tmp_path, "json", [{"a": ["x"], "b": {"c": 2.5}, "d": 1}], "two")
    three = write(tmp_path, "json", [{"b": "text"}], "three")
    found = {"a": ("lists", "text"), "b": ("objects", "text"), "d": ("lists", "numbers")}
    assert scan([one, two, three], "json").mixed == found


def test_a_field_that_comes_too_late_for_datasets_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "FIRST_BYTES", 100)
    files = [write(tmp_path, "json", [{"a": "x" * 200}], "one"), write(tmp_path, "json", [{"a": "y", "b": 1}], "two")]
    assert scan(files, "json").late == {"b": 1}
    assert scan(files[::-1], "json").late == {}


def test_a_csv_row_with_too_many_values_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"`rows.csv` cannot be read.*from line 2 on.*Expected 2 fields in line 3, saw 3"
    ):
        scan([lines(tmp_path, "a,b\n1,2\n1,2,3\n", "rows.csv")], "csv")


@pytest.mark.parametrize("cut", [10, -30])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    file = Path(write(tmp_path, "parquet", CHATS))
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"`rows.parquet` cannot be read to its end"):
        scan([str(file)], "parquet")
    squeezed = lines(tmp_path, gzip.compress(b'{"a": 1}\n' * 99)[:cut], "a.jsonl.gz")
    with pytest.raises(InputError, match=r"`a.jsonl.gz` "):
        scan([squeezed], "json")


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        scan([str(tmp_path / "gone.parquet")], "parquet")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_BYTES", 1)
    file = write(tmp_path, "json", CHATS)

    def append(rows: int, total: int | None) -> None:
        if rows == 1:
            with Path(file).open("a", encoding="utf-8") as stream:
                stream.write('{"id": 9}\n')

    with pytest.raises(InputError, match="changed while it was read"):
        scan([file], "json", on_progress=append)


def test_progress_knows_the_total_of_local_parquet_files(tmp_path: Path) -> None:
    heard: list[tuple[int, int | None]] = []
    scan([write(tmp_path, "parquet", CHATS)], "parquet", on_progress=lambda *rows: heard.append(rows))
    assert heard == [(3, 5), (5, 5)]


def test_an_interrupted_scan_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "SPILLED_ROWS", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    left: list[int] = []

    def interrupt(rows: int, total: int | None) -> None:
        left.append(len(list((tmp_path / "scratch").rglob("*"))))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([write(tmp_path, "parquet", CHATS)], "parquet", on_progress=interrupt)
    assert left[0] > 1
    assert not list((tmp_path / "scratch").iterdir())


def test_a_file_without_rows_is_counted_as_such(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    found = scan([str(tmp_path / "a.parquet")], "parquet")
    assert found == Scan(
        rows=0,
        nulls={},
        empties={},
        roles={},
        characters=0,
        longest_row=None,
        longest_row_characters=0,
        duplicates=0,
        first_duplicates=(),
        mixed={},
        late={},
        overlap=Overlap(benchmarks=(), hits={}, unknown=()),
        files=1,
        seconds=found.seconds,
    )
