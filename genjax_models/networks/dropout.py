"""Dropout whose noise belongs to the examples, so that any number of devices gives the same run."""

from __future__ import annotations

import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.types import Array, Key


def drop(x: Array, rate: float, key: Key) -> Array:
    """Entries set to 0 with probability `rate`, the others enlarged to keep the mean.

    Args:
        x: Activations `[B, ...]`.
        rate: In [0, 1).
        key: What the noise is a function of, with an example's position in the batch.

    References:
        Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting.
    """
    keep = random.uniform(key, x.shape) >= rate
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)
