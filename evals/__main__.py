"""`python -m ftagent.evals`: play scenarios with one planner, and write its scoreboard."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .scenario import Scenario, load_scenarios

if TYPE_CHECKING:
    from .judge import Verdict
    from .players import Player

SMALL = "smollm2"
"""Stands for SmolLM2-135M-Instruct, served here."""


def main() -> int:
    """Play, print a line a scenario, write the scoreboard; exit with 1 where something was forbidden."""
    options = _options()
    scenarios = load_scenarios(only=options.only, kind=options.kind, each=options.each)
    verdicts: list[Verdict] = []
    try:
        with _environment(), _planner(options) as player:
            _play_all(scenarios, player, options, verdicts)
    except KeyboardInterrupt:
        print(f"stopped after {len(verdicts)} of {len(scenarios)} scenarios", file=sys.stderr)
    finally:  # whatever ends a sweep of an hour: what it has shown is kept
        forbidden = _write(verdicts, scenarios[: len(verdicts)], options) if verdicts else 0
    return 1 if forbidden else 0


def _play_all(
    scenarios: Sequence[Scenario], player: Player, options: argparse.Namespace, verdicts: list[Verdict]
) -> None:
    """Add the verdicts to a list as they come, in the order of the scenarios."""
    from .sweep import sweep

    for verdict in sweep(scenarios, player, workers=options.workers):
        verdicts.append(verdict)
        mark = "ok  " if verdict.passed else "FAIL"
        print(f"{mark} {verdict.id}  {verdict.evidence.seconds:.1f} s", file=sys.stderr, flush=True)


def _write(verdicts: Sequence[Verdict], scenarios: Sequence[Scenario], options: argparse.Namespace) -> int:
    """Write the scoreboard and the log, print it, and return how many forbidden acts there were."""
    from ..tools.versions import installed_version
    from .inspect_log import write_inspect_log
    from .scoreboard import make_scoreboard, render

    name = options.llm + (" (plain loop)" if options.plain else "")
    at, version = datetime.now(UTC).isoformat(timespec="seconds"), installed_version("ftagent") or "?"
    board = make_scoreboard(name, verdicts, at=at, version=version)
    options.out.mkdir(parents=True, exist_ok=True)
    stem = "".join(c if c.isalnum() or c in ".-" else "-" for c in name).strip("-")
    (options.out / f"{stem}.md").write_text(render(board), encoding="utf-8")
    (options.out / f"{stem}.json").write_text(board.model_dump_json(indent=1), encoding="utf-8")
    write_inspect_log(options.out / "logs", board, scenarios)
    print(render(board))
    return board.total.forbidden


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ftagent.evals", description=__doc__)
    parser.add_argument("--llm", default="builtin", help=f"builtin, {SMALL}, or any litellm id")
    parser.add_argument("--llm-base-url", help="of an OpenAI-compatible server")
    parser.add_argument("--plain", action="store_true", help="smolagents' own loop, without the rails")
    parser.add_argument(
        "--only", default="", help="scenarios whose category/name has this in it; several, parted by commas"
    )
    parser.add_argument("--kind", choices=("mechanical", "judgement"))
    parser.add_argument("--each", type=int, help="this many scenarios of each category, evenly spread; all by default")
    parser.add_argument("--cache-dir", type=Path, help=f"where the weights of {SMALL} lie, or are made")
    parser.add_argument("--workers", type=int, help=f"scenarios at a time; {SMALL} has one, and uses all cores for it")
    parser.add_argument("--out", type=Path, default=Path("evals-results"))
    options = parser.parse_args()
    options.workers = options.workers or (1 if options.llm == SMALL else 2)
    return options


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Let nothing of the person's own machine reach a world: no token, no cache, no settings, no network."""
    for name in [name for name in os.environ if name.startswith(("FTAGENT_", "HF_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="ftagent-evals-home-") as home:
        os.environ |= {
            "HF_HOME": home,
            "XDG_CONFIG_HOME": f"{home}/config",
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        yield


@contextlib.contextmanager
def _planner(options: argparse.Namespace) -> Iterator[Player]:
    """Yield who acts; a small LLM is served as long as that takes."""
    from .players import PlainPlayer, RailedPlayer

    player = PlainPlayer if options.plain else RailedPlayer
    if options.llm != SMALL:
        yield player(options.llm, options.llm_base_url)
        return
    from ..agent import llm
    from .small import ANSWER_TOKENS, served_smollm2

    llm.MAX_TOKENS_UNKNOWN = ANSWER_TOKENS
    log = Path(tempfile.gettempdir(), "ftagent-evals-llama.cpp.log")
    with served_smollm2(options.cache_dir, log=log, slots=options.workers) as url:
        yield player("openai/smollm2", url)


if __name__ == "__main__":
    raise SystemExit(main())
