"""Modes that samples cover, of mixtures in the plane and of stacked digits: figures and hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments.measures.images import classifier
from experiments.runner import runs, samples
from experiments.runner.experiment import Figures, figure
from genjax_models.core import Array, Model
from genjax_models.data import densities, stacked_mnist
from genjax_models.metrics import (
    classified_modes,
    classify_channels,
    load_classifier,
    mode_shares,
    sliced_wasserstein,
)
from genjax_models.training.hooks import Every, Hook, Report, coverage

if TYPE_CHECKING:
    from genjax_models.data import Dataset
    from genjax_models.training import TrainState

NUM_POINTS = 50_000
PAIRS, PAIR_SIZE = 4, 10_000
NUM_STACKS = 26_000
NUM_WATCHED, EVERY = 2_000, 5_000
ENOUGH_STACKS = 750
"""Of 1,000 modes; 2,000 samples of the data cover some 865."""


def modes_of_points(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Distribution of samples over the modes of a mixture."""
    del data
    density = _truth(run)
    if not isinstance(density, densities.Mixture):
        return {}
    found = mode_shares(samples.draw_samples(run, NUM_POINTS, seed), density)
    kind = f"{NUM_POINTS:,} samples"
    truth = f"{kind}; {100 * found.expected_within:.2f} % of the truth"
    return {
        "within_3_sigma": figure(100 * found.within, "% of samples", truth),
        "modes": figure(found.covered, f"of {len(density.modes)}", kind),
        "mode_difference": figure(
            100 * found.largest_difference, "% of a mode's weight", f"largest, {kind}"
        ),
    }


def distance_of_points(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """The sliced Wasserstein distance to a density that is known, and a fresh sample's."""
    del data
    density = _truth(run)
    if density is None:
        return {}
    drawn = {"sliced_wasserstein": [], "sliced_wasserstein_of_truth": []}
    for key in jax.random.split(jax.random.key(seed), PAIRS):
        key_truth, key_fresh, key_sample = jax.random.split(key, 3)
        truth = density.sample(key_truth, PAIR_SIZE)
        model = samples.draw_samples(run, PAIR_SIZE, int(jax.random.bits(key_sample)))
        fresh = density.sample(key_fresh, PAIR_SIZE)
        for values, x in zip(drawn.values(), (model, fresh), strict=True):
            values.append(float(sliced_wasserstein(x, truth, key)))
    kind = f"mean over {PAIRS} pairs of {PAIR_SIZE:,} points"
    return {name: figure(np.mean(values), "", kind) for name, values in drawn.items()}


def _truth(run: runs.Run) -> densities.Density | None:
    """The density that the data are of, where it is known."""
    make = densities.DENSITIES.get(run.record.config.dataset)
    return None if make is None else make()


def modes_of_stacks(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Number of the 1,000 modes that samples cover, as a classifier of digits reads them."""
    reader = classifier(run.record.config, "mnist")

    def modes(x: np.ndarray) -> np.ndarray:
        return classify_channels(reader.predict, x)

    drawn = modes(samples.draw_samples(run, NUM_STACKS, seed))
    real = np.concatenate([modes(batch["x"]) for batch in data.batches(1000)])
    found, of_data = (classified_modes(m, stacked_mnist.NUM_MODES) for m in (drawn, real))
    kind = f"{NUM_STACKS:,} samples, {reader.name}"
    truth = f"{kind}; {len(real):,} real ones {of_data.covered} and {of_data.kl:.3f}"
    return {
        "modes": figure(found.covered, "of 1000", truth),
        "kl_of_modes": figure(found.kl, "nats", truth),
    }


def watch_mixture(model: Model, density: densities.Mixture) -> Callable[[Sequence[Report]], Hook]:
    """Makes the hook that warns when samples leave out a mode of a mixture."""
    modes = len(density.modes)

    def count(x: Array) -> tuple[int, int]:
        return mode_shares(x, density).covered, modes

    return _watched(model, count, modes)


def watch_stacks(model: Model) -> Callable[[Sequence[Report]], Hook]:
    """Makes the hook that warns when stacked digits cover much fewer modes than the data do."""

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
