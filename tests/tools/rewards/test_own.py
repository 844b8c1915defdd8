"""A person's own reward function."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ftagent.tools.errors import InputError
from ftagent.tools.rewards.own import own_reward

GOOD = r'''
r"""Rewards of mine, with 'quotes', \back\slashes and 東京."""
import json, os.path
from numpy.linalg import norm
WEIGHT = 2.0

class Judge:
    def __call__(self, text):
        return WEIGHT * len(text)

def mine(completions, *, scale=1.0, answer, **kwargs):
    return [scale * Judge()(text) for text in completions]
'''


def test_its_columns_packages_and_hash_are_found(workdir: Path) -> None:
    (workdir / "rewards.py").write_text(GOOD, encoding="utf-8")
    own = own_reward("rewards.py:mine", workdir)
    assert (own.columns, own.packages) == (("answer",), ("numpy",))
    assert own.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert own.load()(["abc"], scale=0.5, answer=["x"]) == [3.0]


@pytest.mark.parametrize(
    ("source", "reference", "message"),
    [
        (GOOD, "rewards.py:yours", "defines no function `yours`.*it defines mine"),
        (GOOD, "rewards.py", "names no reward function"),
        (GOOD, "rewards.py:not a name", "names no reward function"),
        (GOOD, "other.py:mine", "cannot be read"),
        ("def mine(completions:\n", "rewards.py:mine", "cannot be read"),
        ("x = 1\n", "rewards.py:mine", "it defines no function"),
        ("def mine(completions):\n    return []\n", "rewards.py:mine", r"no `\*\*kwargs`.*def mine"),
        ("def mine(completions, /, **kwargs):\n    return []\n", "rewards.py:mine", "has a `/`"),
    ],
)
def test_what_trl_cannot_call_is_refused(workdir: Path, source: str, reference: str, message: str) -> None:
    (workdir / "rewards.py").write_text(source, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        own_reward(reference, workdir)


def test_a_file_that_fails_says_how(workdir: Path) -> None:
    (workdir / "rewards.py").write_text("def mine(completions, **kwargs):\n    return []\n\n1 / 0\n")
    with pytest.raises(InputError, match=r"cannot be run: ZeroDivisionError"):
        own_reward("rewards.py:mine", workdir).load()


@pytest.mark.parametrize(
    "text", [GOOD, GOOD + "# '''\n", GOOD + "# ends in a backslash \\", GOOD + "x = '"[:-1] + "'y'"]
)
def test_it_stands_in_a_script_word_for_word(workdir: Path, text: str) -> None:
    (workdir / "rewards.py").write_text(text, encoding="utf-8")
    own = own_reward("rewards.py:mine", workdir)
    space: dict[str, object] = {"own_reward": lambda name, source: source}
    exec(own.emitted(), space)
    assert str(space["own_mine"]).rstrip() == text.rstrip()
