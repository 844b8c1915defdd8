"""What an instruction says is read as it was said, in any order and wording."""

from __future__ import annotations

from typing import Any

import pytest
from ftagent.tools.words import read_words
from hypothesis import given
from hypothesis import strategies as st

DEMO = (
    "fine-tune SmolLM2-135M-Instruct on examples/docstrings.jsonl, compare it with the base model and export it to GGUF"
)


@pytest.mark.parametrize(
    ("text", "model", "dataset"),
    [
        (DEMO, "SmolLM2-135M-Instruct", "examples/docstrings.jsonl"),
        ("fine-tune Qwen3-0.6B on open-r1/codeforces-cots", "Qwen3-0.6B", "open-r1/codeforces-cots"),
        ("Please finetune the model Qwen/Qwen3-0.6B with my data data/train.csv", "Qwen/Qwen3-0.6B", "data/train.csv"),
        ("use the dataset a-b/c to fine-tune SmolLM2-135M", "SmolLM2-135M", "a-b/c"),
        ("train a LoRA of meta-llama/Llama-3.2-1B on gsm8k with GRPO", "meta-llama/Llama-3.2-1B", "gsm8k"),
        ("DPO SmolLM2-135M using trl-lib/ultrafeedback_binarized", "SmolLM2-135M", "trl-lib/ultrafeedback_binarized"),
        ("Trainiere Qwen3-0.6B auf meine-daten.jsonl", "Qwen3-0.6B", "meine-daten.jsonl"),
        ("entraîne SmolLM2-135M-Instruct sur docs.jsonl et compare", "SmolLM2-135M-Instruct", "docs.jsonl"),
        ("fine-tune ./my-model on 'my data.jsonl' locally", "./my-model", "my data.jsonl"),
        ("fine-tune gpt2 on imdb", "gpt2", "imdb"),
        ("sft qwen3-0.6b on data.jsonl on a T4 for $2.50", "qwen3-0.6b", "data.jsonl"),
        ("full fine-tuning of SmolLM2-360M on tatsu-lab/alpaca", "SmolLM2-360M", "tatsu-lab/alpaca"),
        ("make me a better model", None, None),
        ("", None, None),
    ],
)
def test_names_are_found(text: str, model: str | None, dataset: str | None) -> None:
    reading = read_words(text)
    assert (reading.model, reading.dataset) == (model, dataset)


@pytest.mark.parametrize(
    ("text", "teacher", "student"),
    [
        ("distil Qwen3-4B into Qwen3-0.6B on prompts.jsonl", "Qwen3-4B", "Qwen3-0.6B"),
        ("distill ./big-model to tiny-model using prompts.jsonl", "./big-model", "tiny-model"),
        ("train SmolLM2-135M on prompts.jsonl with org/Big-7B as the teacher", "org/Big-7B", "SmolLM2-135M"),
        ("train SmolLM2-135M on prompts.jsonl, teacher: Qwen3-4B", "Qwen3-4B", "SmolLM2-135M"),
    ],
)
def test_who_teaches_and_who_learns_is_found(text: str, teacher: str, student: str) -> None:
    reading = read_words(text)
    assert reading.overrides == {"teacher": teacher}
    assert (reading.model, reading.dataset, reading.method) == (student, "prompts.jsonl", "distillation")


