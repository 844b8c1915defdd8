"""Datasets are found, or refused in one line that says where was looked and what to do."""

from __future__ import annotations

import errno
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.data.sources import choose_split, load_rows, resolve_dataset
from ftagent.tools.errors import InputError, UserError
from ftagent.tools.facts import DatasetRef
from ftagent.tools.settings import Settings

ROW = '{"text": "hello"}\n'
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
        ("x.JSONL.gz", gzip.compress(ROW.encode() * 2), {"path": "json"}),
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
    assert len(load_rows(ref, None, None).rows) == 2


def test_the_revision_is_that_of_the_bytes(write: Write) -> None:
    first = find(write("a.jsonl", ROW * 2)).revision
    assert first.startswith("sha256:")
    assert find(write("b.jsonl", ROW * 2)).revision == first
    assert find(write("a.jsonl", ROW * 3)).revision != first


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.jsonl", "", "`x.jsonl` has no rows"),
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
        ("x.jsonl.gz", gzip.compress(ROW.encode() * 99)[:30], "`x.jsonl.gz` cannot be read: Compressed file ended"),
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
    source = load_rows(ref, None, None)
    assert (source.split, source.holdout, len(source.rows)) == ("train+test", "split_given", 6)


def test_a_folder_without_data_or_with_several_formats_is_refused(write: Write) -> None:
    write("empty/README", "nothing")
    write("mixed/a.csv", "text\nhello\n")
    write("mixed/b.jsonl", ROW)
    assert "has no data files" in refused("empty").message
    assert "mixes .csv and .jsonl" in refused("mixed").message


# --- the Hub ----------------------------------------------------------------------------------------------------------


class HubHandler(BaseHTTPRequestHandler):
    """Knows one dataset."""

    def do_GET(self) -> None:
        known = self.path.startswith("/api/datasets/owner/known")
        self.send_response(200 if known else 404)
        if not known:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if known:
            self.wfile.write(
                json.dumps({"id": "owner/known", "sha": "f" * 40, "cardData": {"license": "mit"}}).encode()
            )

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


def test_a_hub_id_is_pinned_to_its_commit(hub: ThreadingHTTPServer, workdir: Path) -> None:
    ref = find("owner/known")
    assert (ref.source, ref.revision, ref.licence) == ("hub", "f" * 40, "mit")
    assert ref.loader == {"path": "owner/known", "revision": "f" * 40}


def test_an_id_that_the_hub_does_not_know_is_refused(hub: ThreadingHTTPServer, workdir: Path) -> None:
    error = refused("owner/unknown")
    assert f"`owner/unknown` is no file or folder below `{workdir}`, and the Hub knows no such dataset" in error.message


def test_a_hub_that_cannot_be_reached_is_said_so(hub: ThreadingHTTPServer, workdir: Path) -> None:
    hub.shutdown()
    hub.server_close()
    error = refused("owner/known")
    assert "the Hub cannot be reached (" in error.message
    assert "local file" in error.hint


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train",), "train"),
        (("test", "train", "validation"), "train+test"),
        (("train_sft", "test_sft", "train_gen"), "train_sft+test_sft"),
        (("all",), "all"),
    ],
)
def test_the_split_to_train_on_is_chosen_with_one_to_evaluate_on(names: tuple[str, ...], split: str) -> None:
    assert choose_split(names) == split


def test_splits_among_which_none_is_for_training_are_refused() -> None:
    with pytest.raises(InputError, match="left, right"):
        choose_split(("left", "right"))


def test_rows_that_name_their_side_are_held_out_by_it(write: Write) -> None:
    rows = "".join(json.dumps({"text": "hello", "split": side}) + "\n" for side in ("train", "test", "train"))
    assert load_rows(find(write("sides.jsonl", rows)), None, None).holdout == "split_by_column"
    one_side = rows.replace("test", "train")
    assert load_rows(find(write("one.jsonl", one_side)), None, None).holdout == "split_by_seed"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.jsonl", ROW, "too few rows: 1"),
        ("x.jsonl", '{"__row__": 1}\n' * 3, "a column `__row__`"),
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
        load_rows(find(write(name, content)), None, None)
    assert words in caught.value.message and "\n" not in str(caught.value)


def test_a_wrong_split_or_subset_is_refused_with_the_flag(write: Write) -> None:
    ref = find(write("x.jsonl", ROW * 2))
    with pytest.raises(InputError, match="--split"):
        load_rows(ref, None, "nope")
    with pytest.raises(InputError, match="has no subset"):
        load_rows(ref, "nope", None)


def test_a_full_disk_is_not_blamed_on_the_data(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from datasets.exceptions import DatasetGenerationError

    def full(*_: Any, **__: Any) -> None:
        raise DatasetGenerationError("generating failed") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(datasets, "load_dataset", full)
    with pytest.raises(UserError, match="cache of datasets cannot be written: No space left on device") as caught:
        load_rows(find(write("x.jsonl", ROW * 2)), None, None)
    assert not isinstance(caught.value, InputError)
