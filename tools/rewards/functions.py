"""Reward functions as GRPOTrainer and RLOOTrainer call them (trl 1.16): columns by name, one number a completion.

They are emitted into training scripts, where they stand as they do here. A reward of None leaves a row out: its
reference is of no use. `prompt`, `completion` and `completion_ids` never reach a reward as columns of the data.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

from ..sandbox.checked import Limits, run_checked
from .answers import SENTENCE_END, answer_in, check_of, code_in, completion_text, final_answer, plain

# Thinking, which the chat template may have opened already, and then an answer in its tags.
THINK_THEN_ANSWER = r"(?:<think>)?(?:(?!</?think>).)*</think>\s*<answer>(?:(?!</?answer>).)+</answer>"


def exact_answer(completions, *, reference_column="answer", **columns):
    """Return 1 where the final answer is the reference, or one of several, but for case, marks and spaces."""
    rewards = []
    for completion, reference in zip(completions, columns[reference_column], strict=True):
        several = reference if isinstance(reference, list) else [reference]
        right = {plain(final_answer(str(answer))) for answer in several if answer is not None} - {""}
        said = final_answer(completion_text(completion))
        forms = {plain(said), plain(SENTENCE_END.split(said)[0])}
        rewards.append(float(bool(forms & right)) if right else None)
    return rewards


def math_equality(completions, *, reference_column="answer", **columns):
    """Return 1 where the final answer equals the reference mathematically, as math-verify judges; None without one."""
    from math_verify import verify

    seconds = alarm_seconds()
    parsed = {}
    rewards = []
    for completion, reference in zip(completions, columns[reference_column], strict=True):
        key = str(reference)
        if key not in parsed:
            parsed[key] = parse_math(final_answer(key), seconds) if reference is not None else []
        if not parsed[key]:
            rewards.append(None)
            continue
        said = parse_math(math_said(completion_text(completion)), seconds)
        rewards.append(float(bool(said) and verify(parsed[key], said, timeout_seconds=seconds)))
    return rewards


def math_said(text):
    """Return the words in which math-verify looks for an answer: the final one, where the completion marks one."""
    rest = answer_in(text)
    return final_answer(text) if "\\boxed{" in rest or "####" in rest else rest


def parse_math(text, seconds):
    """Return what math-verify reads in a text; what is neither a number nor marked as LaTeX is tried as LaTeX."""
    from math_verify import parse

    is_short = len(text) < 200 and "$" not in text and "\n" not in text
    forms = [f"${text}$", text] if is_short and re.search(r"[\\^=(){}\[\]]", text) else [text]
    return next((found for form in forms if (found := parse(form, parsing_timeout=seconds))), []) if text else []


def alarm_seconds():
    """Return math-verify's time limit: it is an alarm signal, which works in the main thread alone."""
    if threading.current_thread() is threading.main_thread():
        return 5
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of each call that has no limit
    return None


def code_passes_tests(
    completions, *, reference_column="tests", entry_point_column=None, item_seconds=10.0, weak_sandbox=False, **columns
):
    """Return 1 where the code of a completion passes the tests of its row, in the sandbox; None without tests.

    `entry_point_column` names the function that HumanEval's `check` is called with. `weak_sandbox` runs
    code where the machine grants no jail: see `run_checked`. Options have names that no column of data has.
    """
    names = columns[entry_point_column] if entry_point_column else [None] * len(completions)
    checks = [check_of(tests, name) for tests, name in zip(columns[reference_column], names, strict=True)]

    def reward(completion, check):
        if check is None:
            return None
        return float(
            run_checked(
                code_in(completion_text(completion)), check, Limits(seconds=item_seconds), weak=weak_sandbox
            ).passed
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(reward, completions, checks))


def format_matches(completions, *, form_pattern=THINK_THEN_ANSWER, **columns):
    """Return 1 where the whole completion has the form of a pattern, in which a dot matches line breaks too."""
    form = re.compile(form_pattern, re.DOTALL)
    return [float(bool(form.fullmatch(completion_text(completion).strip()))) for completion in completions]


def length_within(completions, *, completion_ids, least_tokens=1, most_tokens=512, **columns):
    """Return 1 where a completion has from `least_tokens` to `most_tokens`, and less the further it is away."""
    lengths = [len(ids) for ids in completion_ids]
    return [min(1.0, length / least_tokens, max(0.0, 2 - length / most_tokens)) for length in lengths]
