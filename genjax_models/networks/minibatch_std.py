"""How much the examples of a batch differ, shown to a discriminator."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core import random
from genjax_models.core.types import Array


class MinibatchStandardDeviation(nn.Module):
    """One more channel: the examples' standard deviation, averaged over channels and positions.

    The whole batch counts, on however many devices it is. Without it a discriminator sees one
    example at a time, and cannot tell that a generator always draws the same one.

    Attributes:
        epsilon: Added to the variance, which has no gradient at 0 otherwise.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, sec. 3.
    """

    epsilon: float = 1e-8

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, ..., C + 1]`, from images or vectors `[B, ..., C]`."""
        a = x.astype(jnp.float32)
        mean = random.mean_over_devices(jnp.mean(a, axis=0))
        variance = random.mean_over_devices(jnp.mean((a - mean) ** 2, axis=0))
        deviation = jnp.mean(jnp.sqrt(variance + self.epsilon)).astype(x.dtype)
        return jnp.concatenate([x, jnp.broadcast_to(deviation, (*x.shape[:-1], 1))], axis=-1)
