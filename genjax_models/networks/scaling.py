"""Images of another size by whole factors: pixels repeated, and blocks of them averaged."""

from __future__ import annotations

import jax.numpy as jnp

from genjax_models.core.types import Array


def repeated(x: Array, factor: int) -> Array:
    """Every pixel of `[B, H, W, C]` repeated `factor` times each way."""
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def averaged(x: Array, factor: int) -> Array:
    """The means of the `factor` x `factor` blocks of pixels of `[B, H, W, C]`."""
    b, height, width, c = x.shape
    return x.reshape(b, height // factor, factor, width // factor, factor, c).mean((2, 4))
