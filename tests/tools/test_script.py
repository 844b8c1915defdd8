from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ftagent.tools.errors import GateClosed, InputError, ToolError
from ftagent.tools.facts import DatasetRef, Holdout, Method, ModelRef, Range, Reward
from ftagent.tools.rendering import LAYERS, literal, render, template_of
from ftagent.tools.run import Run
from ftagent.tools.script import script_is_unchanged, write_script
from hypothesis import given, settings
from hypothesis import strategies as st

from .methods import METHODS, run_of
from .scripted import settled_run

CONSTANTS = {
    node.targets[0].id
    for node in ast.parse(template_of("sft")).body
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
}

HOSTILE = (
    '"; import os; os.system("id") #',
    "'''\n\"\"\"\nimport os\n",
    "a\\",
    "{MODEL}",
    "# noqa: E501 \r\n\x0c\x00\u2028\ud800",
    "/a folder/" + "long name 'quoted' " * 20,
    "模型" * 80,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return settled_run(tmp_path)


def text_of(run: Run) -> str:
    return (run.folder / "train.py").read_text(encoding="utf-8")


def value_of(text: str, name: str) -> Any:
    """Return what a constant of the script means to Python."""
    assigned = [n for n in ast.parse(text).body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == name]
    return ast.literal_eval(assigned[0].value)


def parameter(run: Run, name: str, **arguments: Any) -> tuple[Any, str]:
    found = next(p for p in write_script(run, **arguments).parameters if p.name == name)
    return found.value, found.origin


def skeleton(text: str) -> str:
    """Return the syntax tree with the constants emptied."""
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in CONSTANTS:
            node.value = ast.Constant(0)
    return ast.dump(tree)


def hostile_run(run: Run, text: str) -> Run:
    """Put `text` wherever a name of the person's ends up in the script."""
    assert run.spec is not None and run.dataset is not None
    loader = {"path": text, "data_files": {text: [text, text]}, "limit": 3, "header": None, "strict": True}
    spec = run.spec.model_copy(
        update={
            "model": text,
            "model_ref": ModelRef(id=text, source="hub", path=None, revision=text),
            "dataset_ref": DatasetRef(id=text, source="hub", revision=text, loader=loader),
        }
    )
    dataset = run.dataset.model_copy(update={"split": text, "trainer_columns": (text, text)})
    return run.model_copy(update={"spec": spec, "dataset": dataset})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return settled_run(tmp_path_factory.mktemp("shared"))


@settings(max_examples=50, deadline=None)
@given(text=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=200)))
def test_hostile_names_change_nothing_but_literals(shared: Run, text: str) -> None:
    write_script(shared)
    plain = text_of(shared)
    write_script(hostile_run(shared, text))
    written = text_of(shared)
    compile(written, "train.py", "exec")
    assert skeleton(written) == skeleton(plain)
    assert value_of(written, "MODEL") == value_of(written, "SPLIT") == text
    assert value_of(written, "LOADER")["data_files"] == {text: [text, text]}


def ruff(text: str, *arguments: str) -> str:
    """Return what ruff has against a script that lies among the templates."""
    where = ("--no-cache", "--stdin-filename", "tools/templates/train.py", "-")
    command = [sys.executable, "-m", "ruff", *arguments, *where]
    done = subprocess.run(
        command, input=text, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_a_script_with_hostile_names_passes_our_own_lint(run: Run, name: str) -> None:
    write_script(hostile_run(run, name))
    assert not ruff(text_of(run), "check")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_s_script_passes_our_own_lint_and_its_template_is_in_our_format(
    tmp_path: Path, method: Method
) -> None:
    write_script(run := run_of(method, tmp_path))
    assert not ruff(text_of(run), "check")
    plain = render(template_of(method), {}, "rewards = []\nhold_out, why_not, mapping = None, None, None")
    assert not ruff(plain, "format", "--diff")
    assert f"{LAYERS[method][1]}Trainer(" in text_of(run)
    assert "# <" not in text_of(run)


def test_a_method_that_learns_from_rewards_is_refused_without_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="grpo needs a reward"):
        write_script(run_of("grpo", tmp_path, dataset={"rewards": ()}))


def test_a_reward_whose_file_was_changed_since_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def score(completions, **columns):\n    return [0.0]\n", encoding="utf-8")
    reward = Reward(name="score", reason="as stated", own=f"{tmp_path}/own.py:score", sha256="0" * 64)
    with pytest.raises(InputError, match="changed since the data was judged"):
        write_script(run_of("grpo", tmp_path, dataset={"rewards": (reward,)}))


