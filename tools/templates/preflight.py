"""Run a training script as it stands on a two-layer twin of its model, and look at what it leaves behind.

Reads `model`, `revision`, `script` and `folder` (an empty one, for everything that is written). Answers with `checks`,
a list of `name`, `ok` and `detail`; a check that stands on a failed one is left out. The script runs twice in this
process, so that torch is imported once: for `STEPS` steps from nothing, and for one more from its checkpoint.
"""

import difflib
import inspect
import json
import math
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import trl
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedConfig

STEPS = 2
ROWS = 16
SAMPLE = 16
"""Prepared rows that are looked at for what carries loss."""
IGNORED = -100
NOT_FINITE = 3
"""The script's exit code when its loss is NaN or infinite."""
LESS_STEEP = "lower learning_rate, or train in fp32"

# Arguments that TRL and transformers renamed.
RENAMED = {"max_seq_length": "max_length", "tokenizer": "processing_class", "warmup_ratio": "warmup_steps"}


def main(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Check one thing after the other; the twin and the training stand under all that follow."""
    checks: list[dict[str, Any]] = []

    def holds(name: str, look: Callable[[], str]) -> bool:
        print(f"--- {name}")
        try:
            checks.append({"name": name, "ok": True, "detail": look()})
        except Exception as error:  # noqa: BLE001 (whatever goes wrong is what this is for)
            traceback.print_exc()
            checks.append({"name": name, "ok": False, "detail": in_words(error, request["script"])})
        return checks[-1]["ok"]

    rehearsal = Rehearsal(request)
    if holds("twin", rehearsal.build_twin) and holds("trains", rehearsal.train):
        if holds("labels", rehearsal.look_at_labels):
            holds("end of answer", rehearsal.look_at_end)
        holds("saved", rehearsal.reload)
        holds("resumes", rehearsal.resume)
    return checks


class Rehearsal:
    """The script, its twin, and what the runs of one on the other left behind.

    Args:
        request: What was asked for.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.model, self.revision = request["model"], {"revision": request["revision"]}
        self.script = request["script"]
        self.folder = Path(request["folder"])
        self.twin = self.folder / "twin"
        self.names: dict[str, Any] = {}
        """The script's own global names, after it ran."""

    def build_twin(self) -> str:
        """Save a model of the same class with two narrow layers, random weights, the real vocabulary and tokenizer."""
        config = AutoConfig.from_pretrained(self.model, **self.revision)
        torch.manual_seed(0)
        try:
            model = AutoModelForCausalLM.from_config(shrunk(config, narrow=True), dtype=torch.float32)
            model(input_ids=torch.zeros((1, 4), dtype=torch.long))
        except Exception:  # noqa: BLE001 (some width has to agree with something else: keep them all)
            model = AutoModelForCausalLM.from_config(shrunk(config, narrow=False), dtype=torch.float32)
        with suppress(OSError):  # a model may come without; it often names the end of a turn beside the end of text
            model.generation_config = GenerationConfig.from_pretrained(self.model, **self.revision)
        model.save_pretrained(self.twin)
        AutoTokenizer.from_pretrained(self.model, **self.revision).save_pretrained(self.twin)
        text = model.config.get_text_config()
        return f"{type(model).__name__}, 2 layers, width {text.hidden_size}, vocabulary {text.vocab_size}"

    def train(self) -> str:
        """Run the script from nothing."""
        self.names = self.run(STEPS)
        result = self.result()
        losses = [result[name] for name in ("first_loss", "last_loss", "eval_loss") if result[name] is not None]
        if not all(map(math.isfinite, losses)):
            raise ValueError(f"the losses are {losses}: {LESS_STEEP}")
        return f"{result['steps']} steps, losses {', '.join(f'{loss:.2f}' for loss in losses)}"

    def run(self, steps: int) -> dict[str, Any]:
        """Run the script as `python train.py` would, and return its global names."""
        values = {"MODEL": self.twin, "OUTPUT": self.folder, "MAX_STEPS": steps, "ROWS": ROWS}
        os.environ.update({f"FTAGENT_{name}": str(value) for name, value in values.items()})
        try:
            return runpy.run_path(self.script, run_name="__main__")
        except SystemExit as end:
            why = f"the loss became NaN or infinite: {LESS_STEEP}" if end.code == NOT_FINITE else end.code
            raise RuntimeError(f"the script ended itself: {why}") from end

    def result(self) -> dict[str, Any]:
        """Read the numbers of the last run."""
        return json.loads((self.folder / "result.json").read_text(encoding="utf-8"))

    def labels(self) -> list[list[int]]:
        """Return the labels of some prepared rows."""
        return self.names["trainer"].train_dataset[:SAMPLE]["labels"]

    def look_at_labels(self) -> str:
        """Count the tokens that carry loss."""
        rows = self.labels()
        trained = sum(label != IGNORED for row in rows for label in row)
        if not trained:
            raise ValueError("every label is masked (-100): nothing is learned; check the mapping and max_length")
        return f"{trained} of {sum(map(len, rows))} tokens of {len(rows)} rows carry loss"

    def look_at_end(self) -> str:
        """Look for the end token among the last trained tokens: without it the model never learns to stop."""
        trainer = self.names["trainer"]
        tokenizer, ends = trainer.processing_class, end_tokens(trainer.processing_class, trainer.model)
        tails = [[label for label in row if label != IGNORED][-3:] for row in self.labels()]
        if not any(ends & set(tail) for tail in tails):
            raise ValueError(
                f"answers end with {tokenizer.decode(tails[0])!r}, and generation stops at "
                f"{tokenizer.decode(sorted(ends))!r}: the model would never stop; check chat template and max_length"
            )
        return f"{tokenizer.decode(sorted(ends))!r} is trained"

    def reload(self) -> str:
        """Load the saved model and tokenizer as a user would, and generate a token."""
        checkpoint = self.folder / "checkpoint"
        if not (checkpoint / "tokenizer_config.json").exists():
            raise FileNotFoundError(
                f"{checkpoint.name}/ has no tokenizer, so nobody could use the model: save with trainer.save_model"
            )
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        model = AutoModelForCausalLM.from_pretrained(checkpoint)
        missing = [name for name in ("eos_token", "pad_token") if getattr(tokenizer, name) is None]
        if missing:
            raise ValueError(f"the saved tokenizer has no {' and no '.join(missing)}: set it before training")
        prompt = prompt_of(self.names["train"][0], tokenizer)
        answer = model.generate(**prompt, max_new_tokens=1, do_sample=False)
        text = tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :])
        return f"{type(model).__name__} and its tokenizer load, and generate {text!r}"

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


