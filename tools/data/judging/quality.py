"""What is wrong with rows although they train: near copies, damage, secrets, personal data, odd chats, dull answers.

Every finding here is a sentence for a person, with row numbers to look at. What could be meant is let through.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ...facts import Problem
from .checked import Checked, answer, texts, turns
from .near import near_copies
from .personal import personal_kinds
from .secret import secret_kinds

SHOWN_ROWS = 5

# What stands before the talk: `developer` is what OpenAI calls its system turns now.
FIRST_ROLES = ("system", "developer")
ANSWERING, ASKING = "assistant", "user"

# From four fifths on, saying the same thing always is the best that a model can learn; in a handful of rows it is not
# to be wondered at.
SAME_ANSWER_SHARE, SAME_ANSWER_ROWS = 0.8, 20

# One refusal may be meant; a hundredth of all answers is a habit that the tuned model takes over.
REFUSAL_SHARE, REFUSAL_ROWS = 0.01, 3
_CANNOT = r"(?:can['’]?t|cannot|am unable|am not able)"
_REFUSAL = re.compile(
    rf"(?:(?:i['’]?m|i am) (?:very |really |truly )?)?sorry,? (?:but )?(?:as an ai[^.\n]{{0,60}}, )?i {_CANNOT}\b"
    rf"|i {_CANNOT} (?:assist|help|comply|fulfill)\b"
    r"|as an ai(?: language)? (?:model|assistant)\b",
    re.IGNORECASE,
)

_HALF = re.compile("[\ud800-\udfff]")
# Not those that separate lines and pages, and not ESC: the output of a terminal is full of it.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")
_MOJIBAKE_CONTEXT, _MOJIBAKE_TRIES = 24, 5


def quality_problems(train: Sequence[Checked], heldout: Sequence[Checked]) -> tuple[Problem, ...]:
    """Say what a person should know about rows that a trainer takes.

    Rows that are equal to the letter are not looked for: whoever hashes them has them already.

    Args:
        train: The rows to train on, as the trainer will see them.
        heldout: The rows that the tuned model is compared on.
    """
    rows = [*train, *heldout]
    return (*_near(train, heldout), *_in_texts(rows), *_odd_order(rows), *_dull_answers(rows))


def _near(train: Sequence[Checked], heldout: Sequence[Checked]) -> Iterator[Problem]:
    copies, leaked = near_copies(train, heldout)
    yield from _problem(
        "near duplicates",
        copies,
        "Training rows that are another one but for a few words: keep one of each, or the model learns them by heart.",
    )
    yield from _problem(
        "near leakage",
        leaked,
        "Held-out rows that are a training row but for a few words: they flatter the result; hold out others.",
    )


def _in_texts(rows: Sequence[Checked]) -> Iterator[Problem]:
    """Read every row once, whatever its columns are."""
    finders = {"encoding damage": _damage, "secrets": secret_kinds, "personal data": personal_kinds}
    found: dict[str, list[tuple[int, list[str]]]] = {kind: [] for kind in finders}
    for row in rows:
        text = "\n".join(texts(list(row.columns.values())))
        for kind, find in finders.items():
            if names := find(text):
                found[kind].append((row.number, names))
    advice = {
        "encoding damage": "the model learns to write them; read the files as UTF-8, or mend the rows with `ftfy`.",
        "secrets": "a model can repeat them: take them out of the rows, and have them revoked.",
        "personal data": "a model can repeat them: take them out unless these people agreed.",
    }
    for kind, hits in found.items():
        counted = _counted(name for _, names in hits for name in names)
        yield from _problem(kind, [number for number, _ in hits], f"Rows with {counted}: {advice[kind]}")


def _damage(text: str) -> list[str]:
    """Return the kinds of damage that decoding bytes wrongly has left in a text."""
    plain = text.isascii()
    found = {
        "replacement characters": not plain and "\ufffd" in text,
        "broken characters (lone surrogates)": not plain and _HALF.search(text),
        "control characters": _CONTROL.search(text),
        "text decoded wrongly, such as `Ã©` for `é`": not plain and _is_mojibake(text),
    }
    return [name for name, there in found.items() if there]


def _is_mojibake(text: str) -> bool:
    """Whether ftfy finds characters that hardly stand together, and taking the wrong decoding back removes them."""
    from ftfy import fix_encoding
    from ftfy.badness import BADNESS_RE, is_bad

    for tries, bad in enumerate(BADNESS_RE.finditer(text)):
        if tries == _MOJIBAKE_TRIES:
            break
        around = text[max(0, bad.start() - _MOJIBAKE_CONTEXT) : bad.end() + _MOJIBAKE_CONTEXT]
        mended = fix_encoding(around)
        if mended != around and not is_bad(mended):
            return True
    return False


def _odd_order(rows: Sequence[Checked]) -> Iterator[Problem]:
    hits = [(row.number, odd) for row in rows if (odd := sorted({o for chat in _chats(row) for o in _oddities(chat)}))]
    counted = _counted(name for _, names in hits for name in names)
    detail = f"Chats with {counted}: many chat templates refuse them or train on the wrong turns; mend or drop them."
    yield from _problem("odd role order", [number for number, _ in hits], detail)


def _chats(row: Checked) -> list[list[str]]:
    """Return who speaks, turn by turn, in each chat of a row; an answer follows its prompt."""
    roles = {name: [_speaker(turn) for turn in turns(cell)] for name, cell in row.columns.items()}
    before = [ASKING] if isinstance(row.columns.get("prompt"), str) else roles.get("prompt", [])
    ends = [roles[name] for name in ("completion", "chosen", "rejected") if roles.get(name)]
    return [roles["messages"]] if roles.get("messages") else [before + end for end in ends or [[]]]


def _speaker(turn: dict[str, object]) -> str:
    """Return the role, and for an assistant that calls a tool what it does: another answer may follow that."""
    return "call" if turn["role"] == ANSWERING and turn.get("tool_calls") else str(turn["role"])


def _oddities(roles: Sequence[str]) -> Iterator[str]:
    talk = [role for role in roles if role not in FIRST_ROLES]
    if any(role in FIRST_ROLES for role in roles[1:]):
        yield "a system turn that is not the first"
    if talk and talk[0] in (ANSWERING, "call"):
        yield "an answer before any question"
    pairs = set(pairwise(talk))
    if (ANSWERING, ANSWERING) in pairs:
        yield "two answers in a row"
    if (ASKING, ASKING) in pairs:
        yield "two questions in a row"


def _dull_answers(rows: Sequence[Checked]) -> Iterator[Problem]:
    answers = [(row.number, text) for row in rows if (text := " ".join(answer(row.columns).split()).casefold())]
    alike: dict[str, list[int]] = defaultdict(list)
    for number, text in answers:
        alike[text].append(number)
    most = max(alike.values(), key=len, default=[])
    if len(most) >= max(SAME_ANSWER_ROWS, SAME_ANSWER_SHARE * len(answers)):
        share = len(most) / len(answers)
        detail = (
            f"{share:.0%} of the answers are one and the same: the model learns to say it always; balance the rows."
        )
        yield from _problem("answers nearly all the same", most, detail)
    refusals = [number for number, text in answers if _REFUSAL.match(text)]
    if len(refusals) >= max(REFUSAL_ROWS, REFUSAL_SHARE * len(answers)):
        detail = "Answers that begin by refusing: the model learns to refuse as often; drop them unless that is wanted."
        yield from _problem("refusals", refusals, detail)


def _problem(kind: str, rows: Sequence[int], detail: str) -> Iterator[Problem]:
    if rows:
        first = tuple(sorted(rows)[:SHOWN_ROWS])
        yield Problem(kind=kind, count=len(rows), detail=detail, rows=first)


def _counted(names: Iterator[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in Counter(names).most_common())