def test_what_a_reward_needs_is_pinned(tmp_path: Path) -> None:
    reward = Reward(name="math_equality", reason="test", options={"reference_column": "answer"})
    script = write_script(run_of("grpo", tmp_path, dataset={"rewards": (reward,)}))
    assert f"math-verify[antlr4-13-2]=={version('math-verify')}" in script.pins


def test_the_same_inputs_give_the_same_bytes(run: Run) -> None:
    first, text = write_script(run), text_of(run)
    assert write_script(run) == first
    assert text_of(run) == text


def test_every_parameter_stands_in_the_script_as_it_is_reported(run: Run) -> None:
    script = write_script(run, overrides={"seed": 7})
    assert {p.name: p.value for p in script.parameters} == {
        p.name: value_of(text_of(run), p.name.upper()) for p in script.parameters
    }


def test_what_was_stated_wins_over_every_rule(tmp_path: Path) -> None:
    stated = {"learning_rate": 1e-5, "num_train_epochs": 3.0, "r": 4, "max_steps": 12}
    run = settled_run(tmp_path, overrides=stated)
    assert all(parameter(run, name) == (value, "stated") for name, value in stated.items())
    assert parameter(run, "lora_alpha") == (8, "rule")


def test_rows_that_were_asked_for_are_parameters_and_no_others_are(tmp_path: Path, run: Run) -> None:
    assert not {p.name for p in write_script(run).parameters} & {"max_train_samples", "sampling"}
    settled = settled_run(tmp_path / "few", overrides={"max_train_samples": 0.5, "sampling": "first"})
    assert parameter(settled, "max_train_samples") == (0.5, "stated")
    assert value_of(text_of(settled), "SAMPLING") == "first"


def test_a_planner_may_set_what_nobody_stated(run: Run) -> None:
    assert parameter(run, "learning_rate", overrides={"learning_rate": "1e-4"}) == (1e-4, "rule")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"lr": 1}, "known: learning_rate"),
        ({"max_length": 99}, "settled by pick_hardware"),
        ({"seed": "many"}, "`many` is no seed"),
        ({"learning_rate": 1e-3}, "the person stated learning_rate 1e-05"),
    ],
)
def test_an_override_that_cannot_be_is_refused(tmp_path: Path, overrides: dict[str, Any], says: str) -> None:
    run = settled_run(tmp_path, overrides={"learning_rate": 1e-5})
    with pytest.raises(ToolError, match=says):
        write_script(run, overrides=overrides)
    assert not (run.folder / "train.py").exists()


def test_training_all_weights_takes_the_full_learning_rate_and_no_rank(tmp_path: Path) -> None:
    script = write_script(settled_run(tmp_path, hardware={"adapter": "full"}))
    values = {p.name: p.value for p in script.parameters}
    assert values["learning_rate"] == 2e-5
    assert "r" not in values


def test_a_rank_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="trains all weights"):
        write_script(settled_run(tmp_path, overrides={"r": 8}, hardware={"adapter": "full"}))
    with pytest.raises(ToolError, match="trains all weights"):
        write_script(settled_run(tmp_path, hardware={"adapter": "full"}), overrides={"lora_alpha": 8})


@pytest.mark.parametrize(("rows", "rate"), [(300, 3e-4), (3000, 2e-4)])
def test_lora_learns_faster_in_short_runs(tmp_path: Path, rows: int, rate: float) -> None:
    assert parameter(settled_run(tmp_path, dataset={"rows": rows}), "learning_rate")[0] == rate


@pytest.mark.parametrize(("steps", "ratio"), [(1, 0.0), (33, 0.0), (34, 0.03)])
def test_no_step_is_spent_on_a_warm_up_of_one(tmp_path: Path, steps: int, ratio: float) -> None:
    assert parameter(settled_run(tmp_path, overrides={"max_steps": steps}), "warmup_steps")[0] == ratio


@pytest.mark.parametrize("rows", [24, 300, 100_000])
def test_a_run_logs_twenty_to_a_hundred_points_where_it_has_the_steps(tmp_path: Path, rows: int) -> None:
    steps = (rows - 4) // 4
    points = steps / parameter(settled_run(tmp_path, dataset={"rows": rows}), "logging_steps")[0]
    assert min(steps, 20) <= points <= 100


def test_a_long_run_saves_about_every_half_hour(tmp_path: Path) -> None:
    run = settled_run(tmp_path, hardware={"hours": Range(low=3, expected=5, high=8)})
    assert parameter(run, "eval_steps")[0] == 0.1


