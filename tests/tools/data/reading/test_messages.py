"""How much memory record batches take is read from their messages: those of real files, and damaged ones."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ftagent.tools.data.judging.scan import scan
from ftagent.tools.data.reading import messages
from ftagent.tools.data.reading.sources import open_source, resolve_dataset
from ftagent.tools.errors import InputError
from ftagent.tools.settings import Settings

TEXTS = [f"{random.Random(number).getrandbits(8_000):x}" for number in range(400)]
COLUMNS = {
    "text": pa.array(TEXTS),
    "turns": pa.array([[{"role": "user", "content": text}] for text in TEXTS]),
    "kind": pa.array(TEXTS).dictionary_encode(),
    "view": pa.array(TEXTS, pa.string_view()),
}
BATCH = pa.record_batch(COLUMNS)


def write(file: Path, batch: pa.RecordBatch, compression: str | None = None, new: Any = pa.ipc.new_stream) -> Path:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(file), "wb") as sink, new(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
        if "view" not in batch.schema.names:  # a slice of a view is written with all that it views
            writer.write_batch(batch.slice(0, 1))
    return file


def opened(file: Path) -> None:
    open_source(resolve_dataset(str(file), Settings()), Settings(), None, None)


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_large_record_batch_is_refused_and_one_within_the_limit_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: Any, compression: str | None, column: str
) -> None:
    batch = BATCH.select([column])
    file = write(tmp_path / "a.arrow", batch, compression, new)
    packed = file.stat().st_size
    assert batch.nbytes > 700_000
    held = packed + batch.nbytes if compression else packed
    monkeypatch.setattr(messages, "MAX_BATCH_BYTES", 3 * held // 4)
    with pytest.raises(InputError, match=r"`a.arrow` has a record batch that takes \d+ MiB of memory"):
        scan([str(file)], "arrow")
    monkeypatch.setattr(messages, "MAX_BATCH_BYTES", 5 * held // 4)
    assert scan([str(file)], "arrow").rows >= 400


def test_the_sample_refuses_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.arrow", BATCH.select(["text"]), "zstd")
    opened(file)
    monkeypatch.setattr(messages, "MAX_BATCH_BYTES", 500_000)
    with pytest.raises(InputError, match="has a record batch that takes"):
        opened(file)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_message_is_an_error_in_words(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    content = bytearray(write(tmp_path / "a.arrow", BATCH.slice(0, 2), "zstd").read_bytes())
    for _ in range(8):
        content[draw.randrange(min(len(content), 1_500))] = draw.randrange(256)
    (tmp_path / "a.arrow").write_bytes(content)
    try:
        scan([str(tmp_path / "a.arrow")], "arrow")
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["None", "'zstd'"])
def test_record_batches_as_large_as_are_read_stay_within_a_gibibyte(tmp_path: Path, compression: str) -> None:
    write_batches = f"""
import os, pyarrow as pa
options = pa.ipc.IpcWriteOptions(compression={compression})
schema = pa.schema([("text", pa.string())])
size = {messages.MAX_BATCH_BYTES * (95 if compression == "None" else 60) // 100_000}
with pa.ipc.new_stream({str(tmp_path / "a.arrow")!r}, schema, options=options) as writer:
    for _ in range(4):
        content = os.urandom(500 * size).hex()
        texts = pa.array([content[size * place : size * (place + 1)] for place in range(1_000)])
        writer.write_batch(pa.record_batch([texts], schema=schema))
"""
    read = f"""
import resource
from ftagent.tools.data.judging.scan import scan
assert scan([{str(tmp_path / "a.arrow")!r}], "arrow", benchmarks=["humaneval"]).rows == 4_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    subprocess.run([sys.executable, "-c", write_batches], check=True)
    done = subprocess.run([sys.executable, "-c", read], check=True, capture_output=True, text=True)
    kib = int(done.stdout) if sys.platform == "linux" else int(done.stdout) / 1_024
    assert kib < 2**20