@pytest.mark.parametrize(
    ("said", "name", "value"),
    [
        ("2 epochs", "num_train_epochs", 2.0),
        ("for two epochs", "num_train_epochs", 2.0),
        ("0.5 epochs", "num_train_epochs", 0.5),
        ("epochs=3", "num_train_epochs", 3.0),
        ("3 Epochen", "num_train_epochs", 3.0),
        ("500 steps", "max_steps", 500),
        ("lr 1e-4", "learning_rate", 1e-4),
        ("a learning rate of 2e-5", "learning_rate", 2e-5),
        ("learning_rate=0.0003", "learning_rate", 3e-4),
        ("rank 64", "r", 64),
        ("beta 0.04", "beta", 0.04),
        ("temperature 0.7", "temperature", 0.7),
        ("4 generations", "num_generations", 4),
        ("8 completions per prompt", "num_generations", 8),
        ("num_generations=16", "num_generations", 16),
        ("completions of at most 64 tokens", "max_completion_length", 64),
        ("max completion length 1k", "max_completion_length", 1024),
        ("with reward exact answer", "rewards", ("exact_answer",)),
        ("rewarded by ./rewards.py:score and format_matches", "rewards", ("./rewards.py:score", "format_matches")),
        ("with teacher org/Big-7B", "teacher", "org/Big-7B"),
        ("r=8", "r", 8),
        ("alpha 32", "lora_alpha", 32),
        ("batch size 4", "per_device_train_batch_size", 4),
        ("gradient accumulation 8", "gradient_accumulation_steps", 8),
        ("max length 4k", "max_length", 4096),
        ("max_length=2048", "max_length", 2048),
        ("context length of 8,192", "max_length", 8192),
        ("seed 7", "seed", 7),
        ("with packing", "packing", True),
        ("no packing", "packing", False),
        ("with QLoRA", "adapter", "qlora"),
        ("with LoRA", "adapter", "lora"),
        ("full fine-tuning", "adapter", "full"),
        ("as Q8_0 and q4_k_m", "quantisations", ("Q8_0", "Q4_K_M")),
        ("evaluate on HumanEval and gsm8k", "benchmarks", ("humaneval", "gsm8k")),
    ],
)
def test_a_stated_value_is_read(said: str, name: str, value: Any) -> None:
    assert read_words(f"fine-tune Qwen3-0.6B on a/b, {said}").overrides[name] == value


@pytest.mark.parametrize("said", ["budget $5", "for at most 5 dollars", "under $5", "budget of 5", "$5.00 max"])
def test_a_budget_is_read(said: str) -> None:
    assert read_words(f"fine-tune Qwen3-0.6B on a/b {said}").budget_usd == 5.0


def test_numbers_inside_names_are_no_values() -> None:
    reading = read_words("fine-tune org/model-3-epochs-r8 on org/batch-size-4-seed-7")
    assert (reading.model, reading.dataset) == ("org/model-3-epochs-r8", "org/batch-size-4-seed-7")
    assert reading.overrides == {}


@pytest.mark.parametrize("twice", ["2 epochs and 3 epochs", "lr 1e-4, lr 2e-4", "full fine-tuning with lora"])
def test_a_contradiction_becomes_a_question(twice: str) -> None:
    assert read_words(f"fine-tune Qwen3-0.6B on a/b, {twice}").questions


@pytest.mark.parametrize("said", ["without evaluation", "don't evaluate", "no evaluation"])
def test_a_target_that_is_ruled_out_is_refused(said: str) -> None:
    reading = read_words(f"fine-tune Qwen3-0.6B on a/b, {said}, export to gguf")
    assert (reading.targets, reading.refused_targets) == (("export",), ("evaluate",))


def test_everything_may_be_ruled_out() -> None:
    reading = read_words("fine-tune Qwen3-0.6B on a/b, no evaluation and no export")
    assert (reading.targets, set(reading.refused_targets)) == ((), {"evaluate", "export"})


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    read_words(text)