def test_the_pins_are_the_installed_versions_without_local_parts(run: Run) -> None:
    script = write_script(run)
    installed = {name: version(name).split("+")[0] for name in ("torch", "trl", "transformers", "peft", "datasets")}
    assert {f"{name}=={pin}" for name, pin in installed.items()} <= set(script.pins)
    assert all(f'#     "{pin}",\n' in text_of(run) for pin in script.pins)


def test_qlora_pins_bitsandbytes_too(tmp_path: Path) -> None:
    names = [pin.split("==")[0] for pin in write_script(settled_run(tmp_path, hardware={"adapter": "qlora"})).pins]
    assert "bitsandbytes" in names
    assert names == sorted(names)


def test_a_model_of_the_hub_is_named_by_id_and_revision_on_another_machine(tmp_path: Path) -> None:
    cached = ModelRef(id="org/model", source="cache", path="/cache/model", revision="abc")
    write_script(run := settled_run(tmp_path, spec={"model_ref": cached, "backend": "hf-jobs"}))
    assert value_of(text_of(run), "MODEL") == "org/model"
    assert value_of(text_of(run), "REVISION") == "abc"
    assert value_of(text_of(run), "HUB_MODEL_ID") == f"acme/tiny-chats-sft-{run.id}"


def test_teacher_and_rewards_count_when_a_checkpoint_is_looked_at(tmp_path: Path) -> None:
    teachers = {
        revision: ModelRef(id="org/teacher", source="hub", path=None, revision=revision) for revision in ("a", "b")
    }
    rewards = [Reward(name="exact_answer", reason="", options={"reference_column": c}) for c in ("answer", "right")]
    runs = [
        *(run_of("distillation", tmp_path / name, spec={"teacher_ref": teacher}) for name, teacher in teachers.items()),
        *(run_of("grpo", tmp_path / str(n), dataset={"rewards": (reward,)}) for n, reward in enumerate(rewards)),
        run_of("sft", tmp_path / "sft"),
    ]
    for one in runs:
        write_script(one)
    found = [value_of(text_of(one), "LEARNS_FROM") for one in runs]
    assert found[:2] == ["org/teacher at a", "org/teacher at b"]
    assert found[2] != found[3] and found[2].startswith("rewards sha256:")
    assert found[4] is None


def test_metrics_go_to_the_space_that_the_settings_name_and_never_in_a_rehearsal(tmp_path: Path) -> None:
    run = settled_run(tmp_path)
    run = run.record(run.settings.model_copy(update={"trackio_space": "tester/metrics"}))
    write_script(run)
    text = text_of(run)
    assert value_of(text, "TRACKIO_SPACE_ID") == "tester/metrics"
    chosen = next(line for line in text.splitlines() if line.startswith("space_id = "))
    for environ, expected in (({}, "tester/metrics"), ({"FTAGENT_MODEL": "twin"}, None)):
        known: dict[str, Any] = {"os": SimpleNamespace(environ=environ), "TRACKIO_SPACE_ID": "tester/metrics"}
        exec(chosen, known)
        assert known["space_id"] == expected


def test_a_script_for_this_machine_pushes_nothing(run: Run) -> None:
    write_script(run)
    assert value_of(text_of(run), "HUB_MODEL_ID") is None


def test_data_without_a_holdout_trains_on_all_rows(tmp_path: Path) -> None:
    write_script(run := settled_run(tmp_path, dataset={"holdout": None, "mapping": None, "filter": None}))
    assert "\nhold_out, why_not, mapping = None, None, None\n" in text_of(run)


def test_a_holdout_that_does_not_exist_is_a_bug(tmp_path: Path) -> None:
    run = settled_run(tmp_path, dataset={"holdout": Holdout(function="os.system", rows=1, reason="")})
    with pytest.raises(KeyError):
        write_script(run)


def test_a_plan_that_was_never_resolved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="not resolved"):
        write_script(settled_run(tmp_path, spec={"model_ref": None}))


def test_nothing_is_written_before_the_hardware_is_chosen(run: Run) -> None:
    with pytest.raises(GateClosed, match="no hardware"):
        write_script(run.model_copy(update={"hardware": None}))


def test_a_script_that_somebody_edited_counts_as_changed(run: Run) -> None:
    assert not script_is_unchanged(run)
    run = run.record(write_script(run))
    assert script_is_unchanged(run)
    with (run.folder / "train.py").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert not script_is_unchanged(run)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), object(), {"a": b"bytes"}])
def test_a_value_that_is_no_literal_is_refused(value: object) -> None:
    with pytest.raises(ToolError, match="cannot stand in a script"):
        literal(value)


def test_a_parameter_that_the_template_does_not_know_is_a_bug() -> None:
    with pytest.raises(KeyError):
        render("# <functions>\n\n# </functions>\n", {"UNKNOWN": 1}, "")
