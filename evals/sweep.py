"""Plays scenarios, each in a process of its own: worlds change folders, environments and what libraries remember."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..tools.errors import UserError
from .checkout import use_checkout
from .evidence import Ended, Evidence, Witness, ending_of, gather
from .judge import Verdict, judge
from .players import Player, edit
from .scenario import Scenario
from .worlds import make_scratch, staged

LIMIT_S = 900
"""Wall-clock seconds for one scenario; a small LLM on a busy machine takes minutes."""


class OutOfTime(Exception):
    """A scenario took longer than its limit."""


def sweep(scenarios: Sequence[Scenario], player: Player, *, workers: int = 2) -> Iterator[Verdict]:
    """Play all scenarios and yield the verdicts in their order, each as soon as it is there.

    Args:
        scenarios: What to play.
        player: Who acts; every process gets its own copy.
        workers: Processes at a time.
    """
    use_checkout()
    # One fork a scenario, of a process that has imported everything already.
    _import_all()
    with (
        tempfile.TemporaryDirectory(prefix="ftagent-evals-", ignore_cleanup_errors=True) as folder,
        # Ctrl-C is for the process that writes the scoreboard: it ends the others.
        multiprocessing.get_context("fork").Pool(
            workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN), maxtasksperchild=1
        ) as pool,
    ):
        scratch = make_scratch(Path(folder, "scratch"))
        tasks = [(scenario, player, scratch, Path(folder, f"{n:03}")) for n, scenario in enumerate(scenarios)]
        yield from pool.imap(_play, tasks, chunksize=1)


def _import_all() -> None:
    import importlib

    for name in ("datasets", "scipy.stats", "matplotlib.figure", "tests.hub", "ftagent.agent.loop"):
        importlib.import_module(name)


def _play(task: tuple[Scenario, Player, Path, Path]) -> Verdict:
    scenario, player, scratch, root = task
    root.mkdir()
    with _alone(root):
        return judge(scenario, play(scenario, player, scratch, root))


def play(scenario: Scenario, player: Player, scratch: Path, root: Path) -> Evidence:
    """Play one scenario in `root`, an empty folder, and return what has happened.

    Args:
        scenario: What to play.
        player: Who acts.
        scratch: What `make_scratch` made.
        root: Its place.
    """
    began, cpu, witness = time.monotonic(), _cpu_seconds(), Witness()
    ended: list[Ended] = []
    run = None
    with staged(scenario.world, root, scratch) as stage:
        played = [act for act in scenario.acts if act.edit is None]
        for act in scenario.acts:
            if act.edit is not None:
                try:
                    edit(act, stage)
                except UserError as error:
                    ended.append(ending_of(error))
                    break
                continue
            witness.act = len(ended)
            try:
                how, run = player.act(act, stage, witness)
            except OutOfTime as error:
                how = ending_of(error)
            ended.append(how)
        evidence = gather(stage, witness, run, ended, played, scenario.hidden)
    return evidence.model_copy(
        update={"seconds": round(time.monotonic() - began, 2), "cpu_seconds": round(_cpu_seconds() - cpu, 2)}
    )


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Give this process a home of its own, a limit, and nobody to print to."""
    home, temporary = root / "home", root / "tmp"
    for folder in (home, temporary):
        folder.mkdir()
    os.environ |= {"HOME": str(home), "TMPDIR": str(temporary), "TRACKIO_DIR": str(home / "trackio")}
    tempfile.tempdir = str(temporary)
    log = (root / "tmp" / "printed.log").open("w", encoding="utf-8")
    signal.signal(signal.SIGALRM, _raise_out_of_time)
    signal.alarm(LIMIT_S)
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield
    finally:
        signal.alarm(0)
        log.close()


def _raise_out_of_time(*_: object) -> None:
    raise OutOfTime(f"it took longer than {LIMIT_S} s")


def _cpu_seconds() -> float:
    """Return what this process and those it has waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
