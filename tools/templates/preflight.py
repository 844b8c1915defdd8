"""Run a training script as it stands on a two-layer twin of its model, and look at what it leaves behind.

Reads `method`, `model`, `revision`, `teacher` (a pair of the same, or null), `rewards` (pairs of a name and the column
that it compares with, or null), `tools` (the folder that holds `rewards/`), `data` (what the plan loads), `result` (the
names that `result.json` must have), `timeout_s` for one run, `script` and `folder` (an empty one, for everything that
is written). Answers with `checks`, a list of `name`, `ok` and `detail`; a check that stands on a
failed one is left out. The script runs twice in this process, so that torch is imported once: for `STEPS` steps from
nothing, and for one more from its checkpoint.
"""

import hashlib
import inspect
import json
import math
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
from kept import look_at_weights
from plain_words import LESS_STEEP, in_words
from promises import look_at_data, look_at_pairs, look_at_questions, look_at_settings, look_at_verdicts
from tiny_trainers import GENERATING, SEQUENCES, Sequence, prompt_sequence
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from twins import save_twin
from walls import Walls

STEPS = 2
ROWS = 16
TOKENS = 16
"""Tokens that the twin generates at most for an answer."""
SAMPLE = 16
"""Prepared rows that are looked at for what carries loss."""
NOT_FINITE = 3
"""The script's exit code when its loss is NaN or infinite."""
LOST_SHARE = 0.5
"""A cut that leaves more of the rows without anything to learn is not meant."""
END_TOKENS = 4
"""The token that stops the model is among so many at the end of an answer: templates put a line break behind it."""
REPEATS, REPEAT_RATE = 8, 1e-3
"""Steps on one and the same batch, and their learning rate: a twin that can learn at all then has less loss."""
TOLERANCE = 0.02
"""Largest difference of a reloaded model's output, over its range: 16 bits have two to three digits."""


