"""Rewards as facts of a run: chosen when its data is judged, taken up again, by hash, when its script is written."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

from ..data.shaping.mappings import Row
from ..data.shaping.shapes import Refusal
from ..errors import InputError
from ..facts import REWARDED_METHODS, DatasetReport, Missing, Reward, Spec
from ..versions import installed_version
from .choose import choose_rewards
from .own import own_reward
from .table import EmittedRewards, RewardChoice, emitted_rewards


def rewards_for(spec: Spec, columns: Sequence[str], rows: Sequence[Row], folder: Path) -> tuple[Reward, ...] | Missing:
    """Choose the rewards of a run that learns from them, or say what its data lacks for one.

    Args:
        spec: The plan, with the rewards that were stated.
        columns: What the trainer sees of a row.
        rows: A sample of rows as the trainer sees them.
        folder: The folder in which a person's own file is looked for.

    Raises:
        InputError: What was stated is unknown, or does not fit these columns.
    """
    if spec.method not in REWARDED_METHODS:
        return ()
    stated = spec.overrides.rewards or ()
    chosen = choose_rewards(columns, rows, {name: {} for name in stated}, folder=folder)
    if isinstance(chosen, Refusal):
        return Missing(missing=chosen.missing, nearest=chosen.nearest)
    references = dict(zip((choice.name for choice in chosen), stated, strict=False))
    return tuple(
        Reward(
            name=choice.name,
            reason=choice.reason,
            options=dict(choice.options),
            own=str((folder / references[choice.name]).absolute()) if choice.own else None,
            sha256=choice.own.sha256 if choice.own else None,
        )
        for choice in chosen
    )


def emitted_for(dataset: DatasetReport) -> EmittedRewards:
    """Return the run's rewards as text for its script, with every package pinned as it is installed.

    Raises:
        InputError: There is no reward, a person's file has changed since its data was judged, or a package is missing.
    """
    if not dataset.rewards:
        raise InputError(
            f"{dataset.method} needs a reward, and no column says what a right completion is.",
            hint="name a column `answer` or `tests`, or say `with reward rewards.py:function`",
        )
    emitted = emitted_rewards(tuple(map(_choice, dataset.rewards)))
    return EmittedRewards(
        imports=emitted.imports, source=emitted.source, packages=tuple(map(_pinned, emitted.packages))
    )


def _choice(reward: Reward) -> RewardChoice:
    own = own_reward(reward.own, Path()) if reward.own else None
    if own is not None and own.sha256 != reward.sha256:
        raise InputError(f"`{reward.own}` was changed since the data was judged.", hint="call validate_dataset again")
    return RewardChoice(name=reward.name, reason=reward.reason, options=reward.options, own=own)


def _pinned(package: str) -> str:
    """Return `name==version` of a package, which may be named by what is imported of it, or with an extra."""
    name = package.partition("[")[0]
    distribution = packages_distributions().get(name, [name])[0]
    if (pin := installed_version(distribution)) is None:
        raise InputError(f"a reward needs `{name}`, which is not installed.", hint=f"pip install '{package}'")
    return f"{package if '[' in package else distribution}=={pin}"