# Written after the patterns, in the wordings of other people; half of them were read wrongly at first.
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Bitte das Modell Qwen3-1.7B auf daten.csv trainieren, Lernrate 5e-5, 4 Epochen, nicht exportieren",
            {"dataset": "daten.csv", "learning_rate": 5e-5, "num_train_epochs": 4, "refused": ("export",)},
        ),
        (
            "J'aimerais entraîner Qwen3-0.6B avec LoRA sur « mes données.jsonl », 2 époques, budget de 4 dollars",
            {"dataset": "mes données.jsonl", "adapter": "lora", "num_train_epochs": 2, "budget_usd": 4},
        ),
        (
            "Quiero afinar SmolLM2-360M con datos.jsonl, tasa de aprendizaje 1e-5, rango 8, y comparar con el base",
            {"dataset": "datos.jsonl", "learning_rate": 1e-5, "r": 8, "targets": ("evaluate",)},
        ),
        (
            "用我的数据 data/train.jsonl 对 Qwen/Qwen3-4B 做 DPO，学习率为5e-6，训练两轮",
            {"model": "Qwen/Qwen3-4B", "method": "dpo", "learning_rate": 5e-6, "num_train_epochs": 2},
        ),
        (
            "Qwen3-0.6Bをdata.jsonlで学習率2e-4、3エポック、評価なしで学習して",
            {"dataset": "data.jsonl", "learning_rate": 2e-4, "num_train_epochs": 3, "refused": ("evaluate",)},
        ),
        (
            "data.jsonl로 SmolLM2-135M을 학습률 1e-4, 배치 크기 2, 3 에포크로 학습해 줘. 내보내기 없이",
            {"learning_rate": 1e-4, "per_device_train_batch_size": 2, "num_train_epochs": 3, "refused": ("export",)},
        ),
        (
            "Обучи модель Qwen3-0.6B на данных data.jsonl: 3 эпохи, скорость обучения 1e-4, без экспорта",
            {"dataset": "data.jsonl", "learning_rate": 1e-4, "num_train_epochs": 3, "refused": ("export",)},
        ),
        (
            "Wytrenuj Qwen3-0.6B na data.jsonl przez 2 epoki, budżet 5 dolarów, bez eksportu",
            {"dataset": "data.jsonl", "num_train_epochs": 2, "budget_usd": 5, "refused": ("export",)},
        ),
        (
            "run sft for Qwen3-0.6B, data in train.parquet, bs 8, lr 2e-4, ctx 4k, no eval",
            {"dataset": "train.parquet", "max_length": 4096, "learning_rate": 2e-4, "refused": ("evaluate",)},
        ),
        (
            "Take my-org/tickets and make a LoRA (rank 16) on top of Qwen/Qwen3-8B; spend no more than $12",
            {"model": "Qwen/Qwen3-8B", "dataset": "my-org/tickets", "r": 16, "budget_usd": 12},
        ),
        (
            "fine-tune Qwen3-0.6B on a.jsonl without evaluation or export",
            {"refused": ("evaluate", "export"), "targets": ()},
        ),
        (
            "train Qwen3-0.6B on a.jsonl and evaluate on HumanEval, don't export to gguf",
            {"benchmarks": ("humaneval",), "targets": ("evaluate",), "refused": ("export",)},
        ),
        (
            "Trainiere Qwen3-0.6B auf a.jsonl für höchstens 3 Stunden und 1.000 Schritte",
            {"max_hours": 3, "max_steps": 1000},
        ),
        ("sft Qwen3-0.6B on a.jsonl, budget 2,50 dollars", {"budget_usd": 2.5}),
        ("sft Qwen3-0.6B on a.jsonl, budget $1,000.50", {"budget_usd": 1000.5}),
        ("sft Qwen3-0.6B on a.jsonl with a cosine schedule", {"lr_scheduler_type": "cosine", "targets": ()}),
    ],
)
def test_other_wordings_and_languages_are_read(text: str, said: dict[str, Any]) -> None:
    reading = read_words(text)
    found = {**vars(reading), **reading.overrides, "refused": reading.refused_targets}
    assert {name: found.get(name) for name in said} == said
    assert reading.questions == []


