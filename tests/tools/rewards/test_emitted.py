"""Rewards as a training script carries them: alone, in the house's format, and as TRL's trainers call them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ftagent.tools.data.shaping import filters, holdouts, mappings, turns
from ftagent.tools.emitting import definitions
from ftagent.tools.rewards import answers, functions
from ftagent.tools.rewards.own import own_reward
from ftagent.tools.rewards.table import REWARDS, RewardChoice, emitted_rewards
from ftagent.tools.sandbox import checked

REFERENCES = {"code_passes_tests": "tests", "math_equality": "answer", "exact_answer": "answer"}
ALL = tuple(
    RewardChoice(
        name=name,
        reason="a test",
        options={"reference_column": REFERENCES[name]} if name in REFERENCES else {},
    )
    for name in REWARDS
)


def script(choices: tuple[RewardChoice, ...], rest: str = "") -> str:
    emitted = emitted_rewards(choices)
    return "\n".join(["from __future__ import annotations", "", *emitted.imports, "", emitted.source, "", rest])


def own(folder: Path) -> RewardChoice:
    (folder / "rewards.py").write_text(
        "import re\n\ndef mine(completions, **kwargs):\n    return [0.5] * len(completions)\n"
    )
    return RewardChoice(name="mine", reason="stated", own=own_reward("rewards.py:mine", folder))


@pytest.mark.parametrize("choices", [(choice,) for choice in ALL] + [ALL, "own"], ids=[*REWARDS, "all", "own"])
def test_each_keeps_the_rules_of_the_house(choices: Any, tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(script((own(tmp_path),) if choices == "own" else choices) + "\n", encoding="utf-8")
    ruff, config = Path(sys.executable).with_name("ruff"), Path(__file__).parents[3] / "pyproject.toml"
    subprocess.run([str(ruff), "format", "--config", str(config), str(file)], check=True, capture_output=True)
    done = subprocess.run([str(ruff), "check", "--config", str(config), str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_they_give_the_same_alone(tmp_path: Path) -> None:
    use = """
import sys
said = ["The answer is 42.", "def f():\\n    return 42", "<think>a</think><answer>41</answer>", r"\\boxed{42}"]
given = {"answer": ["42"] * 4, "tests": [["assert f() == 42"]] * 4, "completion_ids": [[0] * 600] * 4}
sys.stdout.write(str([[round(value, 2) for value in reward(completions=said, **given)] for reward in rewards]))
"""
    pytest.importorskip("math_verify")
    file = tmp_path / "script.py"
    file.write_text(script((*ALL, own(tmp_path)), use), encoding="utf-8")
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=tmp_path)
    expected = [[1, 0, 0, 1], [1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0.83] * 4, [0.5] * 4]
    assert json.loads(done.stdout) == expected, done.stderr


def test_only_what_is_needed_is_carried() -> None:
    emitted = emitted_rewards((RewardChoice(name="format_matches", reason="a test"),))
    assert "run_checked" not in emitted.source
    assert "math_verify" not in emitted.source
    assert emitted.packages == ()
    assert emitted_rewards(ALL).packages == ("math-verify[antlr4-13-2]",)


def test_no_name_is_one_of_the_functions_that_prepare_data() -> None:
    """They stand in the same script."""
    mine, others = (
        {name for module in modules for name, _ in definitions(inspect.getsource(module))}
        for modules in ((answers, functions, checked), (turns, holdouts, filters, mappings))
    )
    assert not mine & others


TRAINS = """
import sys
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from tokenizers import Tokenizer, models, pre_tokenizers
from trl import {method}Config, {method}Trainer

set_seed(0)
words = ["<pad>", "<eos>", *(chr(n) for n in range(32, 127))]
bare = Tokenizer(models.WordLevel({{word: n for n, word in enumerate(words)}}, unk_token="<pad>"))
bare.pre_tokenizer = pre_tokenizers.Split("", "isolated")
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, pad_token="<pad>", eos_token="<eos>")
config = LlamaConfig(
    vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
    pad_token_id=0, eos_token_id=1, bos_token_id=1,
)
rows = [{{"prompt": f"{{n}}+{{n}}", "answer": str(2 * n), "tests": ["assert f() == 1"]}} for n in range(4)]
trainer = {method}Trainer(
    model=LlamaForCausalLM(config),
    processing_class=tokenizer,
    reward_funcs=rewards,
    args={method}Config(
        output_dir=sys.argv[1], max_steps=1, per_device_train_batch_size=4, num_generations=2, report_to="none",
        max_completion_length=8, logging_steps=1, bf16=False, use_cpu=True, save_strategy="no", beta=0.0,
    ),
    train_dataset=Dataset.from_list(rows),
)
trainer.train()
sys.stdout.write(" ".join(sorted(name for name in trainer.state.log_history[0] if name.endswith("/mean"))))
"""


@pytest.mark.parametrize("method", ["GRPO", "RLOO"])
def test_trls_trainer_calls_them_all(method: str, tmp_path: Path) -> None:
    pytest.importorskip("math_verify")
    file = tmp_path / "script.py"
    text = script((*ALL, own(tmp_path)), TRAINS.format(method=method))
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, str(file), str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
    for name in (*REWARDS, "mine"):
        assert f"rewards/{name}/mean" in done.stdout, done.stderr[-3000:]
