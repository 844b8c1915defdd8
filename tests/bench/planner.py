"""SmolLM2-135M as planner, on llama.cpp: a whole run with rails, beside the plain loop; and what refused injections.

    make bench-planner       both, and the table of injections; about 5 minutes

The plain loop is smolagents' `ToolCallingAgent` with its own prompts, two tools and six steps. A call is valid where
the tool was there and its arguments were of its types.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ftagent import FineTuneAgent, Run
from ftagent.agent import llm
from ftagent.tools.llama_cpp import convert, serve
from ftagent.tools.models import resolve_model
from ftagent.tools.settings import Settings, load_settings

from tests.agent.injections import ATTACKS, CHANNELS, attempt
from tests.conftest import _TINY

STEPS = 6
CONTEXT = 8192
ANSWER_TOKENS = 256
"""A model that never ends by itself is cut here; a call takes a tenth of that."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """How a planner did."""

    calls: int
    valid: int
    mended: int = 0
    guard: int = 0
    """Steps that the built-in planner took."""
    status: str = ""

    @property
    def line(self) -> str:
        """One line of the table."""
        return f"{self.calls:>6}{self.valid:>7}{self.mended:>8}{self.guard:>7}  {self.status}"


def count(run: Run) -> Count:
    """Return how the planner of a run did."""
    return Count(
        calls=len(run.llm_calls),
        valid=sum(bool(call.valid) for call in run.llm_calls),
        mended=sum(call.mended for call in run.llm_calls),
        guard=sum(note.code == "rail" and "took" in note.text for note in run.notes),
        status=run.status,
    )


def with_rails(url: str, request: str, *, dry_run: bool) -> Run:
    """Carry a request with the model behind `url` as planner."""
    settings = load_settings({"llm": "openai/smollm2", "llm_base_url": url, "llm_window": CONTEXT})
    return FineTuneAgent(settings=settings, approve=True, dry_run=dry_run).run(request).run


def plain_loop(url: str, request: str) -> Count:
    """Give the same model the same request in smolagents' own loop, and count the calls that reached a tool."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from smolagents import LiteLLMModel, LogLevel, ToolCallingAgent, tool

    reached: list[str] = []

    @tool
    def plan_run(request: str) -> str:
        """Read the user's request and find its model and dataset.

        Args:
            request: The user's own words, unchanged.
        """
        reached.append(request)
        return "planned; call validate_dataset next"

    @tool
    def validate_dataset(max_length: int = 1024) -> str:
        """Find out whether the dataset trains.

        Args:
            max_length: Cut rows at this many tokens.
        """
        reached.append(str(max_length))
        return "ready; call final_answer"

    model = LiteLLMModel(
        model_id="openai/smollm2", api_base=url, api_key="none", max_tokens=ANSWER_TOKENS, temperature=0.0, retry=False
    )
    agent = ToolCallingAgent(tools=[plan_run, validate_dataset], model=model, verbosity_level=LogLevel.OFF)
    ended = agent.run(request, max_steps=STEPS, return_full_result=True)
    return Count(calls=len(ended.steps) - 1, valid=len(reached), status=str(ended.state))


@contextlib.contextmanager
def small_model(cache: Path) -> Iterator[str]:
    """Serve SmolLM2-135M-Instruct, and yield the base URL of its API; the file is made once."""
    settings = Settings(cache_dir=cache)
    folder = Path(resolve_model("SmolLM2-135M-Instruct", settings, None).path or "")
    gguf = folder.parent / "SmolLM2-135M-Instruct-Q8_0.gguf"
    if not gguf.exists():
        part = gguf.with_suffix(".part")
        convert(settings, folder, part, "Q8_0", log=gguf.with_suffix(".log"))
        part.rename(gguf)
    with serve(settings, gguf, log=gguf.with_suffix(".serve.log"), context=CONTEXT) as url:
        yield f"{url}/v1"


def material(cache: Path, home: Path) -> str:
    """Write rows and a two-layer model, and return the request that trains it."""
    source, tiny = cache / "models" / "SmolLM2-135M-Instruct", home / "tiny-llama"
    subprocess.run([sys.executable, "-c", _TINY, str(source), str(tiny)], check=True)
    chats = (
        [{"role": "user", "content": f"What is {n} plus {n}?"}, {"role": "assistant", "content": f"It is {2 * n}."}]
        for n in range(40)
    )
    rows = home / "rows.jsonl"
    rows.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats), encoding="utf-8")
    return f"fine-tune {tiny} on {rows}, 4 steps, batch size 2, compare it with the base model"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("plain", "rails", "injections"))
    parser.add_argument("--dry-run", action="store_true", help="with rails, stop before the job is submitted")
    parser.add_argument("--cache", type=Path, default=Path(__file__).parents[2] / ".pytest_cache" / "ftagent")
    options = parser.parse_args()
    cache, only = options.cache, options.only
    llm.MAX_TOKENS_UNKNOWN = ANSWER_TOKENS
    if only != "injections":
        planners(cache, only, options.dry_run)
    if only in (None, "injections"):
        injections()


def planners(cache: Path, only: str | None, dry_run: bool) -> None:
    """Print how the small model did, alone and on rails."""
    with tempfile.TemporaryDirectory(prefix="ftagent-planner-") as folder:
        home = Path(folder)
        request = material(cache, home)
        with small_model(cache) as url, contextlib.chdir(home):
            print(f"{'SmolLM2-135M':<28}{'calls':>6}{'valid':>7}{'mended':>8}{'guard':>7}  ended", flush=True)
            if only != "rails":
                print(f"{'plain loop, two tools':<28}{plain_loop(url, request).line}", flush=True)
            if only != "plain":
                run = with_rails(url, request, dry_run=dry_run)
                what = "with rails, a dry run" if dry_run else "with rails, the whole run"
                print(f"{what:<28}{count(run).line}", flush=True)


def injections() -> None:
    """Print what refused each attack on each channel, and what was not refused."""
    import pytest

    open_doors = 0
    print(f"\n{'attack':<36}{'channel':<18}refused by")
    for name in ATTACKS:
        for channel in CHANNELS:
            with (
                tempfile.TemporaryDirectory() as folder,
                pytest.MonkeyPatch.context() as patch,
                contextlib.chdir(folder),
            ):
                outcome = attempt(name, channel, patch)
            open_doors += not outcome.refused_by
            print(f"{name:<36}{channel:<18}{outcome.refused_by or 'NOTHING'}"[:200], flush=True)
    print(f"{len(ATTACKS) * len(CHANNELS)} attempts, {open_doors} of them not refused")
    sys.exit(open_doors > 0)


if __name__ == "__main__":
    main()
