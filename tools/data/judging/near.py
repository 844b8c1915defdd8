"""Rows that are nearly copies of other rows: MinHash finds candidates, and their word 5-grams decide.

Two rows are near copies when four fifths of their 5-grams are common, as in Lee et al., "Deduplicating Training Data
Makes Language Models Better" (https://arxiv.org/abs/2107.06499). Two things keep that honest for instruction data:
5-grams that many rows share are a template, and say nothing about a row; and answers have to be alike by themselves,
since one long question with two different answers is two examples. Not covered: a row that more than a tenth of the
set repeats with small changes, for that cannot be told from a template.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .checked import Checked, answer, texts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WORDS = 5
SIMILARITY = 0.8

# 25 bands of 5 values find a pair with four fifths in common in 99.995 % of all cases: 1 - (1 - 0.8^5)^25.
BANDS, BAND_VALUES = 25, 5

# Estimates from 125 values are off by 0.036 (one standard error): what seems this far below is not compared exactly.
WORTH_COMPARING = SIMILARITY - 0.1
CANDIDATES = 8

# 5-grams in more than a tenth of the rows are a template; in a small set, more than ten rows have to share them.
TEMPLATE_SHARE, TEMPLATE_ROWS = 0.1, 10

# Scripts without spaces (Thai, Lao, kana, CJK, Hangul) count by character; marks count, or 3 - 5 would equal 3 + 5.
_DENSE = r"\u0e00-\u0eff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_DENSE}]|[^\W{_DENSE}]+|[^\w\s]")
_END = "\n"  # closes a part, so that a short one has 5-grams too; no token is white space
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd and without pattern (2^64 over the golden ratio), so that order counts


def near_copies(train: Sequence[Checked], heldout: Sequence[Checked]) -> tuple[list[int], list[int]]:
    """Find the training rows that nearly copy an earlier one, and the held-out rows that nearly copy a training row.

    Rows that are equal to the letter are counted by nobody here: they are not near copies.

    Returns:
        The row numbers of both.
    """
    trained: dict[str, Checked] = {}
    for row in train:
        trained.setdefault(repr(row.columns), row)
    rows = [*trained.values(), *(row for row in heldout if repr(row.columns) not in trained)]
    copies = _copies(rows, len(trained)) if rows else []
    first = sum(index < len(trained) for index in copies)
    numbers = [rows[index].number for index in copies]
    return numbers[:first], numbers[first:]


def _copies(rows: Sequence[Checked], trained: int) -> list[int]:
    """Return the rows that are alike to one kept before; kept are training rows that are alike to none."""
    grams = _own_grams(rows)
    signatures = _signatures(grams)
    kept: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    copies = []
    for index, signature in enumerate(signatures):
        if not len(grams[index]):
            continue
        bands = [(band, values.tobytes()) for band, values in enumerate(signature.reshape(BANDS, BAND_VALUES))]
        found = dict.fromkeys(other for band in bands if band in kept for other in kept[band][:CANDIDATES])
        near = [i for i in list(found)[:CANDIDATES] if (signatures[i] == signature).mean() >= WORTH_COMPARING]
        if any(
            _similarity(set(grams[index].tolist()), set(grams[other].tolist())) >= SIMILARITY
            and _similarity(_answer_grams(rows[index]), _answer_grams(rows[other])) >= SIMILARITY
            for other in near
        ):
            copies.append(index)
        elif index < trained:
            for band in bands:
                kept[band].append(index)
    return copies


def _similarity(one: set[Any], other: set[Any]) -> float:
    """Return the Jaccard index: what is common over what there is."""
    return len(one & other) / len(one | other) if one or other else 1.0


def _signatures(grams: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint32]:
    import numpy as np
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

    offsets = np.cumsum([0, *map(len, grams)]).tolist()
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(grams), offsets, num_perm=BANDS * BAND_VALUES, seed=1
    )
    return np.array(matrix.to_rows(), dtype=np.uint32)


def _tokens(text: str) -> list[str]:
    """Return the words of a text, closed so that a short one has 5-grams too: as many as it has words."""
    words = _TOKEN.findall(text.lower())
    return [*words, *[_END] * (WORDS - 1)] if words else []


def _answer_grams(row: Checked) -> set[tuple[str, ...]]:
    """Return the 5-grams of a row's answer, or of both that it compares; another label makes another answer."""
    compared = [row.columns.get(name) for name in ("chosen", "rejected")]
    words = _tokens("\n".join([answer(row.columns), *texts(compared), str(row.columns.get("label", ""))]))
    return set(zip(*(words[place:] for place in range(WORDS)), strict=False))


def _own_grams(rows: Sequence[Checked]) -> list[NDArray[np.uint64]]:
    """Return the 5-grams of each row, as hashes, without those of templates."""
    import numpy as np

    unique = [np.unique(grams) for grams in _hashed_grams(rows)]
    _, places, times = np.unique(np.concatenate(unique), return_inverse=True, return_counts=True)
    own = times[places] <= max(TEMPLATE_ROWS, TEMPLATE_SHARE * len(rows))
    masks = np.split(own, np.cumsum([len(grams) for grams in unique])[:-1])
    return [grams[mask] for grams, mask in zip(unique, masks, strict=True)]


def _hashed_grams(rows: Sequence[Checked]) -> list[NDArray[np.uint64]]:
    import numpy as np

    ids: defaultdict[str, int] = defaultdict()
    ids.default_factory = ids.__len__
    flat: list[int] = []
    counts = []
    for row in rows:
        words = _tokens("\n".join(texts(list(row.columns.values()))))
        flat.extend(map(ids.__getitem__, words))
        counts.append(len(words))
    random = np.random.default_rng(1).integers(0, 2**64 - 1, len(ids), dtype=np.uint64)
    words = random[np.array(flat, dtype=np.int64)]
    grams = np.zeros(max(0, len(words) - WORDS + 1), dtype=np.uint64)
    for place in range(WORDS):
        grams = grams * _MULTIPLIER + words[place : place + len(grams)]
    ends = np.cumsum(counts)
    return [grams[end - count : max(end - WORDS + 1, end - count)] for end, count in zip(ends, counts, strict=True)]
