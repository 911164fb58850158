"""Discrete data as points that a density is over, and back.

Level k of L owns the cell [2 k / L - 1, 2 (k + 1) / L - 1) of [-1, 1), and an entry becomes a
uniform point of its cell. With p the density of the points,

    log P(x) >= E_u log p(v) + D log(2 / L),   v uniform in the cells of x,

so that nats of p, so corrected, are nats of the discrete data. Real-valued data stay as they are.

References:
    Theis et al. 2016, A note on the evaluation of generative models, arXiv:1511.01844, sec. 3.1.
"""

from __future__ import annotations

import math

import jax.numpy as jnp

from genjax_models.core.preprocess import uniform_dequantization
from genjax_models.core.types import Array, DataSpec, Key


def points(x: Array, key: Key, spec: DataSpec) -> Array:
    """Points `[B, ...]` of data `[B, ...]`, uniform in their cells."""
    if spec.levels is None:
        return x.astype(jnp.float32)
    return 2.0 * uniform_dequantization.apply(x, key, spec) - 1.0


def centres(x: Array, spec: DataSpec) -> Array:
    """The middles `[B, ...]` of the cells of data `[B, ...]`."""
    x = x.astype(jnp.float32)
    return x if spec.levels is None else (2.0 * x + 1.0) / spec.levels - 1.0


def examples(v: Array, spec: DataSpec) -> Array:
    """The data whose cells, or the nearest ones, hold points `[B, ...]`; in the data's type."""
    return v if spec.levels is None else uniform_dequantization.restore((v + 1.0) / 2.0, spec)


def log_volume(spec: DataSpec) -> float:
    """The log volume of an example's cell, D log(2 / L); 0 for real-valued data."""
    return 0.0 if spec.levels is None else spec.num_dims * math.log(2.0 / spec.levels)
