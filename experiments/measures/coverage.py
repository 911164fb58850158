"""Hooks that watch how many modes a generator covers while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from genjax_models.core import Array, Model
from genjax_models.data import densities, stacked_mnist
from genjax_models.metrics import classified_modes, classify_channels, load_classifier, mode_shares
from genjax_models.training.hooks import Every, Hook, Report, coverage

if TYPE_CHECKING:
    from genjax_models.training import TrainState

NUM_WATCHED, EVERY = 2_000, 5_000
ENOUGH_STACKS = 750
"""Of 1,000 modes; 2,000 samples of the data cover some 865."""


def of_mixture(model: Model, density: densities.Mixture) -> Callable[[Sequence[Report]], Hook]:
    """Warns when samples leave out a mode of a mixture."""
    modes = len(density.modes)

    def count(x: Array) -> tuple[int, int]:
        return mode_shares(x, density).covered, modes

    return _watched(model, count, modes)


def of_stacks(model: Model) -> Callable[[Sequence[Report]], Hook]:
    """Warns when samples of stacked MNIST cover much fewer modes than the data do."""

    def count(x: Array) -> tuple[int, int]:
        read = classify_channels(load_classifier("mnist").predict, x)
        return classified_modes(read, stacked_mnist.NUM_MODES).covered, stacked_mnist.NUM_MODES

    return _watched(model, count, ENOUGH_STACKS)


def _watched(
    model: Model, count: Callable[[Any], tuple[int, int]], enough: int
) -> Callable[[Sequence[Report]], Hook]:
    """A hook that counts the modes of some samples of the averaged parameters."""
    draw = jax.jit(lambda params, kept, key: model.sample(params, key, NUM_WATCHED, state=kept))

    def of_state(state: TrainState) -> tuple[int, int]:
        return count(np.asarray(draw(state.ema, state.state, jax.random.key(0))))

    return lambda reports: Every(EVERY, coverage(of_state, enough, reports))
