"""What a completion says: its text, its final answer, its code. Emitted into training scripts."""

from __future__ import annotations

import ast
import json
import re
import unicodedata

# The last 10,000 characters are read for an answer: it stands at the end, and what reads it is slow on long texts.
TAIL = 10_000
ANSWER_IS = re.compile(r"\banswer\b(?:\s+is\b|[\s*]*[:=])[\s:*]*(\S[^\n]*)", re.IGNORECASE)
FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
DEFINES = re.compile(r"^(?:async def|def|class) ", re.MULTILINE)
SENTENCE_END = re.compile(r"[.!](?=\s)")
GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def completion_text(completion):
    """Return what a completion says, be it text or turns, whose content may be text, parts of text, or nothing."""
    if isinstance(completion, str):
        return completion
    contents = [turn.get("content") or "" for turn in completion if turn.get("role", "assistant") == "assistant"]
    parts = [part for content in contents for part in ([content] if isinstance(content, str) else content)]
    return "\n".join(part if isinstance(part, str) else part.get("text") or "" for part in parts)


def after_thinking(text):
    """Return what follows the thinking; nothing where the thinking never ends."""
    before, closed, after = text.rpartition("</think>")
    return after if closed else "" if "<think>" in before + after else text


def answer_in(text):
    """Return the part of a completion that answers: after the thinking, and inside of <answer> where it has that."""
    rest = after_thinking(text)[-TAIL:].strip()
    _, opened, inside = rest.rpartition("<answer>")
    return inside.partition("</answer>")[0].strip() if opened else rest


def final_answer(text):
    r"""Return the final answer: in \boxed{}, after ####, after "the answer is", or all there is, in this order."""
    rest = answer_in(text)
    if boxed := last_boxed(rest):
        return boxed
    if "####" in rest:
        return rest.rpartition("####")[2].strip().partition("\n")[0].strip()
    if found := ANSWER_IS.findall(rest):
        return found[-1].strip()
    return rest


def last_boxed(text):
    r"""Return what stands in the last \boxed{} or \fbox{}, with its own braces balanced; nothing where it is cut."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return ""
    first = text.index("{", start) + 1
    depth = 1
    for index in range(first, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return text[first:index].strip()
    return ""


def plain(value):
    """Return an answer without what makes no difference: case, width, marks around it, commas between thousands."""
    text = unicodedata.normalize("NFKC", str(value)).casefold()
    text = GROUPED.sub("", " ".join(text.split())).strip(" \t.!*_`'\"$“”‘’。")
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def code_in(text):
    """Return the code of a completion: its last fence that defines something, else its last fence, else all of it."""
    rest = after_thinking(text)
    fences = [code for language, code in FENCE.findall(rest) if language.lower() in ("", "python", "python3", "py")]
    defining = [code for code in fences if DEFINES.search(code)]
    return [rest, *fences, *defining][-1]


def check_of(tests, entry_point=None):
    """Return the check that tests are, in the shapes that datasets have; None where they are of no such shape.

    Asserts, as text or as a list (MBPP); `def check(candidate)` with an entry point (HumanEval); inputs and outputs of
    a script or of a function (APPS, TACO, codeforces), as a dict, a list of dicts, or their JSON.
    """
    if isinstance(tests, str):
        try:
            return check_of(json.loads(tests), entry_point)
        except ValueError:
            return asserts(code_in(tests), entry_point)
    if isinstance(tests, list) and tests and all(isinstance(test, str) for test in tests):
        return asserts("\n".join(tests), entry_point)
    if isinstance(tests, list) and tests and all(isinstance(test, dict) for test in tests):
        pairs = [(test.get("input"), test.get("output")) for test in tests]
    elif isinstance(tests, dict) and tests.get("inputs") and tests.get("outputs"):
        pairs = list(zip(tests["inputs"], tests["outputs"], strict=False))
        if name := tests.get("fn_name"):
            return "\n".join(f"assert {name}(*{given!r}) == {wanted!r}" for given, wanted in pairs)
    else:
        return None
    if not all(isinstance(text, str) for pair in pairs for text in pair):
        return None
    return "\n".join(f"assert run_program({given!r}).split() == {wanted.split()!r}" for given, wanted in pairs)


def asserts(source, entry_point):
    """Return source that checks something, as a check; None where it is no Python, or checks nothing."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return None
    if not any(isinstance(node, ast.Assert) for node in nodes):
        return None
    if not any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in nodes):
        return source
    if any(isinstance(node, ast.Call) and getattr(node.func, "id", None) == "check" for node in nodes):
        return source
    return f"{source}\ncheck({entry_point})" if entry_point else None
