"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array


class MLP(nn.Module):
    """Dense layers with an activation between them; the input is flattened.

    Attributes:
        features: Width of each layer; the last is the number of outputs.
        activation: Between layers, not after the last.
        dtype: What the layers compute in (`jnp.bfloat16` for mixed precision); parameters and
            outputs are float32 (float64 for `jnp.float64`).
    """

    features: Sequence[int]
    activation: Callable[[Array], Array] = nn.silu
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Outputs `[B, features[-1]]`, float32.

        Args:
            x: Inputs `[B, ...]`.
            context: What the outputs are conditioned on `[B, C]`, joined to the inputs.
            train: Nothing here depends on it.
        """
        x = x.reshape(x.shape[0], -1)
        if context is not None:
            x = jnp.concatenate([x, context.astype(x.dtype)], axis=-1)
        *hidden, last = self.features
        for width in hidden:
            x = self.activation(nn.Dense(width, dtype=self.dtype)(x))
        out = nn.Dense(last, dtype=self.dtype)(x)
        return out.astype(jnp.promote_types(self.dtype, jnp.float32))
