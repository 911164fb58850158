"""Distances between a model and a truth whose density is known."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax
import numpy as np

from genjax_models.core.protocols import TractableDensity
from genjax_models.core.types import Array, Key, Params, State


class Truth(Protocol):
    """A law that can be both sampled and evaluated (`data.densities` holds some)."""

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats."""
        ...

    def sample(self, key: Key, num: int) -> Array:
        """Independent examples `[num, ...]`."""
        ...


class Estimate(NamedTuple):
    """A mean over random draws.

    Attributes:
        value: The mean.
        standard_error: The standard deviation of the mean.
    """

    value: float
    standard_error: float


def kl_to_truth(
    model: TractableDensity,
    params: Params,
    truth: Truth,
    key: Key,
    num: int = 100_000,
    *,
    state: State | None = None,
    batch_size: int = 10_000,
) -> Estimate:
    """KL(truth || model) = E_truth[log p_truth(x) - log p_model(x)], on fresh draws of the truth.

    Args:
        model: A model with an exact density.
        params: Its parameters.
        truth: The law that the data are drawn from.
        key: What the draws are a function of.
        num: How many draws.
        state: The model's state.
        batch_size: Draws at a time.

    Returns:
        The KL in nats, with its standard error.

    Raises:
        ValueError: Fewer than 2 draws, of which there is no error.
    """
    if num < 2 or batch_size < 1:
        raise ValueError(f"{num} draws, {batch_size} at a time, are asked: give at least 2, 1")
    size = min(num, batch_size)

    @jax.jit
    def log_ratios(params: Params, state: State | None, key: Key) -> Array:
        x = truth.sample(key, size)
        return truth.log_prob(x) - model.log_prob(params, x, state=state)

    keys = jax.random.split(key, -(-num // size))
    ratios = np.concatenate([np.asarray(log_ratios(params, state, k), np.float64) for k in keys])
    ratios = ratios[:num]
    return Estimate(float(ratios.mean()), float(ratios.std(ddof=1) / np.sqrt(len(ratios))))
