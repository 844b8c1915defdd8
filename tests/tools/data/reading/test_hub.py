"""Datasets on the Hub are pinned, laid out and sampled; nothing is downloaded whole, and no viewer is asked."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ftagent.tools.data.judging.scan import scan
from ftagent.tools.data.reading.sample import NUMBER
from ftagent.tools.data.reading.sources import Source, open_source, resolve_dataset
from ftagent.tools.errors import InputError
from ftagent.tools.facts import DatasetRef
from ftagent.tools.settings import Settings

from .hub_stub import SHA, HubStub, serving

CODEFORCES = [
    "checker_interactor",
    "solutions",
    "solutions_decontaminated",
    "solutions_py",
    "solutions_py_decontaminated",
    "solutions_short_and_long_decontaminated",
    "solutions_w_editorials",
    "solutions_w_editorials_decontaminated",
    "solutions_w_editorials_py",
    "solutions_w_editorials_py_decontaminated",
    "test_input_generator",
]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> Iterator[HubStub]:
    hub = HubStub()
    with serving(hub, monkeypatch, workdir / "cache"):
        yield hub


def lines(count: int, size: int = 20) -> bytes:
    return b"".join(json.dumps({"text": "x" * size, "id": number}).encode() + b"\n" for number in range(count))


def parquet(count: int, size: int = 20, group: int = 1_000) -> bytes:
    letters = random.Random(0).choices("abcdefgh", k=size + count)
    texts = ["".join(letters[number : number + size]) for number in range(count)]
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({"text": texts, "id": list(range(count))}), buffer, row_group_size=group, compression="none"
    )
    return buffer.getvalue()


def card(**front: object) -> bytes:
    return f"---\n{json.dumps(front)}\n---\n# A dataset\n".encode()


def opened(name: str, subset: str | None = None, split: str | None = None, benchmarks: tuple[str, ...] = ()) -> Source:
    return open_source(resolve_dataset(name, Settings()), Settings(), subset, split, benchmarks=benchmarks)


def find(name: str) -> DatasetRef:
    return resolve_dataset(name, Settings())


def test_a_hub_id_is_pinned_to_its_commit_with_its_licence(stub: HubStub) -> None:
    stub.repositories["owner/known"] = {"README.md": card(license="mit")}
    ref = find("owner/known")
    assert (ref.source, ref.revision, ref.licence) == ("hub", SHA, "mit")
    assert ref.loader == {"path": "owner/known", "revision": SHA}
    assert find(f"owner/known@{SHA}").loader == ref.loader


def test_an_unknown_revision_and_a_gated_dataset_are_refused_with_the_way_out(stub: HubStub) -> None:
    stub.repositories = {"owner/known": {}, "owner/gated": {}}
    stub.gated = {"owner/gated"}
    with pytest.raises(InputError, match=r"no such revision.*branch"):
        find("owner/known@v9")
    with pytest.raises(InputError, match=r"is gated.*ask for access"):
        find("owner/gated")


TOKEN, STRANGERS, WRONG = (f"hf_{letters * 17}" for letters in ("qw", "er", "ty"))


@pytest.fixture
def closed(stub: HubStub) -> HubStub:
    """A private set and a gated one, which `TOKEN` opens."""
    stub.repositories = {
        "owner/private": {"train.jsonl": lines(300)},
        "owner/gated": {"data/train-00000-of-00001.parquet": parquet(40_000, 1_000)},
    }
    stub.private, stub.gated = {"owner/private"}, {"owner/gated"}
    stub.granted, stub.strangers = {TOKEN}, {STRANGERS}
    return stub


@pytest.mark.parametrize("name", ["owner/private", "hf://datasets/owner/private/train.jsonl"])
def test_a_private_set_is_read_with_the_users_token(
    closed: HubStub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    source = opened(name)
    assert source.train_total + source.heldout_total == 300
    assert source.train[NUMBER] == source.train["id"]
    assert TOKEN not in repr(source)


def test_a_gated_set_is_sampled_by_ranges_with_a_token_that_was_granted_access(
    closed: HubStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    source = opened("owner/gated")
    assert (source.train_total, source.exact) == (39_800, True)
    assert source.train[NUMBER] == source.train["id"]


@pytest.mark.parametrize(
    ("name", "token", "words"),
    [
        ("owner/private", None, r"private and no token of yours opens it\)\..*`hf auth login` or HF_TOKEN"),
        ("owner/private", STRANGERS, r"private and no token of yours opens it\)\..*`hf auth login` or HF_TOKEN"),
        ("owner/private", WRONG, r"refuses your token for `owner/private` \(401\)\..*`hf auth login` or HF_TOKEN"),
        ("owner/gated", None, r"is gated\..*ask for access at .*owner/gated, then `hf auth login` or HF_TOKEN"),
        ("owner/gated", STRANGERS, r"is gated\..*ask for access at .*owner/gated, then `hf auth login`"),
        ("hf://datasets/owner/gated/data/*.parquet", None, r"is gated\..*ask for access"),
    ],
)
def test_without_a_token_that_opens_it_a_set_is_refused_in_one_line_with_the_way_out(
    closed: HubStub, monkeypatch: pytest.MonkeyPatch, name: str, token: str | None, words: str
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match=words) as caught:
        opened(name)
    assert "\n" not in str(caught.value) and not (token and token in str(caught.value))


@pytest.mark.slow
@pytest.mark.parametrize(
    "tools", [["validate_dataset"], ["plan_run", "validate_dataset", "pick_hardware", "write_script"]]
)
def test_a_token_is_in_no_file_and_in_no_output(
    closed: HubStub, monkeypatch: pytest.MonkeyPatch, workdir: Path, smollm2: Path, tools: list[str]
) -> None:
    name = "owner/private"
    environment = {
        **os.environ,
        "HF_TOKEN": TOKEN,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(workdir / "hf"),
        "TMPDIR": str(workdir / "tmp"),
    }
    (workdir / "tmp").mkdir()
    run: list[str] = []
    with serving(closed, monkeypatch, workdir / "cache") as server:
        environment["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        for tool in tools:
            if tool == "plan_run":
                options = ["--request", f"fine-tune {smollm2} on {name}"]
            else:
                options = run or ["--dataset", name, "--model", str(smollm2), "--method", "sft"]
            command = [str(Path(sys.executable).with_name("ftagent")), "tool", tool, *options, "--json"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert TOKEN not in done.stdout + done.stderr
            answer = json.loads(done.stdout)
            assert answer["ok"], answer
            run = run or ["--run", answer["result"]["run"]] if tool == "plan_run" else run
            assert tool != "validate_dataset" or answer["result"]["rows"] == 300
    files = [file for file in workdir.rglob("*") if file.is_file()]
    assert len(files) >= len(tools) - 1
    assert not [file for file in files if TOKEN.encode() in file.read_bytes()]


def test_a_small_set_is_read_whole_with_its_true_numbers(stub: HubStub) -> None:
    stub.repositories["owner/small"] = {"train.jsonl": lines(300), "test.jsonl": lines(40)}
    source = opened("owner/small")
    assert (source.split, source.holdout, source.exact) == ("train+test", "split_given", True)
    assert (source.train_total, source.heldout_total) == (300, 40)
    assert source.train[NUMBER] == source.train["id"]
    assert [number - 300 for number in source.heldout[NUMBER]] == source.heldout["id"]
    assert source.choices["split"] == "of train, test, with `test` to evaluate on"


def test_a_large_parquet_set_is_sampled_by_ranges_from_several_row_groups(stub: HubStub) -> None:
    content = parquet(40_000, 1_000)
    stub.repositories["owner/large"] = {"data/train-00000-of-00001.parquet": content}
    source = opened("owner/large")
    assert (source.train_total, source.heldout_total, source.exact) == (39_800, 200, True)
    assert source.train[NUMBER] == source.train["id"]
    assert max(source.train["id"]) > 20_000
    assert stub.sent_bytes < len(content) / 4
    assert source.files == (f"hf://datasets/owner/large@{SHA}/data/train-00000-of-00001.parquet",)


def test_a_large_text_set_is_sampled_by_ranges_and_its_rows_are_estimated(stub: HubStub) -> None:
    content = lines(20_000, 1_000)
    stub.repositories["owner/large"] = {"train.jsonl": content}
    source = opened("owner/large")
    assert not source.exact
    assert source.train_total == pytest.approx(19_800, rel=0.05)
    assert max(abs(row["id"] - row[NUMBER]) for row in source.train) < 200
    assert max(source.train["id"]) > 10_000
    assert stub.sent_bytes < len(content) / 2


def test_the_card_says_how_many_rows_a_split_has(stub: HubStub) -> None:
    info = {"features": [], "splits": [{"name": "train", "num_bytes": 1, "num_examples": 20_000}]}
    info["features"] = [{"name": "text", "dtype": "string"}, {"name": "id", "dtype": "int64"}]
    stub.repositories["owner/large"] = {"README.md": card(dataset_info=info), "train.jsonl": lines(20_000, 1_000)}
    source = opened("owner/large")
    assert (source.exact, source.train_total) == (True, 19_800)


def test_a_connection_that_breaks_off_is_an_error_in_one_line(stub: HubStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftagent.tools.data.reading.formats.READ_AHEAD_BYTES", 2**12)
    stub.repositories["owner/large"] = {"data/train-00000-of-00001.parquet": parquet(4_000, 1_000)}
    ref, source = find("owner/large"), opened("owner/large")
    stub.is_gone = True
    with pytest.raises(InputError, match="cannot be loaded: "):
        open_source(ref, Settings(), None, None)
    with pytest.raises(InputError, match="cannot be read to its end: the Hub broke off"):
        scan(source.files, "parquet")


def codeforces(stub: HubStub, **extra: object) -> None:
    configs = [{"config_name": name, "data_files": f"{name}/train.jsonl"} | extra for name in CODEFORCES]
    files = {f"{name}/train.jsonl": lines(20) for name in CODEFORCES}
    stub.repositories["owner/cots"] = {"README.md": card(configs=configs), **files}


def test_the_subset_in_the_language_of_the_benchmark_is_chosen(stub: HubStub) -> None:
    codeforces(stub)
    source = opened("owner/cots", benchmarks=("humaneval",))
    assert source.subset == source.loader["name"] == "solutions_py_decontaminated"
    assert source.choices["subset"] == (
        "the only one of 11 subsets that is decontaminated and in the language of humaneval"
    )


def test_subsets_among_which_nothing_chooses_are_listed(stub: HubStub) -> None:
    codeforces(stub)
    with pytest.raises(InputError, match="has 11 subsets and no default: checker_interactor, solutions,") as caught:
        opened("owner/cots")
    assert caught.value.hint == "--subset solutions_py_decontaminated"


def test_a_stated_subset_is_taken_or_refused_with_those_that_there_are(stub: HubStub) -> None:
    codeforces(stub)
    source = opened("owner/cots", "solutions")
    assert (source.subset, source.choices) == ("solutions", {})
    with pytest.raises(InputError, match="has no subset `nope`, only checker_interactor"):
        opened("owner/cots", "nope")
    with pytest.raises(InputError, match="has no split `nope`, only train"):
        opened("owner/cots", "solutions", "nope")


def test_the_reader_is_told_what_the_card_says(stub: HubStub) -> None:
    configs = [{"config_name": "default", "data_files": "rows.csv", "sep": ";"}]
    stub.repositories["owner/csv"] = {"README.md": card(configs=configs), "rows.csv": b"text;id\nhello;1\nyou;2\n"}
    assert opened("owner/csv").columns == ("text", "id")


def test_a_path_on_the_hub_is_pinned_and_read(stub: HubStub) -> None:
    stub.repositories["owner/files"] = {
        "a/train.jsonl": lines(30),
        "a/test.jsonl": lines(20),
        "b.csv": b"text\nhello\nyou\n",
        "README.md": card(license="mit"),
    }
    source = opened("hf://datasets/owner/files/a")
    assert (source.split, source.train_total, source.heldout_total) == ("train+test", 30, 20)
    ref = find("hf://datasets/owner/files/b.csv")
    assert ref.loader == {"path": "csv", "data_files": {"train": [f"hf://datasets/owner/files@{SHA}/b.csv"]}}
    assert ref.licence == "mit"
    assert find("hf://datasets/owner/files").loader == {"path": "owner/files", "revision": SHA}


@pytest.mark.parametrize("name", ["hf://datasets/owner/files/none.jsonl", "hf://buckets/owner/files", "hf://x"])
def test_a_path_that_leads_nowhere_is_refused(stub: HubStub, name: str) -> None:
    stub.repositories["owner/files"] = {"a.jsonl": lines(3)}
    with pytest.raises(InputError, match=r"has no data files|no path that ftagent reads"):
        find(name)


def test_a_set_without_data_and_a_set_of_pictures_are_refused_with_the_reason(stub: HubStub) -> None:
    stub.repositories = {"owner/empty": {"README.md": card()}, "owner/pictures": {"train/a.png": b"x"}}
    with pytest.raises(InputError, match="cannot be loaded"):
        opened("owner/empty")
    with pytest.raises(InputError, match="are read by `imagefolder`"):
        opened("owner/pictures")
