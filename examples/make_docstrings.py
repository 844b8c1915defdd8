"""Make `docstrings.jsonl`: short functions of the standard library, each with the first paragraph of its docstring.

    python examples/make_docstrings.py [--out PATH]

One chat row a function: its source without the docstring is the question, the docstring's first paragraph in one line
is the answer. Whole modules are held out (`HELD_OUT_MODULES`), so no test row has a neighbour among the training rows.
The same Python always makes the same bytes; another version has another library, so its rows may differ. The committed
file was made by Python 3.11. Its text is Python's own: Copyright Python Software Foundation, PSF License.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sysconfig
import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef
Row = dict[str, Any]

INSTRUCTION = "Summarise this Python function in one sentence."

# Picked by hand to hold out all sorts: text, files, numbers, network, language. A list, since a hold-out by hash or by
# position would move whenever a module comes or goes.
HELD_OUT_MODULES = frozenset(
    """
    ast base64 bisect calendar cgi configparser datetime dis fnmatch fractions getpass heapq http.cookies
    importlib.util ipaddress locale mimetypes operator pathlib pprint pstats random shelve statistics symtable textwrap
    timeit tracemalloc urllib.robotparser uuid weakref
    """.split()  # noqa: SIM905 (a list literal would take one line a name)
)

# Left out whole: tests, programs, and what only some installations have.
SKIPPED_FOLDERS = frozenset(
    """
    __pycache__ dist-packages distutils ensurepip idlelib lib2to3 lib-dynload msilib pydoc_data site-packages test
    tests tkinter turtledemo venv
    """.split()  # noqa: SIM905 (a list literal would take one line a name)
)

TRAIN_ROWS, TEST_ROWS = 180, 60
# Characters, since this script knows no tokenizer. With SmolLM2's tokenizer and chat template these bounds make rows
# of 75 to 164 tokens, 108 on average (measured).
SOURCE_CHARACTERS = range(90, 280)
ANSWER_CHARACTERS = range(32, 180)
# A sentence in plain words: not a signature, a doctest, a field list or a list of values.
SENTENCE = re.compile(r"[A-Z][a-z]*\b(?!\()[^>:]* [^>:]*\.")


def main() -> None:
    """Write the file and say how many rows it has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("docstrings.jsonl"))
    out: Path = parser.parse_args().out
    rows = make_rows(Path(sysconfig.get_paths()["stdlib"]))
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    test_rows = sum(row["split"] == "test" for row in rows)
    print(f"{out}: {len(rows) - test_rows} train and {test_rows} test rows")


def make_rows(library: Path) -> list[Row]:
    """Return the rows made from the Python files below `library`, train before test."""
    by_module: dict[str, list[Row]] = {}
    seen: set[str] = set()
    for module, file in sorted(python_modules(library)):
        for name, source, answer in functions(file.read_text(encoding="utf-8")):
            if source not in seen and answer not in seen:
                seen |= {source, answer}
                by_module.setdefault(module, []).append(chat_row(module, name, source, answer))
    train = [rows for module, rows in by_module.items() if module not in HELD_OUT_MODULES]
    test = [rows for module, rows in by_module.items() if module in HELD_OUT_MODULES]
    return take_turns(train, TRAIN_ROWS) + take_turns(test, TEST_ROWS)


def python_modules(library: Path) -> Iterator[tuple[str, Path]]:
    """Yield dotted name and file of every public module."""
    for file in library.rglob("*.py"):
        parts = [part for part in file.relative_to(library).with_suffix("").parts if part != "__init__"]
        if not SKIPPED_FOLDERS.intersection(parts) and not any(part.startswith("_") for part in parts):
            yield ".".join(parts), file


def functions(module_source: str) -> Iterator[tuple[str, str, str]]:
    """Yield qualified name, source without docstring and summary of each public function that makes a good row."""
    lines = module_source.splitlines()
    for name, function in public_functions(ast.parse(module_source).body):
        answer = summary(function)
        source = without_docstring(function, lines)
        if (
            SENTENCE.fullmatch(answer)
            and (answer + source).isascii()
            and len(answer) in ANSWER_CHARACTERS
            and len(source) in SOURCE_CHARACTERS
        ):
            yield name, source, answer


def public_functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield the public functions of a module and the public methods of its public classes."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if isinstance(node, ast.ClassDef):
                yield from public_functions(node.body, f"{prefix}{node.name}.")
            else:
                yield prefix + node.name, node


def summary(function: Function) -> str:
    """Return the first paragraph of the docstring in one line, or nothing."""
    docstring = ast.get_docstring(function) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def without_docstring(function: Function, lines: list[str]) -> str:
    """Return the source of a function, dedented and without its docstring; nothing when it does nothing."""
    docstring, *code = function.body
    if docstring.lineno == function.lineno or all(isinstance(node, ast.Pass | ast.Raise) for node in code):
        return ""
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    kept = lines[first - 1 : docstring.lineno - 1] + lines[docstring.end_lineno : function.end_lineno]
    return textwrap.dedent("\n".join(kept)).strip()


def chat_row(module: str, name: str, source: str, answer: str) -> Row:
    """Return one chat with where it comes from and the side it is on."""
    return {
        "messages": [
            {"role": "user", "content": f"{INSTRUCTION}\n\n{source}"},
            {"role": "assistant", "content": answer},
        ],
        "source": f"{module}.{name}",
        "split": "test" if module in HELD_OUT_MODULES else "train",
    }


def take_turns(modules: list[list[Row]], limit: int) -> list[Row]:
    """Return the first row of every module, then the second of every module, and so on up to `limit`, by source."""
    rows = [row for turn in zip_longest(*modules) for row in turn if row is not None]
    return sorted(rows[:limit], key=lambda row: row["source"])


if __name__ == "__main__":
    main()
