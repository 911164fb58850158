"""The projection discriminator: how well an example goes with its label, as an inner product."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array


class Projection(nn.Module):
    """`w . h + b + <E y, h>` with features h of the example and a vector E y of its label.

    Attributes:
        features: A network `x -> h [B, D]`, such as a discriminator with `num_outputs=None`. It is
            not told the label.

    References:
        Miyato & Koyama 2018, cGANs with Projection Discriminator, arXiv:1802.05637, eq. 8.
    """

    features: nn.Module

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Logits `[B, 1]`.

        Args:
            x: Examples `[B, ...]`.
            context: One-hot labels `[B, K]`; None for `w . h + b` alone.
            train: Handed to the network.

        Raises:
            ValueError: The network does not give one vector an example.
        """
        h = self.features(x, train=train)
        if h.ndim != 2:
            raise ValueError(
                f"Projection takes features [B, D], but its network gives {h.shape}: take one that "
                "gives a vector an example (num_outputs=None)"
            )
        logits = nn.Dense(1, name="w")(h)
        if context is None:
            return logits
        embedding = nn.Dense(h.shape[-1], use_bias=False, name="embedding")(context)
        return logits + jnp.sum(embedding * h, axis=-1, keepdims=True)
