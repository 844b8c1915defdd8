"""Large files are sampled from all over, with true row numbers; hostile ones are refused in bounded memory."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ftagent.tools.data.reading import columns, sources
from ftagent.tools.data.reading.callables import write_rows
from ftagent.tools.data.reading.layout import Layout
from ftagent.tools.data.reading.sample import NUMBER, Read
from ftagent.tools.data.reading.sources import Source, open_source, resolve_dataset
from ftagent.tools.errors import InputError
from ftagent.tools.settings import Settings

ROWS = 4_000


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a megabyte count as large."""
    monkeypatch.setattr(sources, "WHOLE_BYTES", 1_000_000)
    monkeypatch.setattr(columns, "WHOLE_BYTES", 1_000_000)


def row(number: int) -> dict[str, object]:
    return {"id": number, "text": f"{random.Random(number).getrandbits(4_000):x}"}


def opened(name: Path | str) -> Source:
    return open_source(resolve_dataset(str(name), Settings()), Settings(), None, None)


def jsonl(folder: Path, separator: str = "\n") -> None:
    folder.joinpath("x.jsonl").write_text("".join(json.dumps(row(n)) + separator for n in range(ROWS)))


def shards(folder: Path) -> None:
    for shard in range(8):
        part = range(shard * ROWS // 8, (shard + 1) * ROWS // 8)
        folder.joinpath(f"{shard}.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in part))


def parquet(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist([row(n) for n in range(ROWS)]), folder / "x.parquet", row_group_size=100)


def arrow(folder: Path) -> None:
    datasets.Dataset.from_list([row(n) for n in range(ROWS)]).save_to_disk(str(folder), num_shards=2)


@pytest.mark.parametrize("write", [jsonl, shards, parquet, arrow])
@pytest.mark.usefixtures("small_limits")
def test_a_sample_comes_from_all_over_with_true_numbers(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    source = opened(tmp_path)
    assert (source.train_total, source.heldout_total, source.exact) == (ROWS - 200, 200, True)
    assert len(source.train) < ROWS / 2
    assert source.train[NUMBER] == source.train["id"]
    assert min(source.train["id"]) < ROWS / 8 and max(source.train["id"]) > ROWS * 7 / 8
    assert len(source.sample) <= 256 and NUMBER not in source.sample[0]


@pytest.mark.usefixtures("small_limits")
def test_blank_lines_make_the_total_an_estimate(tmp_path: Path) -> None:
    jsonl(tmp_path, "\n\n")
    source = opened(tmp_path / "x.jsonl")
    assert not source.exact
    assert source.train_total == pytest.approx(ROWS - 200, rel=0.05)


@pytest.mark.usefixtures("small_limits")
def test_a_list_of_objects_in_one_line_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps([row(n) for n in range(ROWS)]))
    source = opened(file)
    assert not source.exact and source.train[NUMBER] == source.train["id"]
    assert source.train_total == pytest.approx(ROWS - 200, rel=0.05)


def test_shards_with_other_columns_are_refused_with_both_names(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [1, 2], "b": [1, 2]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"`b.parquet` has a column `b` that `a.parquet` has not"):
        opened(tmp_path)
    pq.write_table(pa.table({"a": ["x", "y"]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"column `a` is int64 in `a.parquet` and string in `b.parquet`"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"a": ["x" * 17_000_000, "y"]}), "row 0 is larger than 16 MiB"),
        (pa.table({"a": ["\0" * 100_000_000, "y"]}), "expands to more than 250 times"),
        (pa.table({f"c{n}": [1, 2] for n in range(1_001)}), "has 1001 columns"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), "two columns `a`"),
        (pa.table({"a": pa.array([], pa.int64())}), "too few rows: 0"),
    ],
    ids=["large row", "bomb", "columns", "same name", "empty"],
)
def test_a_parquet_file_that_cannot_be_held_is_refused(tmp_path: Path, table: pa.Table, words: str) -> None:
    pq.write_table(table, tmp_path / "x.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(InputError, match=words):
        opened(tmp_path / "x.parquet")


def test_a_dictionary_that_repeats_one_large_entry_is_read_row_by_row(tmp_path: Path) -> None:
    once = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), ["x" * 500_000])
    pq.write_table(pa.table({"a": once}), tmp_path / "x.parquet")
    before = pa.total_allocated_bytes()
    source = opened(tmp_path / "x.parquet")
    assert source.train_total == 99_800
    assert pa.total_allocated_bytes() - before < 300_000_000


def test_pictures_stay_bytes(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    table = pa.Table.from_pylist([{"image": {"bytes": b"no png", "path": "x.png"}}] * 3, schema=features.arrow_schema)
    pq.write_table(table, tmp_path / "x.parquet")
    assert opened(tmp_path / "x.parquet").sample[0] == {"image": {"bytes": b"no png", "path": "x.png"}}


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "hello"}\n' * 3)
    ref = resolve_dataset(str(file), Settings())
    whole = sources._whole

    def grows(layout: Layout, split: str) -> Read:
        read = whole(layout, split)
        with file.open("a") as stream:
            stream.write('{"text": "hel')
        return read

    monkeypatch.setattr(sources, "_whole", grows)
    with pytest.raises(InputError, match="changed while it was read"):
        open_source(ref, Settings(), None, None)


def test_a_folder_brings_its_licence_and_leaves_out_what_is_no_data(tmp_path: Path) -> None:
    tmp_path.joinpath("README.md").write_text("---\nlicense: mit\n---\n")
    tmp_path.joinpath("requirements.txt").write_text("x\n")
    tmp_path.joinpath("dataset_info.json").write_text("{}")
    tmp_path.joinpath("x.jsonl").write_text('{"text": "hello"}\n' * 3)
    ref = resolve_dataset(str(tmp_path), Settings())
    assert ref.licence == "mit" and list(ref.loader["data_files"]) == ["train"]


def test_rows_of_a_function_become_a_dataset_like_any_other(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path)
    file = write_rows(
        lambda: ({"id": n} | ({"late": [n]} if n > 1_500 else {}) for n in range(2_000)), "my rows", settings
    )
    source = open_source(resolve_dataset(str(file), settings), settings, None, None)
    assert (source.columns, source.train_total) == (("id", "late"), 1_800)
    assert source.train[NUMBER] == source.train["id"]


def test_a_name_from_the_settings_stands_for_its_file(tmp_path: Path) -> None:
    file = tmp_path / "rows-1234.jsonl"
    file.write_text('{"text": "hello"}\n' * 3, encoding="utf-8")
    settings = Settings(datasets={"my_rows": file})
    hashed, quick = (resolve_dataset("my_rows", settings, hashed=hashed) for hashed in (True, False))
    assert hashed.id == "my_rows" and str(file) in str(hashed.loader["data_files"])
    assert hashed.revision.startswith("sha256:") and not quick.revision


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "yields no rows"),
        ([1], "row 0 of `x` is 1, which is no dict"),
        ([{"a": 1}, {"a": "x"}], "rows 0 to 1 of `x` make no table"),
        ([{"a": 1}] * 1_000 + [{"a": "x"}], "change a type"),
    ],
)
def test_rows_that_make_no_table_are_refused(tmp_path: Path, rows: list[dict[str, object]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        write_rows(lambda: rows, "x", Settings(cache_dir=tmp_path))
