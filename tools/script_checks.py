"""What is seen of a training script, and of what it names, without running either."""

from __future__ import annotations

import ast
import json
import re
import struct
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from .data.reading.local import revision_now
from .errors import InputError
from .facts import Check, DatasetRef, ModelRef
from .models import weight_files
from .rendering import pins_of
from .run import Run
from .script import promised_constants, script_is_unchanged
from .versions import installed_version
from .wording import SECRETS


def check_script(run: Run) -> list[Check]:
    """Look at the script's text, and at the weights that it names; what stands on a failed check is left out."""
    assert run.script is not None and run.spec is not None
    name = run.script.path
    if not script_is_unchanged(run):
        return [_red("script", f"{name} was changed or removed since it was written: call write_script")]
    text = (run.folder / name).read_text(encoding="utf-8")
    checks = [Check(name="script", ok=True, detail=f"sha256 {run.script.sha256[:12]}"), _no_secret(name, text)]
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [*checks, _red("syntax", f"{name} is no Python: {error.msg} (line {error.lineno})")]
    checks += [_pinned(text, tree), _promised(run, tree)]
    if run.spec.dataset_ref is not None and run.spec.dataset_ref.source != "hub":
        checks.append(same_data(run.spec.dataset_ref))
    models = (run.spec.model_ref, run.spec.teacher_ref)
    return checks + [_whole(model) for model in models if model is not None and model.path is not None]


def _red(name: str, detail: str) -> Check:
    return Check(name=name, ok=False, detail=detail)


def _no_secret(name: str, text: str) -> Check:
    found = [what for what, pattern in SECRETS.items() if re.search(pattern, text)]
    if found:
        return _red(
            "no secret", f"{name} holds a {' and a '.join(found)}: take it out, and give it to the job as a secret"
        )
    return Check(name="no secret", ok=True, detail="no token or key in the script")


# --- pins -------------------------------------------------------------------------------------------------------------


def _pinned(text: str, tree: ast.Module) -> Check:
    """Hold the imports against the header, and the header against what is installed here, where it is proven."""
    pins = dict(pin.split("==") for pin in pins_of(text))
    known = {_normal(name.partition("[")[0]) for name in pins}
    distributions = packages_distributions()
    for module in sorted(set(_imported(tree))):
        owners = distributions.get(module, [module])
        if not known & {_normal(owner) for owner in owners}:
            return _red("pins", f"`{module}` is imported and not pinned: add `{owners[0]}==…` to the header")
    for name, pin in pins.items():
        if (installed := installed_version(name)) not in (None, pin):
            return _red(
                "pins", f"the header pins {name} {pin}, and {installed} is what runs here: pin that, or install {pin}"
            )
    return Check(name="pins", ok=True, detail=f"{len(pins)} packages, as they run here")


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the top-level names of the foreign packages that a script imports, wherever it does."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        yield from (top for name in names if (top := name.partition(".")[0]) not in sys.stdlib_module_names)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- promises ---------------------------------------------------------------------------------------------------------


def _promised(run: Run, tree: ast.Module) -> Check:
    """Hold the script to the plan: the same model, data and names, whoever wrote or edited it."""
    written = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for name, promised in promised_constants(run).items():
        found = _value(written[name]) if name in written else "nothing"
        if found != promised:
            return _red("promises", f"{name} is {found!r}, and the plan has {promised!r}: call write_script")
    return Check(name="promises", ok=True, detail="model, data and names are the plan's")


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def same_data(dataset: DatasetRef) -> Check:
    """Hold the bytes of local data against those that were validated; they may change until the job reads them."""
    try:
        revision = revision_now(dataset)
    except InputError as error:
        return _red("data file", str(error))
    if revision != dataset.revision:
        return _red(
            "data file",
            f"`{dataset.id}` has changed since it was planned ({revision[:19]}…, then {dataset.revision[:19]}…): "
            "plan and validate it anew, or put the old file back",
        )
    return Check(name="data file", ok=True, detail=f"the bytes of {dataset.id} are those that were validated")


# --- weights ----------------------------------------------------------------------------------------------------------


def _whole(model: ModelRef) -> Check:
    """Read the header of every weight file: it says how long the file must be."""
    folder = Path(model.path or "")
    for file in weight_files(folder):
        if not file.exists():
            return _red("weights", f"{file.name} is missing, which the index names: download `{model.id}` again")
        if file.suffix == ".safetensors" and (wrong := _why_torn(file)):
            return _red("weights", f"{file.name} {wrong}: download `{model.id}` again")
    return Check(name="weights", ok=True, detail=f"the files of {model.id} are whole")


def _why_torn(file: Path) -> str | None:
    """Return how a safetensors file is broken (github.com/huggingface/safetensors, "Format"), or None."""
    size = file.stat().st_size
    with file.open("rb") as content:
        start = content.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size:
            return "ends within its header"
        try:
            header: dict[str, Any] = json.loads(content.read(length))
        except ValueError:
            return "has a header that is no JSON"
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    meant = 8 + length + max(ends, default=0)
    return None if size == meant else f"has {size:,} of {meant:,} bytes"
