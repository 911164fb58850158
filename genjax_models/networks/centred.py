"""Inputs less their mean."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array


class Centred(nn.Module):
    """A network whose input is centred at the mean of the batch that it was initialised with.

    The mean is a constant of the model's state. Saturating units start in their linear range, and
    gradients do not share one large direction: without it, the encoder of a VAE on images that are
    mostly background can lose most of its latent entries for good in the first thousand steps.

    Attributes:
        network: What the centred input is handed to.

    References:
        LeCun et al. 1998, Efficient BackProp, sec. 4.3.
    """

    network: nn.Module

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """The network's output for `x` `[B, ...]` less the mean."""
        mean = self.variable("constants", "mean", lambda: jnp.mean(x, axis=0))
        return self.network(x - mean.value, context, train=train)
