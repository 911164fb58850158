"""A run traced on shapes alone, before its first step and before anything is written."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.runner.needs import in_words
from experiments.runner.optimizers import make_optimizer
from genjax_models.data import Dataset

if TYPE_CHECKING:
    from experiments.runner.config import Config
    from experiments.runner.experiment import Experiment, Setup

NUM_DRAWN = 8
NUM_CHECKPOINTS = 2
"""Checkpoints that lie beside each other at least: one is whole while the next is written."""


def rehearse(name: str, config: Config[Any], setup: Setup, data: Dataset, optimizer: Any) -> int:
    """Traces initialisation, a step's losses and sampling; nothing is computed or compiled.

    What fails later for the shapes, types or sizes of the data fails here.

    Args:
        name: The experiment's.
        config: Its configuration.
        setup: The model and its losses.
        data: Data for training.
        optimizer: As `training.fit` takes it.

    Returns:
        Bytes of one checkpoint.

    Raises:
        ValueError: The experiment cannot be trained on, or sampled for, such data.
    """
    import jax

    from genjax_models import training

    model = setup.model
    row = data.rows(np.zeros(1, np.int64))
    blank = {k: np.zeros((config.batch_size, *v.shape[1:]), v.dtype) for k, v in row.items()}
    losses = {player: p.loss for player, p in model.players.items()} | dict(setup.losses or {})
    given = setup.condition(NUM_DRAWN)

    def step(batch: Any) -> Any:
        state = training.init_state(model, optimizer, batch, config.seed)
        for loss in losses.values():
            loss(state.params, batch, state.key, state=state.state, step=state.step, train=True)
        return state

    def sample(state: Any) -> Any:
        return model.sample(
            state.ema, state.key, NUM_DRAWN, state=state.state, **given, **setup.sampling
        )

    try:
        state = jax.eval_shape(step, blank)
        jax.eval_shape(sample, state)
    except Exception as error:  # whatever it is: it would end the run in the middle
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name} cannot be trained: {in_words(data.spec)}; {why}") from error
    return sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(state)
        if not jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def with_size(
    error: ValueError, experiment: Experiment[Any], config: Config[Any], data: Dataset
) -> ValueError:
    """A refusal, with the nearest size that the experiment can be trained on, if it is the size.

    Args:
        error: Why the experiment cannot be trained on the data.
        experiment: The experiment.
        config: Its configuration.
        data: The data; another size can be had of the images of a folder alone.
    """
    spec = data.spec
    if len(spec.shape) != 3 or not Path(config.dataset).expanduser().is_dir():
        return error
    row = data.rows(np.zeros(1, np.int64))
    for factor in (2, 4, 8, 16, 32):
        sides = tuple(max(factor, factor * round(side / factor)) for side in spec.shape[:2])
        arrays = {
            name: np.zeros((1, *sides, *array.shape[3:]), array.dtype)
            if array.shape[1:3] == spec.shape[:2]
            else array
            for name, array in row.items()
        }
        shape = (*sides, spec.shape[2])
        other = Dataset(dataclasses.replace(spec, shape=shape), data.split, arrays)
        try:
            setup = experiment.build(config, other.spec)
            optimizer = setup.optimizer or make_optimizer(config.optimizer, config.steps)
            rehearse(experiment.name, config, setup, other, optimizer)
        except ValueError:
            continue
        return ValueError(f"{error}; or give --size {' '.join(map(str, sides))}")
    return error


def check_room(directory: Path, checkpoint_bytes: int) -> None:
    """Refuses a run whose checkpoints the disk has no room for.

    Raises:
        ValueError: How much there is and how much is needed.
    """
    place = next(p for p in (directory.absolute(), *directory.absolute().parents) if p.is_dir())
    free, needed = shutil.disk_usage(place).free, NUM_CHECKPOINTS * checkpoint_bytes
    if free < needed:
        raise ValueError(
            f"{place} has {free / 2**20:,.0f} MiB free, and {NUM_CHECKPOINTS} checkpoints take"
            f" {needed / 2**20:,.0f}: make room, or give a --run-dir on another disk"
        )
