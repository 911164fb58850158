"""Batch normalisation over the examples of all devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core import random
from genjax_models.core.types import Array

Norm: TypeAlias = Callable[[bool], nn.Module]
"""`train -> module`, a normalisation as networks ask for it: `BatchNorm`, `instance_norm`, or
`lambda train: GroupNorm(8)`."""


class BatchNorm(nn.Module):
    """Every channel brought to mean 0 and variance 1 over the batch and the pixels, then scaled.

    `y = (x - mean) / sqrt(var + epsilon) * scale + bias`. In training the statistics are those of
    the whole batch, on however many devices it is; otherwise they are the running averages in the
    collection "batch_stats", which training moves.

    Attributes:
        train: Whether to take, and to keep, the batch's own statistics.
        decay: What a pass in training keeps of the running averages.
        epsilon: Added to the variance.

    References:
        Ioffe & Szegedy 2015, Batch Normalization, arXiv:1502.03167, alg. 1.
    """

    train: bool
    decay: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Of the same shape and type, from images or vectors `[B, ..., C]`."""
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_variance = self.variable("batch_stats", "variance", jnp.ones, shape)
        mean, variance = running_mean.value, running_variance.value
        if self.train:
            mean, variance = self._moments(x.astype(jnp.float32))
            if not self.is_initializing():
                for running, now in ((running_mean, mean), (running_variance, variance)):
                    running.value = self.decay * running.value + (1.0 - self.decay) * now
        slope = jax.lax.rsqrt(variance + self.epsilon) * scale
        return (x * slope + (bias - mean * slope)).astype(x.dtype)

    def _moments(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance `[C]`; every device has as many examples, so means of means will do."""
        axes = tuple(range(x.ndim - 1))
        mean = random.mean_over_devices(jnp.mean(x, axis=axes))
        variance = random.mean_over_devices(jnp.mean((x - mean) ** 2, axis=axes))
        return mean, variance
