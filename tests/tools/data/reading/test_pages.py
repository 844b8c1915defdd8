"""How much memory pages take is read from their headers: those of real files, and damaged ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ftagent.tools.data.judging.scan import scan
from ftagent.tools.data.reading import pages
from ftagent.tools.data.reading.pages import MAX_PAGES_BYTES, refuse_large_pages
from ftagent.tools.data.reading.sources import open_source, resolve_dataset
from ftagent.tools.errors import InputError
from ftagent.tools.settings import Settings
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 2**20
TABLE = pa.table({"text": [f"{number:04}" * 1_024 for number in range(2_000)], "id": list(range(2_000))})


def held(file: Path) -> list[int]:
    """Return what reading each column of the first row group holds."""
    group = pq.read_metadata(file).row_group(0)
    with file.open("rb") as stream:
        return [pages._held(stream, group.column(place)) for place in range(group.num_columns)]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy"])
def test_what_is_held_is_the_largest_page_packed_and_unpacked(tmp_path: Path, version: str, compression: str) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(
        TABLE,
        file,
        compression=compression,
        use_dictionary=False,
        data_page_version=version,
        write_batch_size=500,
        write_statistics=True,
        write_page_checksum=True,
    )
    text, number = held(file)
    unpacked = 500 * (4_096 + 4)
    assert unpacked <= text <= (unpacked if compression == "none" else 1.1 * unpacked) + 2_000
    assert number <= 2 * 8 * 2_000 + 2_000


def test_a_dictionary_is_held_beside_the_pages(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(TABLE.slice(0, 100), file, compression="none")
    assert 2 * 100 * 4_096 <= held(file)[0] <= 2 * 100 * 4_200 + 2_000


def test_a_header_longer_than_what_is_read_first_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(TABLE, file, use_dictionary=False)
    whole = held(file)
    monkeypatch.setattr(pages, "HEADER_BYTES", 1)
    assert held(file) == whole


def test_large_pages_are_refused_by_the_sample_and_by_the_scan_and_the_hint_mends_them(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES_BYTES", 3 * MIB)
    pq.write_table(TABLE, "a.parquet", use_dictionary=False)
    words = r"`a.parquet` has pages in row group 0 that take \d+ MiB of memory at once; ftagent reads up to 3 MiB"
    with pytest.raises(InputError, match=words) as caught:
        open_source(resolve_dataset("a.parquet", Settings()), Settings(), None, None)
    with pytest.raises(InputError, match=words):
        scan(["a.parquet"], "parquet")
    command = caught.value.hint.split("python -c ")[1].strip('"')
    subprocess.run([sys.executable, "-c", command], check=True)
    assert scan(["small-a.parquet"], "parquet").rows == 2_000


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=64))
def test_any_header_is_read_or_called_damaged(content: bytes) -> None:
    try:
        pages._Compact(content).struct()
    except (IndexError, ValueError):
        return


def test_where_a_header_is_damaged_the_footer_says_what_is_held_and_the_reader_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(TABLE, file, use_dictionary=False, compression="none")
    column = pq.read_metadata(file).row_group(0).column(0)
    content = bytearray(file.read_bytes())
    content[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    file.write_bytes(content)
    assert held(file)[0] == column.total_compressed_size + column.total_uncompressed_size
    with pytest.raises(InputError, match=r"`a.parquet` cannot be read to its end"):
        scan([str(file)], "parquet")
    with pytest.raises(InputError, match=r"cannot be loaded"):
        open_source(resolve_dataset(str(file), Settings()), Settings(), None, None)


def test_a_row_group_without_rows_holds_nothing(tmp_path: Path) -> None:
    pq.write_table(TABLE.slice(0, 0), tmp_path / "a.parquet")
    assert sum(held(tmp_path / "a.parquet")) < 1_000


def test_a_row_group_on_the_hub_that_calls_itself_small_costs_no_request(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    refuse_large_pages(
        "hf://datasets/owner/name/a.parquet", None, 0, pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    )


# --- memory, measured -------------------------------------------------------------------------------------------------

WRITE = """
import os, sys, pyarrow as pa, pyarrow.parquet as pq
size = int(sys.argv[2]) // 1_000
content = os.urandom(500 * size).hex()
table = pa.table({"text": [content[size * place : size * (place + 1)] for place in range(1_000)]})
del content
pq.write_table(table, sys.argv[1], compression=sys.argv[3], use_dictionary=False, write_batch_size=1_000)
"""
SAMPLE = """
import sys
from ftagent.tools.data.reading.sources import open_source, resolve_dataset
from ftagent.tools.settings import Settings
open_source(resolve_dataset(sys.argv[1], Settings(), hashed=False), Settings(), None, None)
"""
SCAN = """
import sys
from ftagent.tools.data.judging.scan import scan
assert scan([sys.argv[1]], "parquet", benchmarks=["humaneval"]).rows == 1_000
"""
PEAK = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
KIB = 1 if sys.platform == "linux" else 1_024


@pytest.mark.slow
@pytest.mark.parametrize("read", [SAMPLE, SCAN], ids=["sample", "scan"])
@pytest.mark.parametrize(
    ("unpacked", "compression"), [(MAX_PAGES_BYTES - 8 * MIB, "none"), (MAX_PAGES_BYTES * 3 // 5, "zstd")]
)
def test_a_page_as_large_as_is_read_stays_within_a_gibibyte(
    tmp_path: Path, read: str, unpacked: int, compression: str
) -> None:
    file = str(tmp_path / "a.parquet")
    subprocess.run([sys.executable, "-c", WRITE, file, str(unpacked), compression], check=True)
    done = subprocess.run([sys.executable, "-c", read + PEAK, file], check=True, capture_output=True, text=True)
    assert int(done.stdout) / KIB < MIB


@pytest.mark.slow
@pytest.mark.parametrize("read", [SAMPLE, SCAN], ids=["sample", "scan"])
def test_a_page_of_900_mb_is_refused_before_it_is_read(tmp_path: Path, read: str) -> None:
    file = str(tmp_path / "a.parquet")
    subprocess.run([sys.executable, "-c", WRITE, file, "900000000", "snappy"], check=True)
    tried = f"try:\n    exec({read!r})\nexcept Exception as error:\n    assert 'MiB of memory at once' in str(error)\n"
    done = subprocess.run(
        [sys.executable, "-c", tried + "else:\n    raise SystemExit('read')" + PEAK, file],
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) / KIB < MIB / 3
