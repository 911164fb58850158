"""The pass of noise-contrastive estimation: the model as a classifier of data against noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from genjax_models.core.types import Batch, Key, Params, State
from genjax_models.energy.outputs import NoiseContrastiveOutputs

if TYPE_CHECKING:
    from genjax_models.energy.model import EnergyModel


def contrast(
    model: EnergyModel,
    nu: int,
    params: Params,
    batch: Batch,
    key: Key,
    *,
    state: State,
    train: bool,
) -> tuple[NoiseContrastiveOutputs, State]:
    """The logits of data and of nu points of the reference a datum, and the state after it.

    With the reference q as noise, log p - log q is -f: what is told apart is the network's own
    output, and its constant stands for the log-normaliser.
    """
    key_x, key_noise, key_network = jax.random.split(key, 3)
    v = model.points(batch["x"], key_x)
    noise = model.reference.sample(key_noise, (v.shape[0], nu, *v.shape[1:]))
    # Noise lies next to its example: nothing crosses devices.
    both = jnp.concatenate([v[:, None], noise], axis=1).reshape(-1, *v.shape[1:])
    tilt, state = model.tilt(params, state, both, key=key_network, train=train)
    logits = (-tilt - math.log(nu)).reshape(-1, 1 + nu)  # [B, 1 + nu]
    return NoiseContrastiveOutputs(v, logits[:, 0], logits[:, 1:]), state
