"""Datasets are found, or refused in one line that says where was looked and what to do."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.data.reading.sample import NUMBER
from ftagent.tools.data.reading.sources import Source, open_source, resolve_dataset
from ftagent.tools.errors import InputError, UserError
from ftagent.tools.facts import DatasetRef
from ftagent.tools.settings import Settings

ROW = '{"text": "hello"}\n'
CUT_OFF = gzip.compress(ROW.encode() * 99, mtime=0)[:30]
Write = Callable[[str, str | bytes], str]


@pytest.fixture
def write(workdir: Path) -> Write:
    def put(name: str, content: str | bytes) -> str:
        file = workdir / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return put


def find(name: str) -> DatasetRef:
    return resolve_dataset(name, Settings())


def opened(ref: DatasetRef, split: str | None = None) -> Source:
    return open_source(ref, Settings(), None, split)


def refused(name: str) -> InputError:
    with pytest.raises(InputError) as caught:
        find(name)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("x.jsonl", ROW * 2, {"path": "json"}),
        ("x.json", "[\n" + ROW + "," + ROW + "]", {"path": "json"}),
        ("x.json", ROW * 2, {"path": "json"}),
        ("x.csv", "text\nhello\nyou\n", {"path": "csv"}),
        ("x.tsv", "text\tid\nhello\t1\nyou\t2\n", {"path": "csv", "sep": "\t"}),
        ("x.JSONL.gz", gzip.compress(ROW.encode() * 2, mtime=0), {"path": "json"}),
        ("odd [1]*? name.jsonl", ROW * 2, {"path": "json"}),
        ("blank.jsonl", "\ufeff\n" + ROW + "\n\n" + ROW, {"path": "json"}),
    ],
)
def test_a_local_file_is_found_and_loads(
    write: Write, workdir: Path, name: str, content: str | bytes, options: dict[str, Any]
) -> None:
    ref = find(write(name, content))
    assert ref.source == "file"
    assert {key: value for key, value in ref.loader.items() if key != "data_files"} == options
    assert str(workdir) in ref.loader["data_files"]["train"][0]
    source = opened(ref)
    assert (source.train_total, source.heldout_total, source.exact) == (1, 1, True)


def test_the_revision_is_that_of_the_bytes(write: Write) -> None:
    first = find(write("a.jsonl", ROW * 2)).revision
    assert first.startswith("sha256:")
    assert find(write("b.jsonl", ROW * 2)).revision == first
    assert find(write("a.jsonl", ROW * 3)).revision != first


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.jsonl", "", "`x.jsonl` is empty: it has no rows"),
        ("x.jsonl", "{}\n" * 9, "`x.jsonl` has 9 rows, all of them empty"),
        ("x.jsonl", " \n\n", "`x.jsonl` has no rows"),
        ("x.csv", "text\n", "`x.csv` has no rows"),
        ("x.jsonl", ROW * 6 + '{"text": "hel\n' + ROW, "`x.jsonl` line 7 is not JSON: Unterminated string"),
        ("x.jsonl", "\n" + ROW + "[1]\n", "`x.jsonl` line 3 is [1], which is no object"),
        ("x.json", '[\n{"a": 1},\n{"a": }\n]', "`x.json` line 3 is not JSON: Expecting value"),
        ("x.json", '[{"a": 1}, 7]', "`x.json` item 2 is 7"),
        ("x.jsonl", ROW.encode() + b'{"text": "\xff"}\n', "`x.jsonl` line 2 is not UTF-8: byte 0xff at column 11"),
        ("x.csv", "text\nhéllo\n".encode("latin-1"), "`x.csv` line 2 is not UTF-8"),
        ("x.jsonl", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "`x.jsonl` line 1 cannot be read"),
        ("x.jsonl", '{"a": ' + "1" * 5_000 + "}\n", "`x.jsonl` line 1 cannot be read"),
        ("x.jsonl.gz", b"no archive", "`x.jsonl.gz` cannot be read: Not a gzipped file"),
        ("x.jsonl.gz", CUT_OFF, "`x.jsonl.gz` cannot be read: Compressed file ended"),
        ("x.jsonl.zst", b"no archive", "`x.jsonl.zst` cannot be read: zstd decompress error"),
        ("x.jsonl", ROW + '{"text": "hel', "`x.jsonl` line 2, the last one, is cut off: Unterminated string"),
        ("x.json", '[{"a": 1},\n{"a": "', "`x.json` line 2 is not JSON: Unterminated string"),
        ("x.json", '[{"a": 1}', "`x.json` line 1 is not JSON: the file ends in item 1"),
        ("x.jsonl", b"PAR1\xff\xfe\n", "`x.jsonl` line 1 is not UTF-8"),
        ("x.jsonl", '{"a": ' + "[" * 70 + "]" * 70 + "}\n", "`x.jsonl` line 1 is nested deeper than 64 levels"),
        ("x.jsonl", '{"a": "' + "x" * 17_000_000 + '"}\n', "`x.jsonl` line 1 is larger than 16 MiB"),
        ("x.json", '[{"a": "' + "x" * 17_000_000 + '"}]', "`x.json` item 1 is larger than 16 MiB"),
        ("x.csv", 'text\n"' + ("x" * 99 + "\n") * 200_000, "`x.csv` line 2 starts a row of more than 16 MiB"),
        ("x.jsonl", json.dumps(dict.fromkeys(map(str, range(1_001)))), "more than 1000 columns and fields"),
        ("x.jsonl", "".join(f'{{"a": {{"k{n}": 1}}}}\n' for n in range(1_001)), "counted up to line 1000"),
        (
            "x.jsonl",
            json.dumps(dict.fromkeys(map(str, range(900)))) + "\n" + "{}\n" * 60_000,
            "nearly all of them empty",
        ),
        ("x.csv", ",".join(map(str, range(1_001))) + "\n1\n", "`x.csv` has 1001 columns"),
        ("x.jsonl.gz", gzip.compress(b" " * 2**25, mtime=0), "`x.jsonl.gz` expands to more than 250 times its size"),
        ("x.exe", ROW, "`x.exe` is no data file"),
    ],
)
def test_a_file_that_no_reader_could_take_is_refused_with_the_line(
    write: Write, name: str, content: str | bytes, words: str
) -> None:
    assert words in refused(write(name, content)).message


def test_a_missing_file_is_refused_with_those_that_look_like_it(write: Write, workdir: Path) -> None:
    write("docstrings.jsonl", ROW)
    error = refused("docstring.jsonl")
    assert f"`{workdir}/docstring.jsonl`" in error.message
    assert error.hint == "did you mean `docstrings.jsonl`?"


@pytest.mark.parametrize("name", ["", "a\0b.jsonl", "x" * 5_000, "~nobody-of-this-name/x.jsonl", "no/such/x.jsonl"])
def test_a_hostile_name_is_refused(workdir: Path, name: str) -> None:
    assert len(refused(name).message) < 600


# --- folders ----------------------------------------------------------------------------------------------------------


def test_the_files_of_a_folder_are_sorted_into_splits_by_their_names(write: Write) -> None:
    for name in ("data/train-0.jsonl", "data/train-1.jsonl", "data/my_test.jsonl", "data/.hidden.jsonl", "data/README"):
        write(name, ROW * 2)
    ref = find("data")
    assert ref.source == "folder"
    assert {split: len(files) for split, files in ref.loader["data_files"].items()} == {"train": 2, "test": 1}
    source = opened(ref)
    assert (source.split, source.holdout) == ("train+test", "split_given")
    assert (source.train_total, source.heldout_total) == (4, 2)
    assert source.heldout[NUMBER] == [4, 5]


def test_a_folder_without_data_or_with_several_formats_is_refused(write: Write) -> None:
    write("empty/README", "nothing")
    write("mixed/a.csv", "text\nhello\n")
    write("mixed/b.jsonl", ROW)
    assert "has no data files" in refused("empty").message
    assert "mixes .csv and .jsonl" in refused("mixed").message


# --- loading ---------------------------------------------------------------------------------------------------------


def test_rows_that_name_their_side_are_held_out_by_it(write: Write) -> None:
    rows = "".join(json.dumps({"text": "hello", "split": side}) + "\n" for side in ("train", "test", "train"))
    assert opened(find(write("sides.jsonl", rows))).holdout == "split_by_column"
    one_side = rows.replace("test", "train")
    assert opened(find(write("one.jsonl", one_side))).holdout == "split_by_seed"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.jsonl", ROW, "too few rows: 1"),
        ("x.jsonl", '{"__row__": 1}\n' * 3, "a column `__row__`"),
        (
            "x.csv",
            "n\n" + "1\n" * 12_000 + "one\n",
            "column `n` holds a number in `x.csv` line 2 and text in `x.csv` line 12002",
        ),
        ("x.csv", "a,b\n1,2,3\n1,2,3\n", "more values than its header"),
        ("x.csv", "a,b\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        ("x.parquet", b"PAR1 nonsense", "cannot be loaded: Parquet magic bytes not found"),
        ("x.jsonl", '{"text": "\\ud800"}\n' * 3, "cannot be loaded: JSON parse error"),
    ],
)
def test_rows_that_cannot_be_loaded_are_refused_in_one_line(
    write: Write, name: str, content: str | bytes, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        opened(find(write(name, content)))
    assert words in caught.value.message and "\n" not in str(caught.value)


def test_a_wrong_split_or_subset_is_refused_with_the_flag(write: Write) -> None:
    ref = find(write("x.jsonl", ROW * 2))
    with pytest.raises(InputError, match=r"only train. hint: --split train"):
        opened(ref, "nope")
    with pytest.raises(InputError, match="has no subset"):
        open_source(ref, Settings(), "nope", None)


def test_a_full_disk_is_not_blamed_on_the_data(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from datasets.exceptions import DatasetGenerationError

    def full(*_: Any, **__: Any) -> None:
        raise DatasetGenerationError("generating failed") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(datasets, "load_dataset", full)
    with pytest.raises(UserError, match="cache of datasets cannot be written: No space left on device") as caught:
        opened(find(write("x.jsonl", ROW * 2)))
    assert not isinstance(caught.value, InputError)
