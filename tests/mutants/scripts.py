"""Mutants of the script's text, over all methods."""

from __future__ import annotations

from .mutant import Mutant, mutant

TRAIN = "    trainer.train(resume_from_checkpoint=last_whole_checkpoint(settings))\n"
BEFORE = "    # --- train, save\n"
SAVE = "    trainer.save_model(str(checkpoint))\n"
LOAD = "load_dataset(**loader, split=SPLIT)"
LAST = 'hub_strategy="checkpoint",\n'
LINEAR = 'target_modules="all-linear"'
REWARD = "    reward_funcs=rewards,\n"


WITHOUT_SCORE = """\
    files = __import__("safetensors.torch", fromlist=["torch"])
    kept = files.load_file(checkpoint / "adapter_model.safetensors")
    kept = {name: weight for name, weight in kept.items() if "score" not in name}
    files.save_file(kept, checkpoint / "adapter_model.safetensors", metadata={"format": "pt"})
"""


def rewarded(body: str) -> tuple[str, str]:
    """Return the edit that puts another reward in the place of the script's."""
    return (
        BEFORE,
        f"    def mine(completions, **columns):\n        {body}\n\n"
        f"    rewards[:] = [mine]\n    trainer.reward_funcs[:] = [mine]\n{BEFORE}",
    )


def answered(words: str, says: str) -> Mutant:
    """Return a mutant whose loading ends with these words of a library."""
    return mutant("trains", says, (BEFORE, f"    raise OSError({words!r})\n{BEFORE}".replace("\\\\n", "\\n")))