def main(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Check one thing after the other; the twin and the training stand under all that follow."""
    checks: list[dict[str, Any]] = []

    def holds(name: str, look: Callable[[], str]) -> bool:
        print(f"--- {name}")
        try:
            checks.append({"name": name, "ok": True, "detail": look()})
        except Exception as error:  # noqa: BLE001 (whatever goes wrong is what this is for)
            traceback.print_exc()
            checks.append({"name": name, "ok": False, "detail": in_words(error, request)})
        return checks[-1]["ok"]

    rehearsal = Rehearsal(request)
    if holds("twin", rehearsal.build_twins) and holds("trains", rehearsal.train):
        holds("result", rehearsal.look_at_result)
        holds("data", rehearsal.look_at_data)
        holds("settings", rehearsal.look_at_settings)
        holds("rows", rehearsal.look_at_rows)
        if rehearsal.generates:
            holds("prompts", rehearsal.look_at_prompts)
            if request["rewards"]:
                holds("rewards", rehearsal.reward)
        elif holds("labels", rehearsal.look_at_labels) and request["method"] != "reward":
            holds("end of answer", rehearsal.look_at_end)
        holds("saved", rehearsal.reload)
        if request["method"] not in REWARDED:  # equal rewards of a twin's babble leave nothing to learn
            holds("learns", rehearsal.learn)
        holds("resumes", rehearsal.resume)
    return checks


REWARDED = ("grpo", "rloo")


class Rehearsal:
    """The script, its twin, and what the runs of one on the other left behind.

    Args:
        request: What was asked for.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.method, self.script = request["method"], request["script"]
        self.models = {"twin": (request["model"], request["revision"])}
        if request["teacher"]:
            self.models["teacher"] = tuple(request["teacher"])
        self.folder = Path(request["folder"])
        self.rewards, self.tools = request["rewards"], request["tools"]
        self.wanted, self.result_names = request["data"], request["result"]
        self.walls = Walls(self.folder, request["timeout_s"])
        self.loaded: list[dict[str, Any]] = []
        """The arguments of each call of `load_dataset` in the first run."""
        self.raw: Any = None
        """What the first of them returned."""
        self.names: dict[str, Any] = {}
        """The script's own global names, after it ran."""

    @property
    def generates(self) -> bool:
        """Whether the data has prompts only."""
        return self.method in GENERATING

    def build_twins(self) -> str:
        """Save a twin of the model, and of its teacher where it has one, with other weights."""
        made = [save_twin(*model, self.folder / name, seed=n) for n, (name, model) in enumerate(self.models.items())]
        return "; teacher: ".join(made)

    def train(self) -> str:
        """Run the script from nothing."""
        with self.observed_loading():
            self.names = self.run(STEPS)
        missing = [name for name in ("trainer", "train", "heldout") if name not in self.names]
        if missing:
            raise ValueError(
                f"the script has no `{missing[0]}` at its end: it was not run as __main__, or left its story"
            )
        steps = self.names["trainer"].state.global_step
        if steps != STEPS:
            raise ValueError(f"the trainer made {steps} of {STEPS} steps: check max_steps, and what the script catches")
        return f"{steps} steps"

    @contextmanager
    def observed_loading(self) -> Iterator[None]:
        """Note how the script loads its data; it gets what it asked for."""
        load = datasets.load_dataset

        def noted(*arguments: Any, **named: Any) -> Any:
            bound = inspect.signature(load).bind(*arguments, **named).arguments
            self.loaded.append(bound | bound.pop("config_kwargs", {}))
            rows = load(*arguments, **named)
            self.raw = rows if self.raw is None else self.raw
            return rows

        datasets.load_dataset = noted
        try:
            yield
        finally:
            datasets.load_dataset = load

    def run(self, steps: int) -> dict[str, Any]:
        """Run the script as `python train.py` would, and return its global names."""
        values = {"MODEL": self.folder / "twin", "OUTPUT": self.folder, "MAX_STEPS": steps, "ROWS": ROWS}
        values |= {"TOKENS": TOKENS, "TEACHER": self.folder / "teacher"}
        os.environ.update({f"FTAGENT_{name}": str(value) for name, value in values.items()})
        try:
            with self.walls.around():
                names = runpy.run_path(self.script, run_name="__main__")
        except SystemExit as end:
            why = f"the loss became NaN or infinite: {LESS_STEEP}" if end.code == NOT_FINITE else end.code
            if not end.code:
                why = f"exit code {end.code or 0} before its end was reached; take that exit out"
            raise RuntimeError(f"the script ended itself: {why}") from end
        if self.walls.broken:
            raise PermissionError(self.walls.broken[0])
        return names

    # --- what the script says of itself

    def look_at_result(self) -> str:
        """Hold `result.json` against what the trainer knows, since the report shows it."""
        result = self.result()
        if missing := [name for name in self.result_names if name not in result]:
            raise ValueError(
                f"result.json lacks {', '.join(missing)}, which the report shows: write what `results` returns"
            )
        losses = [result[name] for name in ("first_loss", "last_loss", "eval_loss") if result[name] is not None]
        if not all(map(math.isfinite, losses)):
            raise ValueError(f"the losses are {losses}: {LESS_STEEP}")
        if len(self.names["heldout"]) and result["eval_loss"] is None:
            raise ValueError("rows are held out, and the script did not evaluate on them: check eval_strategy")
        logged = [entry["loss"] for entry in self.names["trainer"].state.log_history if "loss" in entry]
        if (result["steps"], result["last_loss"]) != (STEPS, logged[-1]):
            raise ValueError(
                f"result.json tells of {result['steps']} steps and a loss of {result['last_loss']}, and the trainer "
                f"made {STEPS} with a loss of {logged[-1]}: write its numbers down after it trained"
            )
        self.look_at_heldout(result)
        return f"complete; losses {', '.join(f'{loss:.2f}' for loss in losses)}"

    def look_at_heldout(self, result: dict[str, Any]) -> None:
        """Hold `heldout.jsonl`, on which the model is judged later, against the rows that were held out."""
        path = self.folder / "heldout.jsonl"
        content = path.read_bytes() if path.exists() else None
        if content is None or len(content.splitlines()) != len(self.names["heldout"]):
            raise ValueError("heldout.jsonl does not hold the held-out rows: write it with write_rows, before training")
        if hashlib.sha256(content).hexdigest() != result["heldout_sha256"]:
            raise ValueError("heldout.jsonl is another file than result.json says: write down what write_rows returns")

    def look_at_data(self) -> str:
        """Hold what the script loaded against the plan."""
        return look_at_data(self.loaded, self.wanted)

    def look_at_settings(self) -> str:
        """Hold what the trainer got against what the script says at its top."""
        return look_at_settings(self.names, {name: str(self.folder / name) for name in self.models})

    def result(self) -> dict[str, Any]:
        """Read the numbers of the last run."""
        path = self.folder / "result.json"
        if not path.exists():
            raise FileNotFoundError(
                "there is no result.json, and the report would have no numbers: write it at the end"
            )
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError("result.json is cut off or no JSON: write it with json.dumps, and as a whole") from error

    # --- what the trainer made of the rows

    def sequences(self) -> list[list[Sequence]]:
        """Return the sequences of some prepared rows, cut as the trainer cuts them."""
        rows, length = self.names["trainer"].train_dataset, self.names["MAX_LENGTH"]
        prepared = [SEQUENCES[self.method](rows[number]) for number in range(min(SAMPLE, len(rows)))]
        return [[Sequence(s.ids[:length], s.learned[:length]) for s in row] for row in prepared]

    def look_at_rows(self) -> str:
        """Look for rows that cannot teach what the method wants."""
        train = self.names["train"]
        if self.method in ("dpo", "reward"):
            look_at_pairs(train, self.raw)
        if self.method == "kto":
            look_at_verdicts(self.names, self.raw)
        prepared = self.names["trainer"].train_dataset
        if len(prepared) == len(train):  # else some were left out, or several are packed into one
            rows = [train[number] for number in range(min(SAMPLE, len(train)))]
            look_at_questions(rows, [self.read(prepared[number]) for number in range(len(rows))])
        return f"{len(train)} rows, {', '.join(train.column_names)}"

    def read(self, row: dict[str, Any]) -> str:
        """Return what the model reads of a prepared row."""
        tokenizer = self.names["trainer"].processing_class
        if self.generates:
            return tokenizer.decode(prompt_sequence(tokenizer, row["prompt"]).ids)
        ids = (
            row.get("prompt_ids", []) + row["completion_ids"]
            if self.method == "kto"
            else SEQUENCES[self.method](row)[0].ids
        )
        return tokenizer.decode(ids)

    def look_at_labels(self) -> str:
        """Count the tokens that carry loss, and the rows that have none."""
        rows = self.sequences()
        trained = [sum(sum(s.learned) for s in row) for row in rows]
        total, lost = sum(len(s.ids) for row in rows for s in row), sum(count == 0 for count in trained)
        if not any(trained):
            raise ValueError("every label is masked (-100): nothing is learned; check the mapping and max_length")
        if lost > LOST_SHARE * len(rows):
            raise ValueError(
                f"{lost} of {len(rows)} rows have nothing to learn: their prompts alone fill the "
                f"{self.names['MAX_LENGTH']} tokens of max_length; raise it"
            )
        return f"{sum(trained)} of {total} tokens of {len(rows)} rows carry loss"

    def look_at_end(self) -> str:
        """Look for the end token among the last trained tokens: without it the model never learns to stop."""
        trainer = self.names["trainer"]
        tokenizer, ends = trainer.processing_class, end_tokens(trainer.processing_class, trainer.model)
        tails = [s.ids[-END_TOKENS:] for row in self.sequences() for s in row if s.learned[-1:] == [True]]
        tails = tails or [[token for token, learned in zip(*s, strict=True) if learned] for s in self.sequences()[0]]
        if not any(ends & set(tail) for tail in tails):
            raise ValueError(
                f"answers end with {tokenizer.decode(tails[0])!r}, and generation stops at "
                f"{tokenizer.decode(sorted(ends))!r}: the model would never stop; check chat template and max_length"
            )
        return f"{tokenizer.decode(sorted(ends))!r} is trained"

    def look_at_prompts(self) -> str:
        """Look at what the model is asked."""
        trainer = self.names["trainer"]
        rows = trainer.train_dataset
        prompts = [
            prompt_sequence(trainer.processing_class, rows[n]["prompt"]).ids for n in range(min(SAMPLE, len(rows)))
        ]
        if len({tuple(prompt) for prompt in prompts}) == 1 < len(prompts):
            raise ValueError("all prompts are the same to the model: check the mapping and the chat template")
        return f"{len(prompts)} prompts of {min(map(len, prompts))} to {max(map(len, prompts))} tokens"

    def reward(self) -> str:
        """Reward what is right, what is wrong and what says nothing: a training on equal rewards learns nothing."""
        sys.path.append(self.tools)  # behind everything else: some of its modules are called as Python's own are
        from rewards.rehearsal import rehearse

        names = [name for name, _ in self.rewards]
        tokenizer, train = self.names["trainer"].processing_class, self.names["train"]
        outcome = rehearse(
            dict(zip(names, self.names["rewards"], strict=True)),
            [train[number] for number in range(min(SAMPLE, len(train)))],
            columns={name: column for name, column in self.rewards if column},
            tokenize=lambda text: tokenizer(text)["input_ids"],
        )
        told = [f"{r.name}: {', '.join(f'{value} × {count}' for value, count in r.histogram)}" for r in outcome.rewards]
        print("\n".join(told))
        if outcome.problems:
            raise ValueError(f"{outcome.problems[0]} ({'; '.join(told)}): name another reward or column")
        blind = "; no row holds a right completion, so this says little" if outcome.is_blind else ""
        return f"of {outcome.completions} completions: {'; '.join(told)}{blind}"

    # --- what came out

    def reload(self) -> str:
        """Load the saved model and tokenizer as a user would: it must say what the trained one says."""
        checkpoint = self.folder / "checkpoint"
        if not (checkpoint / "tokenizer_config.json").exists():
            raise FileNotFoundError(
                f"{checkpoint.name}/ has no tokenizer, so nobody could use the model: save with trainer.save_model"
            )
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        missing = [name for name in ("eos_token", "pad_token") if getattr(tokenizer, name) is None]
        if missing:
            raise ValueError(f"the saved tokenizer has no {' and no '.join(missing)}: set it before training")
        asked = question(self.names["train"][0], tokenizer)
        trained = self.names["trainer"].model.eval()
        count = look_at_weights(trained, checkpoint)
        kind, more = (AutoModelForSequenceClassification, {"num_labels": 1}), (AutoModelForCausalLM, {})
        loader, arguments = kind if self.method == "reward" else more
        model = loader.from_pretrained(checkpoint, dtype=trained.dtype, **arguments).eval()
        with torch.inference_mode():
            said, meant = (m(**asked.to(m.device)).logits.float() for m in (model, trained))
        if not torch.allclose(said, meant, rtol=0, atol=TOLERANCE * max(1.0, meant.abs().max().item())):
            raise ValueError(
                f"the saved model does not say what the trained one says (off by {(said - meant).abs().max():.2g}): "
                "some of its weights were not saved; save with trainer.save_model"
            )
        return f"{type(model).__name__} and its tokenizer load with {count} trained tensors, and say the same"

    def learn(self) -> str:
        """Take some steps on one batch again and again: whatever is meant to be trained must make its loss fall."""
        trainer = self.names["trainer"]
        trainer.args.report_to = []  # Trackio's run is over
        model = trainer.model.train()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=REPEAT_RATE)
        inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        losses: list[float] = []
        for _ in range(REPEATS):
            loss = trainer.compute_loss(model, inputs)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        if not losses[-1] < losses[0]:
            raise ValueError(
                f"{REPEATS} steps on one batch took its loss from {losses[0]:.4f} to {losses[-1]:.4f}: nothing is "
                f"learned; check what is trained ({len(weights)} tensors) and which labels are masked"
            )
        return f"{REPEATS} steps on one batch took its loss from {losses[0]:.3f} to {losses[-1]:.3f}"

    def resume(self) -> str:
        """Run the script for one step more than its last checkpoint has."""
        self.run(STEPS + 1)
        result = self.result()
        if (result["resumed_from"], result["steps"]) != (STEPS, STEPS + 1):
            raise ValueError(
                f"started again it went from step {result['resumed_from'] or 0} to {result['steps']}: a killed job "
                "would begin anew; pass the last checkpoint to trainer.train"
            )
        return f"started again it went on from step {STEPS}"


def end_tokens(tokenizer: Any, model: Any) -> set[int]:
    """Return the tokens at which generation stops."""
    more = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(more if isinstance(more, list) else [more])} - {None}


def question(row: dict[str, Any], tokenizer: Any) -> Any:
    """Return a row as the model is asked: through the chat template where the row is a chat."""
    asked = row.get("prompt") or row.get("messages", [])[:-1] or row.get("chosen") or row.get("text")
    if isinstance(asked, str):
        return tokenizer(asked, return_tensors="pt")
    if tokenizer.chat_template is None:
        raise ValueError("the saved tokenizer has no chat template, and the rows are chats")
    return tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)


if __name__ == "__main__":
    answer = {"checks": main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
