"""What makes a GGUF file a bad one, fault by fault; the rest of exported.py is shown by the exports themselves."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ftagent.tools.llama_cpp import step_for

TEMPLATES = str(files("ftagent.tools.templates"))
ANSWER = {"tokens": list(range(104)), "start": 4}
REFERENCE = {"perplexity": 10.0, "template": "{{ messages }}", "answers": [ANSWER]}
GOOD = {
    "perplexity": 10.2,
    "perplexity_error": 0.0,
    "agreement": 0.97,
    "template": "{{ messages }}",
    "special": True,
    "same_tokens": 1.0,
    "answer": "4",
    "stopped": True,
    "asked": 1,
}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module, which finds its neighbours as it does when it runs."""
    monkeypatch.syspath_prepend(TEMPLATES)
    return importlib.import_module("exported")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"template": "{{ other }}"}, "chat template is not the tokenizer's"),
        ({"template": ""}, "chat template is not the tokenizer's"),
        ({"special": False}, "special tokens are not the tokenizer's"),
        ({"same_tokens": 0.5}, "cuts 50 % of the held-out rows into other tokens"),
        ({"answer": "", "asked": 3}, "answered 3 questions with nothing"),
        ({"stopped": False, "asked": 3}, "did not stop within 256 tokens on 3 questions"),
        (
            {"perplexity": 11.0},
            "its perplexity is 11, the merged model's 10: 1.1 times (± 0.0 %), where Q8_0 may have 1.08",
        ),
        ({"perplexity": 9.0}, "0.9 times"),
        ({"perplexity": float("nan")}, "nan times"),
        ({"perplexity": float("inf")}, "inf times"),
        ({"agreement": 0.9}, "says other tokens than the merged model in 10 of 100 places, where Q8_0 may in 7 %"),
    ],
)
def test_each_fault_fails_the_file(exported: ModuleType, fault: dict[str, Any], says: str) -> None:
    assert exported.failure(GOOD, REFERENCE, step_for("Q8_0"), 256) is None
    assert says in exported.failure(GOOD | fault, REFERENCE, step_for("Q8_0"), 256)


def test_a_coarser_file_may_stray_further_and_two_near_ties_fail_none(exported: ModuleType) -> None:
    assert exported.failure(GOOD | {"perplexity": 11.0}, REFERENCE, step_for("Q4_K_M"), 256) is None
    short = REFERENCE | {"answers": [{"tokens": list(range(12)), "start": 4}]}
    assert exported.failure(GOOD | {"agreement": 0.75}, short, step_for("Q8_0"), 256) is None
    assert "in 3 of 8 places" in exported.failure(GOOD | {"agreement": 5 / 8}, short, step_for("Q8_0"), 256)


def test_few_rows_fail_a_file_only_where_chance_could_not(exported: ModuleType) -> None:
    strays = GOOD | {"perplexity": 12.0}
    assert exported.failure(strays | {"perplexity_error": 0.06}, REFERENCE, step_for("Q8_0"), 256) is None
    said = exported.failure(strays | {"perplexity_error": 0.05}, REFERENCE, step_for("Q8_0"), 256)
    assert "1.2 times (± 10.0 %)" in said


def test_the_error_of_a_ratio_is_that_of_its_rows(exported: ModuleType) -> None:
    proof = importlib.import_module("proof")
    rows = [{"measured": [0] * 11, "nats": 20.0}, {"measured": [0] * 21, "nats": 40.0}]
    assert proof.standard_error(rows, [21.0, 42.0]) == pytest.approx(0.0)  # each token lost the same
    assert proof.standard_error(rows, [20.0, 43.0]) == pytest.approx(2**0.5 * 2**0.5 / 30)  # residuals -1 and 1
    assert proof.standard_error(rows[:1], [25.0]) == 0.0


def test_a_model_without_a_chat_template_needs_none(exported: ModuleType) -> None:
    plain = REFERENCE | {"template": None}
    assert exported.failure(GOOD | {"template": "llama.cpp's own"}, plain, step_for("Q8_0"), 256) is None


def test_a_second_export_waits_for_what_a_killed_one_has_left(exported: ModuleType, tmp_path: Path) -> None:
    with exported.alone_in(tmp_path) as lock:
        step = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock])
    try:
        waits = f"import sys; sys.path.insert(0, {TEMPLATES!r}); import exported, pathlib\n"
        waits += f"with exported.alone_in(pathlib.Path({str(tmp_path)!r})): print('in', flush=True)"
        with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE, text=True) as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(timeout=1)
            step.kill()
            step.wait()
            assert second.stdout is not None and second.stdout.read() == "in\n"
    finally:
        step.kill()
        step.wait()


def test_weights_beyond_float16_are_not_put_into_it(exported: ModuleType, tmp_path: Path) -> None:
    request = {"folder": str(tmp_path), "name": "x", "rows": [], "importance": False}
    maker = exported.Maker(request, exported.Steps(tmp_path, 0))
    maker.reference = {"largest_weight": 70000.0}
    with pytest.raises(exported.Unproven, match=r"its largest weight is 7e\+04, which float16 cannot hold"):
        maker.write(tmp_path / "x-F16.gguf", step_for("F16"))


def test_what_a_killed_export_left_is_removed_and_finished_files_stay(exported: ModuleType, tmp_path: Path) -> None:
    left = ["intermediate.gguf", "intermediate.part", "x-Q8_0.unproven.gguf", ".reference.part", ".merge.py.request"]
    kept = ["x-Q4_K_M.gguf", "x-Q4_K_M.Modelfile", "x.imatrix.gguf", ".reference.json"]
    for name in [*left, *kept]:
        (tmp_path / name).write_text("", encoding="utf-8")
    exported.clean(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*kept}
