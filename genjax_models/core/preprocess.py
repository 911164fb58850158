"""Preprocessing of data, which a model declares, and the scaling of network inputs.

Datasets give raw discrete values. A model that wants them binary or continuous has one of the
`Preprocess` values here, which says what its likelihoods are likelihoods of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.dequantization import UNIT, num_levels_of
from genjax_models.core.discretized import to_level
from genjax_models.core.distributions import as_levels, level_dtype, sum_entries
from genjax_models.core.types import Array, DataSpec, Key
from genjax_models.core.values import value


class Preprocess(Protocol):
    """A pure function of the data, the description of its results, and the way back."""

    @property
    def name(self) -> str:
        """Its name, which stands beside likelihoods; empty where it changes nothing."""
        ...

    def apply(self, x: Array, key: Key, spec: DataSpec) -> Array:
        """The preprocessed data `[B, ...]`, from data `[B, ...]`."""
        ...

    def describe(self, spec: DataSpec) -> DataSpec:
        """The description of the data after it, given that before it."""
        ...

    def restore(self, x: Array, spec: DataSpec) -> Array:
        """Preprocessed values `[B, ...]` in the units of the data before it."""
        ...

    def log_volume(self, spec: DataSpec) -> float:
        """What is added to log p of a preprocessed example for (a bound of) log p of the data."""
        ...


@value
class Identity:
    """The data as they are."""

    @property
    def name(self) -> str:
        """Empty."""
        return ""

    def apply(self, x: Array, key: Key, spec: DataSpec) -> Array:
        """The data."""
        return x

    def describe(self, spec: DataSpec) -> DataSpec:
        """The same description."""
        return spec

    def restore(self, x: Array, spec: DataSpec) -> Array:
        """The data."""
        return x

    def log_volume(self, spec: DataSpec) -> float:
        """0."""
        return 0.0


@value
class Binarization:
    """Binary pixels: 1 where the grey value x / (num_levels - 1) is above a threshold, else 0.

    Attributes:
        thresholds: `(x [B, ...], key) ->` thresholds in [0, 1) `[B, ...]`.
        name: Its name.
    """

    thresholds: Callable[[Array, Key], Array]
    name: str = "binarisation"

    def apply(self, x: Array, key: Key, spec: DataSpec) -> Array:
        """Binary pixels `[B, ...]`, uint8."""
        grey = x.astype(jnp.float32) / (_levels(spec) - 1)
        return (self.thresholds(x, key) < grey).astype(jnp.uint8)

    def describe(self, spec: DataSpec) -> DataSpec:
        """Data of two levels."""
        return dataclasses.replace(spec, num_levels=2)

    def restore(self, x: Array, spec: DataSpec) -> Array:
        """Black and white in the data's range: 0 -> 0, 1 -> num_levels - 1, linear between."""
        return x * x.dtype.type(_levels(spec) - 1)

    def log_volume(self, spec: DataSpec) -> float:
        """0: likelihoods are of the binary pixels."""
        return 0.0


def random_thresholds(x: Array, key: Key) -> Array:
    """Uniform numbers in [0, 1) `[B, ...]`: the grey values are the probabilities of a 1."""
    return random.uniform(key, x.shape)


def half(x: Array, key: Key) -> Array:
    """1/2 everywhere `[]`."""
    del x, key
    return jnp.full((), 0.5)


@value
class FixedThresholds:
    """Uniform numbers that are a function of the image and of a seed.

    Attributes:
        seed: The seed.
    """

    seed: int = 0

    def __call__(self, x: Array, key: Key) -> Array:
        """Numbers in [0, 1) `[B, ...]`."""
        del key
        keys = jax.vmap(lambda row: _content_key(row, self.seed))(x)
        return jax.vmap(lambda k: jax.random.uniform(k, x.shape[1:]))(keys)


def _content_key(x: Array, seed: int) -> Key:
    """A key that is a function of one example's values and of the seed."""
    values = x.reshape(-1).astype(jnp.uint32)
    # A random linear hash modulo 2^32: other values, another key, but for one pair in 2^32.
    factors = jax.random.bits(jax.random.key(seed), values.shape, jnp.uint32)
    return jax.random.fold_in(jax.random.key(seed), jnp.sum(values * factors, dtype=jnp.uint32))


@value
class UniformDequantization:
    """Real values in [0, 1]: log p(x) >= E_u log p((x + u) / num_levels) - D log num_levels.

    References:
        Theis et al. 2016, arXiv:1511.01844, sec. 3.1.
    """

    @property
    def name(self) -> str:
        """Stands beside likelihoods."""
        return "uniform dequantisation"

    def apply(self, x: Array, key: Key, spec: DataSpec) -> Array:
        """(x + u) / num_levels with u uniform in [0, 1) `[B, ...]`."""
        _levels(spec)  # real values are refused
        return UNIT.dequantize(x, key, spec)

    def describe(self, spec: DataSpec) -> DataSpec:
        """Real-valued data."""
        return dataclasses.replace(spec, num_levels=None)

    def restore(self, x: Array, spec: DataSpec) -> Array:
        """The levels in whose cells the values lie."""
        return UNIT.quantize(x, spec)

    def log_volume(self, spec: DataSpec) -> float:
        """-D log num_levels."""
        return UNIT.log_volume(spec)


identity = Identity()
"""The data as they are."""

dynamic_binarization = Binarization(random_thresholds, "dynamic binarisation")
"""New binary pixels at every look at an image (Burda et al. 2015, arXiv:1509.00519, sec. 5)."""

threshold = Binarization(half, "binarisation at half the range")
"""Binary pixels without noise: 1 above half of the range."""

uniform_dequantization = UniformDequantization()
"""Real values in [0, 1] by uniform noise (Theis et al. 2016, arXiv:1511.01844, sec. 3.1)."""


def fixed_binarization(seed: int = 0) -> Binarization:
    """Binary pixels that an image keeps for good: a function of the image and the seed."""
    return Binarization(FixedThresholds(seed), f"fixed binarisation, seed {seed}")


def _levels(spec: DataSpec) -> int:
    return num_levels_of(spec, "this preprocessing is for discrete data; use preprocess.identity")


def of_data(log_prob: Array, x: Array, spec: DataSpec) -> Array:
    """Log-probabilities of discrete data, which give all of their mass to the data's levels.

    What is done to the data first (noise, binarisation, tokens) hides from a likelihood what no
    data can be.

    Args:
        log_prob: Log-probabilities `[B]`.
        x: Examples as they are given `[B, *shape]`.
        spec: Spec that they are to have.

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
        spec: Their spec.

    Returns:
        float32 `[B, ...]`.
    """
    x = x.astype(jnp.float32)
    return x if spec.num_levels is None else 2.0 * x / (spec.num_levels - 1) - 1.0


def from_unit_range(x: Array, spec: DataSpec) -> Array:
    """The way back: the levels nearest to values in [-1, 1]; real values as they are.

    Args:
        x: Data in [-1, 1], or near `[B, ...]`.
        spec: Spec of the data.
    """
    return x if spec.num_levels is None else to_level(x, spec.num_levels)


def bounded(x: Array, spec: DataSpec) -> Array:
    """A network's outputs in the range of `to_unit_range`: tanh, or real values as they are.

    Args:
        x: Outputs `[B, ...]`, any real numbers.
        spec: Spec of the data.
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
