"""Distributions over a batch of examples, as pytrees: likelihoods, posteriors, priors.

Axis 0 of every array is the examples; `log_prob` and `kl` sum over all others, and give `[B]` in
nats. Parameters are kept in log-space, so that densities and their gradients stay finite at the
edges. `core/discretized.py` holds the discretised logistics.

Of discrete entries, what is no level (a fraction, a number below 0 or beyond the last level) has
log-probability minus infinity, and NaN has NaN: never a number that could be believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from genjax_models.core import random
from genjax_models.core.types import Array, Key


@runtime_checkable
class Distribution(Protocol):
    """A distribution: a posterior, a prior or a likelihood."""

    def log_prob(self, x: Array) -> Array:
        """The log-density log p(x_b) of each example `[B]`, in nats."""
        ...

    def sample(self, key: Key) -> Array:
        """One draw for each example `[B, ...]`."""
        ...


@runtime_checkable
class ExplicitMean(Distribution, Protocol):
    """A distribution whose mean is known; every likelihood is one."""

    def mean(self) -> Array:
        """The mean `[B, ...]`."""
        ...


def sum_entries(a: Array) -> Array:
    """The sum over all axes but the first: `[B, ...] -> [B]`."""
    return jnp.sum(a.reshape(a.shape[0], -1), axis=-1)


def as_levels(x: Array, num_levels: int) -> tuple[Array, Array]:
    """Data as levels that may be computed with, and what is added to their log-probabilities.

    Args:
        x: Data `[...]` of any type.
        num_levels: Number of levels.

    Returns:
        Levels 0 .. num_levels - 1, int32 `[...]`, 0 in the place of what is none; and 0 where x is
        a level, minus infinity where it is none, NaN where it is NaN. So gradients with respect to
        a distribution's parameters are finite whatever x is.
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(jnp.promote_types(x.dtype, jnp.int32))  # uint8 cannot be compared with 256
    inside = (x >= 0) & (x <= num_levels - 1) & (x == jnp.floor(x))
    outside = jnp.where(jnp.isnan(x), jnp.nan, -jnp.inf)
    return jnp.where(inside, x, 0).astype(jnp.int32), jnp.where(inside, 0.0, outside)


@struct.dataclass
class Normal:
    """A normal distribution with a diagonal covariance.

    Attributes:
        loc: Means `[B, ...]`.
        log_scale: Logarithms of the standard deviations `[B, ...]`.
    """

    loc: Array
    log_scale: Array

    def log_prob(self, x: Array) -> Array:
        """Log-density log N(x; loc, scale^2) `[B]`, in nats."""
        residual = (x - self.loc) * jnp.exp(-self.log_scale)
        return sum_entries(-0.5 * residual**2 - self.log_scale - 0.5 * math.log(2 * math.pi))

    def sample(self, key: Key) -> Array:
        """Reparameterised draws `[B, ...]`: loc + scale * eps."""
        return self.loc + jnp.exp(self.log_scale) * random.normal(key, self.loc.shape)

    def mean(self) -> Array:
        """The mean `[B, ...]`."""
        return self.loc

    def mode(self) -> Array:
        """The mode `[B, ...]`, which is the mean."""
        return self.loc

    def kl_entries(self, other: Normal) -> Array:
        """KL(self || other) of each entry `[B, ...]`, in nats."""
        log_ratio = self.log_scale - other.log_scale
        residual = (self.loc - other.loc) * jnp.exp(-other.log_scale)
        return 0.5 * (jnp.expm1(2 * log_ratio) + residual**2) - log_ratio

    def kl(self, other: Normal) -> Array:
        """KL(self || other) `[B]`, in nats (Kingma & Welling 2014, arXiv:1312.6114, app. B)."""
        return sum_entries(self.kl_entries(other))


def standard_normal(shape: tuple[int, ...]) -> Normal:
    """N(0, I) for each of `shape[0]` examples."""
    return Normal(jnp.zeros(shape), jnp.zeros(shape))


@struct.dataclass
class Bernoulli:
    """Independent binary entries.

    Attributes:
        logits: log p / (1 - p) `[B, ...]`.
    """

    logits: Array

    def log_prob(self, x: Array) -> Array:
        """Log-probability of `x` in {0, 1} `[B]`, in nats."""
        level, outside = as_levels(x, 2)
        sign = 2.0 * level.astype(self.logits.dtype) - 1.0
        return sum_entries(jax.nn.log_sigmoid(sign * self.logits) + outside)

    def sample(self, key: Key) -> Array:
        """Draws in {0, 1} `[B, ...]`, uint8."""
        return (random.uniform(key, self.logits.shape) < self.mean()).astype(jnp.uint8)

    def mean(self) -> Array:
        """The probability of a one `[B, ...]`."""
        return jax.nn.sigmoid(self.logits)

    def mode(self) -> Array:
        """The likelier value `[B, ...]`, uint8."""
        return (self.logits > 0).astype(jnp.uint8)

    def kl(self, other: Bernoulli) -> Array:
        """KL(self || other) `[B]`, in nats."""
        p, log_sigmoid = self.mean(), jax.nn.log_sigmoid
        one = p * (log_sigmoid(self.logits) - log_sigmoid(other.logits))
        zero = (1 - p) * (log_sigmoid(-self.logits) - log_sigmoid(-other.logits))
        return sum_entries(one + zero)


def log_choose(n: int) -> np.ndarray:
    """The logarithms of n's binomial coefficients: a table, since float32 loses digits in n!."""
    log_factorial = np.array([math.lgamma(k + 1) for k in range(n + 1)])
    return log_factorial[n] - log_factorial - log_factorial[::-1]