# As before: of these, half were read wrongly when they were written.
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Please take meta-llama/Llama-3.2-1B-Instruct and teach it my_chats.jsonl with QLoRA rank 32, alpha 64, "
            "two epochs at 2e-4; don't spend more than ten dollars",
            {"adapter": "qlora", "r": 32, "lora_alpha": 64, "learning_rate": 2e-4, "budget_usd": 10},
        ),
        (
            "I want a reward model from Qwen/Qwen2.5-0.5B-Instruct trained on trl-lib/ultrafeedback_binarized, seed 7",
            {"model": "Qwen/Qwen2.5-0.5B-Instruct", "dataset": "trl-lib/ultrafeedback_binarized", "method": "reward"},
        ),
        (
            "run GRPO with Qwen2.5-1.5B-Instruct on openai/gsm8k (main config) on an a100-large, at most 3 hours",
            {"dataset": "openai/gsm8k", "subset": "main", "flavor": "a100-large", "max_hours": 3},
        ),
        (
            "fine tune qwen3 0.6b on codeforces-cots, then gguf it",
            {"model": "qwen3-0.6b", "dataset": "codeforces-cots"},
        ),
        (
            "LoRA-tune llama 3.1 8b instruct on databricks-dolly-15k under $8 with lr=2e-4 r=8",
            {"model": "llama-3.1-8b-instruct", "dataset": "databricks-dolly-15k", "budget_usd": 8, "r": 8},
        ),
        ("fine-tune the 0.6B Qwen3 on acme/notes", {"model": "Qwen3-0.6B", "dataset": "acme/notes"}),
        ("train Qwen3-0.6B with dataset=acme/chat-logs adapter=full", {"dataset": "acme/chat-logs", "adapter": "full"}),
        (
            "fine-tune with QLoRA: model=Qwen/Qwen3-14B, data=acme/notes, gpu=l40s, cost<=$10",
            {"model": "Qwen/Qwen3-14B", "dataset": "acme/notes", "flavor": "l40s", "budget_usd": 10},
        ),
        (
            "tune microsoft/phi-4 on acme/notes with 8k tokens context, gradient checkpointing, warmup 3%, dropout 5%",
            {"max_length": 8192, "gradient_checkpointing": True, "warmup_steps": 0.03, "lora_dropout": 0.05},
        ),
        ("continue pretraining SmolLM2-135M on wiki.txt, block size 512", {"dataset": "wiki.txt", "max_length": 512}),
        (
            "fine-tune Qwen3-0.6B on open-r1/codeforces-cots but only the python subset, 4-bit, on my own machine",
            {"subset": "python", "adapter": "qlora", "backend": "local"},
        ),
        (
            "fine-tune Qwen3-0.6B on acme/notes, then quantize to 4 bit gguf",
            {"quantisations": ("Q4_K_M",), "adapter": None},
        ),
        ("fine-tune Qwen3-0.6B on acme/notes but never on the test split", {"split": None}),
        ("fine-tune Qwen3-0.6B on acme/notes, evaluate on the test split", {"split": None, "targets": ("evaluate",)}),
        ("fine-tune Qwen3-0.6B on acme/notes in half an hour for 50 cents", {"max_hours": 0.5, "budget_usd": 0.5}),
        ("fine-tune Qwen3-0.6B on acme/notes; I've got 90 minutes and 2 bucks", {"max_hours": 1.5, "budget_usd": 2}),
        ("fine-tune Qwen3-0.6B on acme/notes over the weekend", {"trigger": None, "targets": ()}),
        ("what would it cost to fine-tune Qwen3-8B on acme/notes?", {"plan_only": True, "model": "Qwen3-8B"}),
        ("just validate acme/notes for Qwen3-0.6B, don't train", {"plan_only": True, "dataset": "acme/notes"}),
        ("train Qwen3-0.6B on acme/notes, and don't train on the test rows", {"plan_only": False}),
        (
            "SFT of SmolLM2-360M on acme/notes, bs 8, ga 4, 3ep, lr=2e-5, cosine",
            {"gradient_accumulation_steps": 4, "num_train_epochs": 3.0, "lr_scheduler_type": "cosine"},
        ),
        ("fine-tune Qwen3-4B on acme/notes split_0, fp32", {"subset": "split_0", "split": None, "precision": "fp32"}),
        ("GRPO on openai/gsm8k main with Qwen2.5-1.5B", {"dataset": "openai/gsm8k", "subset": "main"}),
        ("fine-tune Qwen3-0.6B on acme/notes on 8xH100 in bf16", {"flavor": "h100x8", "precision": "bf16"}),
        ("fine-tune Qwen3-0.6B on acme/notes using two L4 gpus", {"flavor": "l4x2"}),
        (
            "fine-tune Qwen3-0.6B on acme/notes, bf16, export Q4_K_M, Q8_0, BF16",
            {"precision": "bf16", "quantisations": ("Q4_K_M", "Q8_0", "BF16")},
        ),
        ("fine-tune Qwen3-0.6B on acme/notes, export a bf16 gguf", {"precision": None, "quantisations": ("BF16",)}),
        (
            "fine-tune Qwen3-0.6B on acme/notes for 500 steps with 50 warmup steps",
            {"max_steps": 500, "warmup_steps": 50},
        ),
        (
            "train Qwen3-0.6B on acme/codeforces-cots (solutions_py) for half an epoch with a rank of sixteen",
            {"dataset": "acme/codeforces-cots", "subset": "solutions_py", "num_train_epochs": 0.5, "r": 16},
        ),
        ("请用 acme/notes 微调 Qwen3-0.6B,3 轮,预算 5 美元", {"num_train_epochs": 3.0, "budget_usd": 5.0}),
        (
            "fine-tune Qwen3-0.6B on acme/notes with batch size 2 x 8 accumulation",
            {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
        ),
        ("fine-tune Qwen3-0.6B on acme/notes, a warm-up of 100 steps", {"max_steps": None, "warmup_steps": 100}),
        (
            "fine-tune Qwen 3 0.6B on https://huggingface.co/datasets/acme/notes/tree/main",
            {"model": "Qwen3-0.6B", "dataset": "acme/notes"},
        ),
    ],
)
def test_wordings_of_a_third_hand_are_read(text: str, said: dict[str, Any]) -> None:
    reading = read_words(text)
    found = {**vars(reading), **reading.overrides}
    assert {name: found.get(name) for name in said} == said
    assert (reading.questions, reading.unread) == ([], ())


