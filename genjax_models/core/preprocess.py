"""What a model does to its data before it looks at them, declared on the model.

Data sets give raw discrete values; a model that wants them binary or continuous says so with one
of the `Preprocess` values here, so that it stands in one place what a likelihood is the likelihood
of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.dequantization import UNIT, num_levels_of
from genjax_models.core.discretized import to_level
from genjax_models.core.distributions import as_levels, level_dtype, sum_entries
from genjax_models.core.types import Array, DataSpec, Key


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """A pure function of the data, what it makes of their description, and the way back.

    Attributes:
        apply: `(x [B, ...], key, spec) -> x [B, ...]`.
        describe: What the data are after it, given what they were before.
        restore: `(x [B, ...], spec) -> x [B, ...]`: values after it in the units of those before.
        log_volume: What log p of an example after it must be raised by to be (a bound of) log p of
            the example before it, in nats, given the description before.
        name: What it is, to stand beside likelihoods; empty where it changes nothing.
    """

    apply: Callable[[Array, Key, DataSpec], Array]
    describe: Callable[[DataSpec], DataSpec] = lambda spec: spec
    restore: Callable[[Array, DataSpec], Array] = lambda x, spec: x
    log_volume: Callable[[DataSpec], float] = lambda spec: 0.0
    name: str = ""


def _levels(spec: DataSpec) -> int:
    return num_levels_of(spec, "this preprocessing is for discrete data; use preprocess.identity")


def _two_levels(spec: DataSpec) -> DataSpec:
    return dataclasses.replace(spec, num_levels=2)


def _real_valued(spec: DataSpec) -> DataSpec:
    return dataclasses.replace(spec, num_levels=None)


def _full_range(x: Array, spec: DataSpec) -> Array:
    """Black and white in the data's own range: 0 -> 0, 1 -> num_levels - 1, means between them."""
    top = _levels(spec) - 1
    return x * x.dtype.type(top)


def _binarize(x: Array, key: Key, spec: DataSpec) -> Array:
    """Bernoulli draws whose probabilities are the grey values, x / (num_levels - 1)."""
    probability = x.astype(jnp.float32) / (_levels(spec) - 1)
    return (random.uniform(key, x.shape) < probability).astype(jnp.uint8)


def _content_key(x: Array, seed: int) -> Key:
    """A key that is a function of one example's values and of the seed."""
    values = x.reshape(-1).astype(jnp.uint32)
    # A random linear hash modulo 2^32: other values, another key, but for one pair in 2^32.
    factors = jax.random.bits(jax.random.key(seed), values.shape, jnp.uint32)
    return jax.random.fold_in(jax.random.key(seed), jnp.sum(values * factors, dtype=jnp.uint32))


def _dequantize(x: Array, key: Key, spec: DataSpec) -> Array:
    _levels(spec)  # real values are refused
    return UNIT.dequantize(x, key, spec)


identity = Preprocess(lambda x, key, spec: x)
"""The data as they are."""

dynamic_binarization = Preprocess(_binarize, _two_levels, _full_range, name="dynamic binarisation")
"""Every look at an image draws new binary pixels (Burda et al. 2015, arXiv:1509.00519, sec. 5)."""

threshold = Preprocess(
    lambda x, key, spec: (x > (_levels(spec) - 1) / 2).astype(jnp.uint8),
    _two_levels,
    _full_range,
    name="binarisation at half the range",
)
"""Binary pixels without noise: 1 above half of the range."""

uniform_dequantization = Preprocess(
    _dequantize,
    _real_valued,
    UNIT.quantize,
    UNIT.log_volume,
    "uniform dequantisation",
)
"""Real values in [0, 1]; log p(x) >= E_u log p((x + u) / num_levels) - D log num_levels
(Theis et al. 2016, arXiv:1511.01844, sec. 3.1)."""


def fixed_binarization(seed: int = 0) -> Preprocess:
    """Binary pixels that an image keeps for good: a function of the image and the seed."""

    def apply(x: Array, key: Key, spec: DataSpec) -> Array:
        del key
        keys = jax.vmap(lambda row: _content_key(row, seed))(x)
        uniform = jax.vmap(lambda k: jax.random.uniform(k, x.shape[1:]))(keys)
        return (uniform < x.astype(jnp.float32) / (_levels(spec) - 1)).astype(jnp.uint8)

    return Preprocess(apply, _two_levels, _full_range, name=f"fixed binarisation, seed {seed}")


def of_data(log_prob: Array, x: Array, spec: DataSpec) -> Array:
    """Log-probabilities of discrete data, which give all of their mass to the data's levels.

    What is done to the data first (noise, binarisation, tokens) hides from a likelihood what no
    data can be.

    Args:
        log_prob: Log-probabilities `[B]`.
        x: Examples as they are given `[B, *shape]`.
        spec: What they should be.

    Returns:
        `[B]`: minus infinity where an entry is no level, NaN where one is NaN; else, and of
        real-valued data, as they were.
    """
    if spec.num_levels is None:
        return log_prob
    outside = sum_entries(as_levels(x, spec.num_levels)[1])
    return jnp.where(outside == 0.0, log_prob, outside)


def to_unit_range(x: Array, spec: DataSpec) -> Array:
    """Network input: levels to [-1, 1], 2 x / (num_levels - 1) - 1; real values as they are.

    Args:
        x: Data `[B, ...]`.
        spec: What they are.

    Returns:
        float32 `[B, ...]`.
    """
    x = x.astype(jnp.float32)
    return x if spec.num_levels is None else 2.0 * x / (spec.num_levels - 1) - 1.0


def from_unit_range(x: Array, spec: DataSpec) -> Array:
    """The way back: the levels nearest to values in [-1, 1]; real values as they are.

    Args:
        x: What `to_unit_range` gave, or anything near `[B, ...]`.
        spec: What the data are.
    """
    return x if spec.num_levels is None else to_level(x, spec.num_levels)


def bounded(x: Array, spec: DataSpec) -> Array:
    """A network's outputs in the range of `to_unit_range`: tanh, or real values as they are.

    Args:
        x: Outputs `[B, ...]`, any real numbers.
        spec: What the data are.
    """
    return x if spec.num_levels is None else jnp.tanh(x)


def data_dtype(spec: DataSpec) -> jnp.dtype:
    """The type of the data: texts are int32 whatever the size of their vocabulary."""
    if spec.num_levels is None:
        return jnp.dtype(jnp.float32)
    return jnp.dtype(jnp.int32) if spec.vocabulary else level_dtype(spec.num_levels)


def tokens(x: Array, spec: DataSpec) -> Array:
    """Network input: every entry as a token, int32 `[B, N]`, images row by row."""
    if spec.num_levels is None:
        raise ValueError(
            f"{spec.name} has real-valued entries, which are no tokens: use inputs=to_unit_range"
        )
    return x.reshape(x.shape[0], -1).astype(jnp.int32)


def from_tokens(x: Array, spec: DataSpec) -> Array:
    """The way back: tokens `[B, N]` as examples `[B, *shape]` of the data's type."""
    return x.reshape(x.shape[0], *spec.shape).astype(data_dtype(spec))