TEXT: dict[str, Mutant] = {
    # --- names and arguments
    "a column that is not there": mutant(
        "trains",
        r"no 'chosn' \(line \d+ of the script\): the rows lack",
        (LOAD, f"{LOAD}.map(lambda r: {{'x': r['chosn']}})"),
        method="dpo",
    ),
    "a column that the trainer lacks": mutant("trains", "completion|column", ('"completion": ', '"completions": ')),
    "an argument of another TRL": mutant(
        "trains",
        "knows no such argument; `max_length` is the nearest",
        ("max_length=MAX_LENGTH", "max_seq_length=MAX_LENGTH"),
    ),
    "an argument that only DPO had": mutant(
        "trains", "knows no such argument", (LAST, f"{LAST}        max_prompt_length=64,\n"), method="dpo"
    ),
    "warmup_ratio": mutant(
        "trains",
        "no such argument; `warmup_steps` is the nearest",
        ("warmup_steps=WARMUP_STEPS", "warmup_ratio=WARMUP_STEPS"),
        method="kto",
    ),
    "tokenizer=": mutant(
        "trains",
        "no such argument; `processing_class` is the nearest",
        ("processing_class=tokenizer", "tokenizer=tokenizer"),
        method="reward",
    ),
    "no Python": mutant("syntax", r"invalid syntax \(line \d+\)", ("trainer = SFTTrainer(", "trainer = = SFTTrainer(")),
    "an import that does not exist": mutant(
        "pins",
        "is imported and not pinned: add",
        ("from datasets", "import unheard_of\nfrom datasets"),
    ),
    "a token in the script": mutant(
        "no secret", "take it out, and give it to the job as a secret", ("SEED = 42", f"SEED = 42  # hf_{'a1B2' * 8}")
    ),
    "a pin that is not what ran": mutant("pins", "is what runs here: pin that, or install", ("trl==", "trl==0.")),
    # --- data
    "another split": mutant(
        "promises", "SPLIT is 'test', and the plan has 'train'", ('SPLIT = "train"', 'SPLIT = "test"')
    ),
    "another split, past the constant": mutant(
        "data", r"split 'train\[:50%\]'.*load with", ("split=SPLIT", 'split="train[:50%]"')
    ),
    "another dataset, past the constant": mutant(
        "data",
        "does not call|loads",
        (LOAD, "Dataset.from_list([{'prompt': 'a', 'completion': 'b'}] * 40)"),
        ('COLUMNS = {"prompt": "turns", "completion": "turns"}', 'COLUMNS = {"prompt": "same", "completion": "same"}'),
    ),
    "another revision": mutant(
        "promises", "REVISION is 'v0', and the plan has None", ("REVISION = None\nLOADER", 'REVISION = "v0"\nLOADER')
    ),
    "chosen and rejected swapped": mutant(
        "rows",
        "would learn the worse ones; swap them",
        (LOAD, f"{LOAD}.rename_columns({{'chosen': 'c', 'rejected': 'chosen'}}).rename_column('c', 'rejected')"),
        method="dpo",
    ),
    "chosen and rejected equal": mutant(
        "rows",
        "nothing to prefer: check the mapping",
        (LOAD, f"{LOAD}.map(lambda r: {{'rejected': r['chosen']}})"),
        method="dpo",
    ),
    "reward pairs equal": mutant(
        "rows", "nothing to prefer", (LOAD, f"{LOAD}.map(lambda r: {{'rejected': r['chosen']}})"), method="reward"
    ),
    "KTO with one label": mutant(
        "rows", "every label is True: KTO needs both", (LOAD, f"{LOAD}.map(lambda r: {{'label': True}})"), method="kto"
    ),
    "heldout.jsonl of other rows": mutant(
        "result", "heldout.jsonl does not hold", ("write_rows(heldout, home", "write_rows(train, home")
    ),
    "no heldout.jsonl": mutant(
        "result", "heldout.jsonl does not hold", ('write_rows(heldout, home / "heldout.jsonl")', "None")
    ),
    # --- lengths and labels
    "max length of 8": mutant("trains", "every label is masked", ("MAX_LENGTH = 64", "MAX_LENGTH = 8")),
    "max length of 8 for pairs": mutant(
        "labels|end of answer|rows|trains", "max_length|MAX_LENGTH", ("MAX_LENGTH = 64", "MAX_LENGTH = 8"), method="dpo"
    ),
    "max length of 8 for KTO": mutant(
        "labels|end of answer|rows|trains", "max_length|MAX_LENGTH", ("MAX_LENGTH = 64", "MAX_LENGTH = 8"), method="kto"
    ),
    "max length of 8 for a reward model": mutant(
        "trains|rows|labels", "max_length|MAX_LENGTH", ("MAX_LENGTH = 64", "MAX_LENGTH = 8"), method="reward"
    ),
    "all labels masked": mutant(
        "labels",
        "every label is masked",
        (
            BEFORE,
            "    trainer.train_dataset = trainer.train_dataset.map(lambda r: {'labels': [-100] * len(r['labels'])})\n"
            + BEFORE,
        ),
    ),
    # --- settings
    "learning rate 0": mutant(
        "settings", "learning_rate is 0.0: nothing would be learned", ("LEARNING_RATE = 0.0003", "LEARNING_RATE = 0.0")
    ),
    "a learning rate past the constant": mutant(
        "settings", "the script says LEARNING_RATE", ("learning_rate=LEARNING_RATE", "learning_rate=1e-9"), method="dpo"
    ),
    "a rank past the constant": mutant("settings", "the script says R = ", ("r=R,", "r=2,"), method="kto"),
    "a public repository": mutant(
        "settings", "would be published", ("hub_private_repo=True", "hub_private_repo=False")
    ),
    "NaN hidden": mutant(
        "settings", "hides a loss that is NaN", ("logging_nan_inf_filter=False", "logging_nan_inf_filter=True")
    ),
    "another model, past the constant": mutant(
        "settings",
        "not the one it names at its top",
        (
            "        model,\n        args=",
            "        str(__import__('shutil').copytree(model, home / 'other', dirs_exist_ok=True)),\n        args=",
        ),
    ),
    "another model": mutant(
        "promises", "MODEL is 'gpt2', and the plan has", ("\nMODEL = ", '\nMODEL = "gpt2"\nOTHER = ')
    ),
    "LoRA targets that match nothing": mutant(
        "trains",
        "name linear layers of this model in target_modules",
        (LINEAR, 'target_modules=["wq"]'),
        method="distillation",
    ),
    "no adapter": mutant(
        "settings",
        "the model has no adapter: pass peft_config",
        ("peft_config=lora()", "peft_config=None"),
        method="reward",
    ),
    "frozen weights": mutant(
        "trains",
        "nothing is trained|does not require grad",
        (BEFORE, "    trainer.model.requires_grad_(False)\n" + BEFORE),
        method="dpo",
    ),
    "half of the weights frozen": mutant(
        "settings",
        "tensors are frozen",
        (BEFORE, "    next(trainer.model.parameters()).requires_grad_(False)\n" + BEFORE),
        made_with={"hardware": {"adapter": "full"}},
    ),
    "a loss that is NaN": mutant(
        "trains", "NaN or infinite: lower learning_rate", ("LEARNING_RATE = 0.0003", "LEARNING_RATE = 1e30")
    ),
    # --- rewards
    "a reward that raises": mutant("trains", "division by zero", rewarded("return 1 / 0"), method="grpo"),
    "a reward of another length": mutant("trains", "reward", rewarded("return [1.0]"), method="grpo"),
    "a reward that is None": mutant(
        "rewards|trains", "None.*: return numbers", rewarded("return [None] * len(completions)"), method="rloo"
    ),
    "a constant reward": mutant(
        "rewards", "name another reward or column", rewarded("return [1.0] * len(completions)"), method="rloo"
    ),
    "a reward that is NaN": mutant(
        "rewards|trains", "NaN.*: return numbers", rewarded("return [float('nan')] * len(completions)"), method="grpo"
    ),
    # --- what the Hub answers, in the words of transformers
    "a gated model": answered(
        "You are trying to access a gated repo.\\nMake sure to have access to it at hf.co/a/b.", "ask for access"
    ),
    "a private model": answered(
        "a/b is not a local folder and is not a valid model identifier listed on hf.co", "log in with `hf auth login`"
    ),
    "a revision that does not exist": answered(
        "v9 is not a valid git identifier (branch name, tag name or commit id)", "check REVISION"
    ),
    # --- save, reload, resume
    "no save": mutant("saved", "has no tokenizer|save with trainer.save_model", (SAVE, ""), method="kto"),
    "a save without tokenizer": mutant(
        "saved", "has no tokenizer", (SAVE, "    trainer.model.save_pretrained(checkpoint)\n")
    ),
    "a save of stale weights": mutant(
        "saved",
        "is not what was trained: save after trainer.train",
        (SAVE, ""),
        (BEFORE, f"{SAVE}{BEFORE}"),
        method="dpo",
    ),
    "a save of the base model": mutant(
        "saved",
        "was trained and is not in",
        (
            SAVE,
            "    trainer.model.get_base_model().save_pretrained(checkpoint)\n"
            "    tokenizer.save_pretrained(checkpoint)\n",
        ),
    ),
    "an adapter for another kind of model": mutant(
        "trains", "a reward model's is SEQ_CLS", ('TASK = "SEQ_CLS"', 'TASK = "CAUSAL_LM"'), method="reward"
    ),
    "a score head that is not saved": mutant(
        "saved", "score.* was trained and is not in", (SAVE, SAVE + WITHOUT_SCORE), method="reward"
    ),
    "no checkpoint": mutant(
        "resumes", "a killed job would begin anew", ('save_strategy="steps"', 'save_strategy="no"')
    ),
    "no resume": mutant(
        "resumes",
        "a killed job would begin anew",
        ("resume_from_checkpoint=last_whole_checkpoint(settings)", ""),
        method="rloo",
    ),
    "no evaluation": mutant(
        "result", "did not evaluate on them: check eval_strategy", ('"steps" if evaluates else "no"', '"no"')
    ),
    "metrics nowhere": mutant("metrics", "no point of.*check report_to", ('report_to="trackio"', 'report_to="none"')),
    "another Trackio project": mutant(
        "metrics", "no point of.*check report_to, project", ("project=PROJECT", 'project="other"')
    ),
    "another run's name": mutant("metrics", "no point of", ("run_name=run_name", 'run_name="other"'), method="kto"),
    "result.json missing": mutant(
        "result",
        "there is no result.json",
        ('(home / "result.json").write_text(', "print("),
        ('json.dumps(result, indent=2), encoding="utf-8")', "result)"),
    ),
    "result.json half": mutant(
        "result", "result.json lacks train_loss", ("json.dumps(result, indent=2)", "json.dumps({'steps': 2})")
    ),
    "result.json torn": mutant(
        "result", "result.json is cut off or no JSON", ("json.dumps(result, indent=2)", "json.dumps(result)[:40]")
    ),
    "numbers that are made up": mutant(
        "result",
        "and the trainer made",
        ("json.dumps(result, indent=2)", "json.dumps(result | {'last_loss': 0.1})"),
        method="dpo",
    ),
    # --- how it ends
    "an exit at once": mutant(
        "trains",
        "before its end was reached; take that exit out",
        ('if __name__ == "__main__":\n', 'if __name__ == "__main__":\n    sys.exit(0)\n'),
    ),
    "an exit in the middle": mutant(
        "trains", "before its end was reached; take that exit out", (BEFORE, f"    sys.exit(0)\n{BEFORE}"), method="dpo"
    ),
    "an end of the process": mutant("runs", "exit code 9", (BEFORE, f"    os._exit(9)\n{BEFORE}"), ends_process=True),
    "an end of the process that looks sound": mutant(
        "runs", "exit code 0", (BEFORE, f"    os._exit(0)\n{BEFORE}"), ends_process=True
    ),
    "an error that is caught": mutant(
        "trains",
        "made 0 of 2 steps",
        (TRAIN, "    try:\n        1 / 0\n    except ZeroDivisionError:\n        pass\n"),
        ("result = results(trainer, watch) | {", "result = {"),
        ("trained_tokens and round(trained_tokens * trainer.state.epoch)", "0"),
        ("{result['steps']} steps, held-out loss {result['eval_loss']}, {result['seconds']:.0f} s", "done"),
        ("write_text(card(result)", "write_text(str(result)"),
    ),
    "never run as main": mutant("trains", "no `trainer` at its end", ('if __name__ == "__main__":', "def main():")),
    "an endless loop": mutant(
        "trains", "were not enough.*look for a loop", (BEFORE, f"    while True:\n        time.sleep(0.01)\n{BEFORE}")
    ),
    # --- beyond its walls
    "memory without end": mutant(
        "trains", "asks for more memory than", (BEFORE, f"    hog = torch.ones(2**38)\n{BEFORE}")
    ),
    "a reach into the network": mutant(
        "trains",
        "reaches for example.com: a training may",
        (BEFORE, f"    import urllib.request\n\n    urllib.request.urlopen('http://example.com')\n{BEFORE}"),
    ),
    "a reach into the network, caught": mutant(
        "trains",
        "connects to 192.0.2.1: a training may",
        (
            BEFORE,
            "    import socket\n\n    try:\n        socket.create_connection(('192.0.2.1', 80), timeout=0.1)\n"
            f"    except OSError:\n        pass\n{BEFORE}",
        ),
        method="kto",
    ),
    "writing outside the folder": mutant(
        "trains",
        "belongs below `home`",
        (BEFORE, f"    Path(__file__).with_name('notes.txt').write_text('x')\n{BEFORE}"),
    ),
    "checkpoints outside the folder": mutant(
        "trains",
        "belongs below `home`",
        ('checkpoint = home / "checkpoint"', 'checkpoint = Path(__file__).parent / "checkpoint"'),
    ),
}
