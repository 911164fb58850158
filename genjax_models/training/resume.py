"""Resuming a run: its checkpoints, and a description of it by which others are refused."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_models.core.loss import Loss, Weight
from genjax_models.core.protocols import Model
from genjax_models.training import checkpoint
from genjax_models.training.checkpoint import CheckpointDamaged
from genjax_models.training.feed import Data
from genjax_models.training.state import Optimizers, TrainState, keys_of, optimizer_of

_SAMPLED = 64
"""Number of examples that a fingerprint reads of data that are not in memory."""


@dataclass(frozen=True)
class RunCheckpoints:
    """The checkpoints of a run, and what is saved with each.

    Attributes:
        directory: Folder of the checkpoints.
        max_to_keep: Number of checkpoints that stay.
        extra: JSON-able values: the user's configuration, and `describe`'s description of the run.
    """

    directory: Path
    max_to_keep: int
    extra: Mapping[str, Any]

    def save(self, state: TrainState, means: Mapping[str, Any]) -> None:
        """Saves the state, with the running means since the last log."""
        extra = {**self.extra, _MEANS: means}
        checkpoint.save(self.directory, state, extra, self.max_to_keep)

    def resume(
        self, template: TrainState, seed: int, steps: int, restart: bool
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """Returns the state and the running means to go on with, or None for a fresh run.

        Args:
            template: Description of the state, with shardings.
            seed: Seed of the run.
            steps: Length of the run in steps.
            restart: Whether to begin anew if all checkpoints are damaged.

        Raises:
            ValueError: The checkpoints belong to another run, or the run is longer already.
            CheckpointDamaged: All checkpoints are damaged, and `restart` is not given.
            CheckpointError: A checkpoint cannot be read now.
        """
        if checkpoint.latest_step(self.directory) is None:
            if (damaged := checkpoint.all_damaged(self.directory)) and not restart:
                raise CheckpointDamaged(
                    f"{self.directory} holds damaged checkpoints alone ({', '.join(damaged)}): put "
                    "a whole copy there, or begin anew with restart=True"
                )
            return None
        try:
            state, extra = checkpoint.load(self.directory, template, check=self._check)
        except CheckpointDamaged:
            if restart:
                return None
            raise
        done, key = int(state.step), keys_of(seed)[1]
        if not np.array_equal(jax.random.key_data(state.key), jax.random.key_data(key)):
            raise ValueError(
                f"{self.directory} holds a run of another seed than {seed}: give the seed that it "
                "was started with, or another folder"
            )
        if done > steps:
            raise ValueError(
                f"{self.directory} holds a run that is at step {done}, and steps is {steps}: give "
                f"at least {done}, or another folder"
            )
        if restart:
            raise ValueError(
                f"restart is for a folder whose checkpoints are all damaged, and {self.directory} "
                f"has a whole one of step {done}: leave it out to go on, or give another folder"
            )
        return state, extra[_MEANS]

    def _check(self, extra: Mapping[str, Any]) -> None:
        """Raises for a checkpoint of another run."""
        if changed := differences(extra.get("run", {}), self.extra["run"]):
            raise ValueError(
                f"{self.directory} holds another run ({'; '.join(changed)}): give what it was "
                "started with, or another folder"
            )


_MEANS = "window"
"""Name of the running means in the files of checkpoints."""


def describe(
    model: Model,
    data: Data | None,
    optimizer: Optimizers,
    losses: Mapping[str, Loss] | None,
    state: TrainState,
    **settings: Any,
) -> dict[str, Any]:
    """Returns a description of what decides a run, as JSON holds it.

    Args:
        model: Model to train.
        data: Dataset, or None where it may change between resumptions.
        optimizer: One Optax transformation, or one for each player.
        losses: Loss by player, in place of the player's own.
        state: A training state, or its description.
        **settings: Numbers to keep as they are.
    """
    used = {name: (losses or {}).get(name, player.loss) for name, player in model.players.items()}
    described = {
        **settings,
        "losses": {name: _terms(loss) for name, loss in used.items()},
        "optimizer": {
            name: _structure(state.opt_state[name])
            for name in optimizer_of(optimizer, model.players)
        },
    }
    if data is not None:
        described["data"] = fingerprint(data)
    return json.loads(json.dumps(described))


def fingerprint(data: Data) -> dict[str, Any]:
    """Returns what distinguishes a dataset: its description, number of examples, and content.

    `sample` is computed of some examples, `content` of all if they are in memory, else None.
    """
    rows = data.rows(np.unique(np.linspace(0, len(data) - 1, _SAMPLED).astype(np.int64)))
    found = {
        "shape": data.spec.shape,
        "levels": data.spec.num_levels,
        "labels": data.spec.num_classes,
        "examples": len(data),
        "sample": _content(rows),
        "content": None if data.arrays is None else _content(data.arrays),
        "augmentation": _named(getattr(data, "augment", None)),
    }
    return json.loads(json.dumps(found))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns the differences of two runs' descriptions, in words, over what both describe."""
    lines = []
    for name in (name for name in old if name in new):
        if name == "data":
            lines += data_differences(old[name], new[name])
        elif isinstance(old[name], Mapping):
            pairs = {k: (old[name].get(k), new[name].get(k)) for k in {**old[name], **new[name]}}
            lines += [
                f"{name} of {k}: {_in_words(a)} -> {_in_words(b)}"
                for k, (a, b) in pairs.items()
                if a != b
            ]
        elif old[name] != new[name]:
            lines.append(f"{name} {_in_words(old[name])} -> {_in_words(new[name])}")
    return lines


