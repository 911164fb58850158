"""Passes of score matching: the network is asked for the gradient of its log-density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array, Batch, Key, Params, State
from genjax_models.energy.outputs import DenoisingOutputs, SlicedOutputs

if TYPE_CHECKING:
    from genjax_models.energy.model import EnergyModel


def denoising(
    model: EnergyModel,
    sigma: float,
    params: Params,
    batch: Batch,
    key: Key,
    *,
    state: State,
    train: bool,
) -> tuple[DenoisingOutputs, State]:
    """The score at the data with noise of standard deviation sigma, and the state after it."""
    key_x, key_noise, key_network = jax.random.split(key, 3)
    v = model.points(batch["x"], key_x)
    noise = random.normal(key_noise, v.shape)
    score, state = _score(model, params, state, v + sigma * noise, key_network, train)
    return DenoisingOutputs(v, noise, jnp.full(v.shape[0], sigma), score), state


def sliced(
    model: EnergyModel,
    params: Params,
    batch: Batch,
    key: Key,
    *,
    state: State,
    train: bool,
) -> tuple[SlicedOutputs, State]:
    """The score at the data and its slope in a random direction, and the state after it."""
    key_x, key_direction, key_network = jax.random.split(key, 3)
    v = model.points(batch["x"], key_x)
    direction = random.normal(key_direction, v.shape)

    def along(v: Array) -> tuple[Array, tuple[Array, State]]:
        score, after = _score(model, params, state, v, key_network, train)
        return jnp.sum(score * direction), (score, after)

    # Reverse mode twice: the product with the Hessian, without the Hessian.
    gradient, (score, state) = jax.grad(along, has_aux=True)(v)
    return SlicedOutputs(v, score, sum_entries(gradient * direction)), state


def _score(
    model: EnergyModel, params: Params, state: State, v: Array, key: Key, train: bool
) -> tuple[Array, State]:
    def total(v: Array) -> tuple[Array, State]:
        tilt, after = model.tilt(params, state, v, key=key, train=train)
        return jnp.sum(model.reference.log_prob(v) - tilt), after

    return jax.grad(total, has_aux=True)(v)
