"""A run traced on shapes alone, before its first step and before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.runner.needs import in_words

if TYPE_CHECKING:
    from experiments.runner.config import Config
    from experiments.runner.experiment import Setup
    from genjax_models.data import Dataset

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
        data: What is trained on.
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
