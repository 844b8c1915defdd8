"""Which columns of a dataset the rows are made from, as the mapping itself shows."""

from __future__ import annotations

from typing import Any

import datasets
import pytest
from ftagent.tools.data.judging.side import columns_read, read_side
from ftagent.tools.data.reading.sample import numbered
from ftagent.tools.data.shaping.shapes import Shape, recognise
from ftagent.tools.facts import Method

CHATS = [[{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": f"a{n}"}] for n in range(4)]


@pytest.mark.parametrize(
    ("method", "columns", "read"),
    [
        ("sft", {"conversations": CHATS, "id": [1, 2, 3, 4]}, ("conversations",)),
        ("sft", {"question": ["q"] * 4, "answer": ["a"] * 4, "id": [1, 2, 3, 4]}, ("answer", "question")),
        (
            "dpo",
            {
                "prompt": ["q1", "q2", "q3", "q4"],
                "response_0": ["a"] * 4,
                "response_1": ["b"] * 4,
                "better_response_id": [0, 1, 0, 1],
                "id": [1, 2, 3, 4],
            },
            ("better_response_id", "prompt", "response_0", "response_1"),
        ),
        ("grpo", {"question": ["q"] * 4, "tests": ["t"] * 4, "id": [1, 2, 3, 4]}, ("id", "question", "tests")),
    ],
)
def test_the_columns_that_rows_are_made_from(method: Method, columns: dict[str, Any], read: tuple[str, ...]) -> None:
    rows = datasets.Dataset.from_dict(columns)
    shape = recognise(rows.column_names, rows.to_list(), method)
    assert isinstance(shape, Shape), shape
    side = read_side(numbered(rows, range(4)), 4, shape)
    assert set(read) <= set(columns_read(side, shape)) <= {*read, *(set(columns) - {"id"})}
