"""What goes wrong in a rehearsal, in words that say where, and how to mend it."""

from __future__ import annotations

import difflib
import inspect
import traceback
from typing import Any

import trl
from tiny_trainers import CLASSES
from walls import MEMORY_GIB

LESS_STEEP = "lower learning_rate, or train in fp32"

# Arguments that TRL and transformers renamed.
RENAMED = {"max_seq_length": "max_length", "tokenizer": "processing_class", "warmup_ratio": "warmup_steps"}

# What an error's text begins or goes on with, and what mends it.
MENDS = {
    "Target modules": "name linear layers of this model in target_modules, or `all-linear`",
    "a gated repo": "ask for access on the model's page, and log in with `hf auth login`",
    "is not a valid model identifier": "check MODEL, and log in with `hf auth login` if it is private",
    "is not a valid git identifier": "check REVISION: that commit or branch does not exist",
    "chat_template is not set": "use an instruction-tuned model, or give the tokenizer a chat template",
    "does not require grad": "nothing is trained; leave some weights trainable, or pass peft_config",
    "returned None for all reward": "a reward must give numbers; check the column that it reads",
    "allocate memory": f"the twin asks for more memory than {MEMORY_GIB} GiB; look for what holds all rows",
    "not enough memory": f"the twin asks for more memory than {MEMORY_GIB} GiB; look for what holds all rows",
    "Padding_idx must be": "the tokenizer has more tokens than config.json's vocab_size; take both from one model",
    "instantiate the backend tokenizer": "the model's folder lacks tokenizer.json; download the model whole",
    "Unrecognized model in": "its config.json is missing or names no model_type; download the model whole",
    "prepare_inputs_for_generation": "task_type is of another kind of model; a reward model's is SEQ_CLS",
    "MetadataIncompleteBuffer": "a weight file was cut short: download it again",
    "IncompleteMetadata": "a weight file was cut short: download it again",
}


def in_words(error: Exception, request: dict[str, Any]) -> str:
    """Say what went wrong, where in the script, and how to mend it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == request["script"]]
    where = f" (line {lines[-1]} of the script)" if lines else ""
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return f"{error}{where}: trl {trl.__version__} knows no such argument{nearest(str(error), request['method'])}"
    if isinstance(error, KeyError):
        return f"there is no {error}{where}: the rows lack a column or a key that the script reads"
    if request["rewards"] and "NoneType" in str(error):
        return f"{error}{where}: a metric is None, as when a reward is None or NaN for every completion: return numbers"
    if isinstance(error, MemoryError):
        return f"the script asks for more memory than the {MEMORY_GIB} GiB of a rehearsal{where}: look for what grows"
    if type(error).__name__ == "TemplateSyntaxError":
        return f"the chat template is no Jinja: {error}{where}; take the tokenizer_config.json of the model's makers"
    mend = next((f": {mend}" for sign, mend in MENDS.items() if sign in str(error)), "")
    return f"{error or type(error).__name__}{where}{mend}"


def nearest(message: str, method: str) -> str:
    """Name the argument that was probably meant."""
    name = message.rpartition(" argument ")[2].strip("'")
    trainer, config = (getattr(trl, kind) for kind in CLASSES[method])
    known = {*inspect.signature(config).parameters, *inspect.signature(trainer).parameters}
    close = [RENAMED[name]] if name in RENAMED else difflib.get_close_matches(name, known, n=1)
    return f"; `{close[0]}` is the nearest" if close else ""
