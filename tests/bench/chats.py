"""Two sets of chats about real code, drawn with a fixed seed: short ones, and rows of about a thousand tokens."""

from __future__ import annotations

import json
import random
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

SEED = 5
DOCSTRINGS = Path(__file__).resolve().parents[2] / "examples" / "docstrings.jsonl"
LONG_TOKENS = (900, 970)
"""Of a long row, without the template's some forty: nobody shall have to cut at 1,024."""
QUESTION_SHARE = 4
"""One part in so many of a long row is the question."""

Row = dict[str, Any]


class Chats(NamedTuple):
    """Rows to train on, and rows that nobody trains on."""

    train: list[Row]
    heldout: list[Row]


def short_chats(train: int, heldout: int) -> Chats:
    """Return chats that summarise a function, or write one from its summary: half of the rows each."""
    rows = [json.loads(line)["messages"] for line in DOCSTRINGS.read_text(encoding="utf-8").splitlines()]
    chosen = random.Random(SEED).sample(rows, train + heldout)
    chats = [_chat(*(_turned(turns) if place % 2 else _texts(turns))) for place, turns in enumerate(chosen)]
    return Chats(chats[:train], chats[train:])


def long_chats(train: int, heldout: int, tokenizer: Tokenizer) -> Chats:
    """Return chats that continue a module of Python's library, about a thousand tokens each."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    modules = [tokenizer.encode(file.read_text(encoding="utf-8")).ids for file in files]
    draw = random.Random(SEED)
    chats = []
    for ids in draw.sample([ids for ids in modules if len(ids) > 2 * max(LONG_TOKENS)], train + heldout):
        length = draw.randint(*LONG_TOKENS)
        start = draw.randrange(len(ids) - length)
        cut = start + length // QUESTION_SHARE
        question, answer = tokenizer.decode(ids[start:cut]), tokenizer.decode(ids[cut : start + length])
        chats.append(_chat(f"Continue this Python module.\n\n{question}", answer))
    return Chats(chats[:train], chats[train:])


def write_rows(path: Path, rows: list[Row]) -> Path:
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _texts(turns: list[dict[str, str]]) -> tuple[str, str]:
    return turns[0]["content"], turns[1]["content"]


def _turned(turns: list[dict[str, str]]) -> tuple[str, str]:
    question, summary = _texts(turns)
    return f"Write a Python function. {summary}", question.partition("\n\n")[2]


def _chat(question: str, answer: str) -> Row:
    """Return a row of which TRL, too, trains the answer alone by default."""
    return {"prompt": [{"role": "user", "content": question}], "completion": [{"role": "assistant", "content": answer}]}