@pytest.mark.parametrize(
    ("said", "unread"),
    [
        ("hold out 5%", "hold out 5%"),
        ("evaluate every 200 steps", "evaluate every 200 steps"),
        ("save every 100 steps", "save every 100 steps"),
        ("target modules q_proj and v_proj", "target modules q_proj"),
        ("effective batch size 64", "effective batch size 64"),
        ("using unsloth", "unsloth"),
        ("with adamw_8bit and early stopping", "early stopping"),
        ("lora on attention layers only", "attention layers only"),
        ("neftune noise 5 and label smoothing 0.1", "neftune noise 5"),
        ("hold out 5000 rows", "hold out 5000 rows"),
        ("push it to acme/other-name", "acme/other-name"),
    ],
)
def test_what_nobody_understood_is_said(said: str, unread: str) -> None:
    reading = read_words(f"fine-tune Qwen3-0.6B on a/b, {said}")
    assert any(unread in part for part in reading.unread)
    assert "max_steps" not in reading.overrides


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("fine-tune Qwen3-0.6B and SmolLM2-135M on a.jsonl", "`Qwen3-0.6B` and `SmolLM2-135M` are both named"),
        ("fine-tune Qwen3-0.6B on a.jsonl, then compare it with Qwen3-1.7B", "are both named: which one is the model"),
        ("fine-tune Qwen3-0.6B on a.jsonl and b.csv", "`a.jsonl` and `b.csv` are both named: which one is the dataset"),
        ("fine-tune Qwen3-0.6B on a.jsonl, evaluate it, no evaluation", "evaluate is asked for and ruled out"),
        ("fine-tune Qwen3-0.6B on a.jsonl, budget 5元", "how much is `5 元` in US dollars"),
    ],
)
def test_two_things_in_one_place_are_a_question(text: str, asked: str) -> None:
    assert any(asked in question for question in read_words(text).questions)


def test_a_name_that_is_said_again_is_no_second_one() -> None:
    reading = read_words("fine-tune Qwen3-0.6B on a.jsonl; Qwen/Qwen3-0.6B is the base, and a.jsonl the data")
    assert (reading.model, reading.dataset, reading.questions) == ("Qwen3-0.6B", "a.jsonl", [])


def test_an_ordinary_word_behind_data_is_no_dataset() -> None:
    for text in ("fine-tune Qwen3-0.6B on the best data you can find", "fine-tune Qwen3-0.6B on customer chats"):
        assert read_words(text).dataset is None