def invert(log_prob: Callable[[Array], Array], uniform: Array, total: int) -> Array:
    """The level at which a distribution's cumulative probability passes each uniform number.

    Level by level, so that no array is larger than the draws.

    Args:
        log_prob: A level, int32 `[]`, to its log-probability for each entry, of `uniform`'s shape.
        uniform: Numbers in [0, 1).
        total: The highest level.

    Returns:
        Levels in 0 .. total, the data's integer type.
    """

    def climb(level: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        below, found = carry
        below = below + jnp.exp(log_prob(level))
        return below, found + (uniform >= below).astype(found.dtype)

    start = jnp.zeros_like(uniform), jnp.zeros(uniform.shape, level_dtype(total + 1))
    return jax.lax.fori_loop(0, total, climb, start)[1]


@struct.dataclass
class Binomial:
    """Independent counts 0 .. total: what `Bernoulli` is for two levels, for any number of them.

    Attributes:
        logits: log p / (1 - p) `[B, ...]` of one trial.
        total: Number of trials, num_levels - 1.
    """

    logits: Array
    total: int = struct.field(pytree_node=False)

    def log_prob(self, x: Array) -> Array:
        """Log-probability of `x` in 0 .. total `[B]`, in nats."""
        level, outside = as_levels(x, self.total + 1)
        return sum_entries(self._log_level(level) + outside)

    def sample(self, key: Key) -> Array:
        """Draws in 0 .. total `[B, ...]`, the data's integer type."""
        # By going through the levels: JAX's rejection sampler takes seconds to compile.
        return invert(self._log_level, random.uniform(key, self.logits.shape), self.total)

    def mean(self) -> Array:
        """The mean total * p `[B, ...]`."""
        return self.total * jax.nn.sigmoid(self.logits)

    def mode(self) -> Array:
        """floor((total + 1) p), at most total `[B, ...]`."""
        mode = jnp.floor((self.total + 1) * jax.nn.sigmoid(self.logits))
        return jnp.minimum(mode, self.total).astype(level_dtype(self.total + 1))

    def _log_level(self, level: Array) -> Array:
        """Log-probability of levels 0 .. total in each entry `[B, ...]`."""
        n, dtype = self.total, self.logits.dtype
        k, choose = level.astype(dtype), jnp.asarray(log_choose(n), dtype)[level]
        log_p, log_q = jax.nn.log_sigmoid(self.logits), jax.nn.log_sigmoid(-self.logits)
        return choose + k * log_p + (n - k) * log_q

    def kl(self, other: Binomial) -> Array:
        """KL(self || other) `[B]`, in nats."""
        return self.total * Bernoulli(self.logits).kl(Bernoulli(other.logits))


@struct.dataclass
class Categorical:
    """Independent entries with a probability for each of their levels.

    Attributes:
        logits: Unnormalised log-probabilities `[B, ..., levels]`.
    """

    logits: Array

    def log_prob(self, x: Array) -> Array:
        """Log-probability of `x` in 0 .. num_levels - 1 `[B]`, in nats."""
        level, outside = as_levels(x, self.logits.shape[-1])
        log_p = jax.nn.log_softmax(self.logits)
        chosen = jnp.take_along_axis(log_p, level[..., None], axis=-1)[..., 0]
        return sum_entries(chosen + outside)

    def sample(self, key: Key) -> Array:
        """Draws `[B, ...]`, the data's integer type."""
        noisy = self.logits + random.gumbel(key, self.logits.shape)
        return self._as_levels(jnp.argmax(noisy, axis=-1))

    def mean(self) -> Array:
        """The mean level `[B, ...]`."""
        levels = jnp.arange(self.logits.shape[-1], dtype=self.logits.dtype)
        return jnp.sum(jax.nn.softmax(self.logits) * levels, axis=-1)

    def mode(self) -> Array:
        """The likeliest level `[B, ...]`."""
        return self._as_levels(jnp.argmax(self.logits, axis=-1))

    def kl(self, other: Categorical) -> Array:
        """KL(self || other) `[B]`, in nats."""
        log_p, log_q = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return sum_entries(jnp.exp(log_p) * (log_p - log_q))

    def _as_levels(self, index: Array) -> Array:
        return index.astype(level_dtype(self.logits.shape[-1]))


def level_dtype(num_levels: int) -> jnp.dtype:
    """The integer type of data with so many levels: uint8 up to 256, int32 above."""
    return jnp.dtype(jnp.uint8 if num_levels <= 256 else jnp.int32)


def check_num_samples(num_samples: int) -> None:
    """Raise unless a bound is of a sample at least.

    Raises:
        ValueError: It is of none.
    """
    if num_samples < 1:
        raise ValueError(
            f"num_samples is {num_samples}: a bound of a likelihood is of at least 1 sample"
        )


def log_mean_weight(log_weight: Callable[[Array], Array], num_samples: int, num: int) -> Array:
    """The bound `log (1/K) sum_k w_k` `[B]`, in nats, by draws taken one after the other.

    Memory does not grow with K.

    Args:
        log_weight: The logarithms of the examples' weights `[B]`, given the number k of the draw.
        num_samples: K.
        num: Number of examples, B.

    Raises:
        ValueError: K is below 1.

    References:
        Burda et al. 2015, arXiv:1509.00519, eq. 8.
    """
    check_num_samples(num_samples)

    def add(k: Array, log_sum: Array) -> Array:
        return jnp.logaddexp(log_sum, log_weight(k))

    log_sum = jax.lax.fori_loop(0, num_samples, add, jnp.full(num, -jnp.inf))
    return log_sum - math.log(num_samples)