def data_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns the differences of two fingerprints, in words."""
    lines = [
        f"{name} of the data {_in_words(old.get(name))} -> {_in_words(new.get(name))}"
        for name in ("shape", "levels", "labels", "examples", "augmentation")
        if old.get(name) != new.get(name)
    ]
    if lines:
        return lines
    contents = [(old.get(name), new.get(name)) for name in ("content", "sample")]
    is_same = all(a is None or b is None or _same_content(a, b) for a, b in contents)
    return [] if is_same else ["the data, as many examples but others"]


def _named(augment: Any) -> str | None:
    """Returns what an augmentation is called: a function by its name, a value as it prints."""
    return None if augment is None else getattr(augment, "__qualname__", None) or repr(augment)


def _in_words(value: Any) -> str:
    return "none" if value is None else str(value)


def _terms(loss: Loss) -> dict[str, Any]:
    return {name: _weight(loss.weights.get(name, 1.0)) for name in loss.terms}


def _weight(weight: Weight) -> Any:
    return "a schedule" if callable(weight) else float(weight)


def _structure(state: Any) -> str:
    """Returns the names of an optimizer's states: `(ScaleByAdamState, EmptyState)`."""
    if hasattr(state, "_fields"):
        parts = [_structure(part) for part in state]
        inner = ", ".join(part for part in parts if part)
        return f"{type(state).__name__}({inner})" if inner else type(state).__name__
    if isinstance(state, tuple):
        return f"({', '.join(_structure(part) for part in state)})"
    return ""  # arrays, whose shapes are compared where they are read


def _content(arrays: Mapping[str, Any]) -> dict[str, list[float]]:
    return {name: _numbers(np.asarray(arrays[name])) for name in sorted(arrays)}


def _numbers(array: np.ndarray) -> list[float]:
    """Returns a few numbers that distinguish an array from others.

    The checksum of integers. Real numbers may be computed anew by each process and differ in their
    last bits between machines, so of them moments, which such bits barely change.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if not np.issubdtype(flat.dtype, np.floating):
        return [zlib.crc32(flat.view(np.uint8).data)]
    x = flat.astype(np.float64)
    waves = np.cos(0.7548776662466927 * np.arange(len(x)))  # so that the order counts
    return [float(v) for v in (x.mean(), x.std(), x.min(), x.max(), (x * waves).mean())]


def _same_content(old: Mapping[str, list[float]], new: Mapping[str, list[float]]) -> bool:
    if old.keys() != new.keys() or any(len(old[k]) != len(new[k]) for k in old):
        return False
    return all(
        old[k] == new[k] if len(old[k]) == 1
        else np.allclose(old[k], new[k], rtol=1e-6, atol=1e-6 * abs(old[k][1]))
        for k in old
    )  # fmt: skip