def shrunk(config: PreTrainedConfig, *, narrow: bool) -> PreTrainedConfig:
    """Return the config with two layers, the first and the last, and with few heads of their true size if `narrow`."""
    text = config.get_text_config()
    whole = config.to_dict()
    fields = whole if text is config else next(whole[name] for name in whole if getattr(config, name, None) is text)

    def put(name: str, value: Any) -> None:
        name = text.attribute_map.get(name, name)
        if fields.get(name) is not None:
            fields[name] = value

    for name, value in fields.items():
        if isinstance(value, list) and len(value) == text.num_hidden_layers:
            fields[name] = [value[0], value[-1]]
    put("num_hidden_layers", 2)
    if narrow:
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        is_grouped = getattr(text, "num_key_value_heads", None) not in (None, text.num_attention_heads)
        put("num_attention_heads", 2)
        put("num_key_value_heads", 1 if is_grouped else 2)
        put("hidden_size", 2 * head)
        for name in ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"):
            put(name, 4 * head)
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        put(name, 4)
    put("num_experts_per_tok", 2)
    return type(config).from_dict(whole)


def end_tokens(tokenizer: Any, model: Any) -> set[int]:
    """Return the tokens at which generation stops."""
    more = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *(more if isinstance(more, list) else [more])} - {None}


def prompt_of(row: dict[str, Any], tokenizer: Any) -> Any:
    """Return a row as the model is asked: through the chat template where the row is a chat."""
    asked = row.get("prompt") or row.get("messages", [])[:-1] or row.get("text")
    if isinstance(asked, str):
        return tokenizer(asked, return_tensors="pt")
    if tokenizer.chat_template is None:
        raise ValueError("the saved tokenizer has no chat template, and the rows are chats")
    return tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)


# --- words ------------------------------------------------------------------------------------------------------------


def in_words(error: Exception, script: str) -> str:
    """Say what went wrong, where in the script, and how to mend it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == script]
    where = f" (line {lines[-1]} of the script)" if lines else ""
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return f"{error}{where}: trl {trl.__version__} knows no such argument{nearest(str(error))}"
    if isinstance(error, KeyError):
        return f"there is no {error}{where}: the rows lack a column or a key that the script reads"
    return f"{error or type(error).__name__}{where}"


def nearest(message: str) -> str:
    """Name the argument that was probably meant."""
    name = message.rpartition(" argument ")[2].strip("'")
    known = {*inspect.signature(trl.SFTConfig).parameters, *inspect.signature(trl.SFTTrainer).parameters}
    close = [RENAMED[name]] if name in RENAMED else difflib.get_close_matches(name, known, n=1)
    return f"; `{close[0]}` is the nearest" if close else ""


if __name__ == "__main__":
    answer = {"checks": main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
