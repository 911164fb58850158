"""Small layers that several networks share."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core import random
from genjax_models.core.types import Array, Key


def with_context(x: Array, context: Array | None) -> Array:
    """The context `[B, C]` joined to `x` `[B, ..., D]` on the last axis, at every position."""
    if context is None:
        return x
    context = context.astype(x.dtype).reshape(x.shape[0], *[1] * (x.ndim - 2), -1)
    context = jnp.broadcast_to(context, (*x.shape[:-1], context.shape[-1]))
    return jnp.concatenate([x, context], axis=-1)


def drop(x: Array, rate: float, key: Key) -> Array:
    """Entries set to 0 with probability `rate`, the others enlarged to keep the mean.

    Args:
        x: Activations `[B, ...]`.
        rate: In [0, 1).
        key: PRNG key; the noise also depends on the position of an example in the batch.

    References:
        Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting.
    """
    keep = random.uniform(key, x.shape) >= rate
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


near_zero = nn.initializers.variance_scaling(1e-2, "fan_in", "truncated_normal")
"""A tenth of the usual size: what ends a branch or a network starts as little, and yet everything
before it has a gradient from the first step on."""


class Centred(nn.Module):
    """A network whose input is centred at the mean of the batch given to `init`.

    The mean is a constant of the model's state. Saturating units start in their linear range, and
    gradients do not share one large direction: without it, the encoder of a VAE on images that are
    mostly background can lose most of its latent entries for good in the first thousand steps.

    Attributes:
        network: Network of the centred input.

    References:
        LeCun et al. 1998, Efficient BackProp, sec. 4.3.
    """

    network: nn.Module

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """The network's output for `x` `[B, ...]` less the mean."""
        mean = self.variable("constants", "mean", lambda: jnp.mean(x, axis=0))
        return self.network(x - mean.value, context, train=train)


class Unconditional(nn.Module):
    """A module of `x` alone, in the place of a network that is also given a condition and `train`.

    So `flax.linen.Sequential((...))`, of a tuple of layers, is a network of a model.

    Attributes:
        network: The module.
    """

    network: nn.Module

    @nn.compact
    def __call__(self, x: Array, *others: Array | None, train: bool = False) -> Array:
        """The module's output for `x` `[B, ...]`.

        Raises:
            ValueError: There is a condition, or a noise level, which it would not see.
        """
        if any(other is not None for other in others):
            raise ValueError(
                f"a {type(self.network).__name__} sees x alone, and this model has more to tell its"
                " network (a condition, a noise level): give one whose __call__ takes that, too"
            )
        return self.network(x)


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
