"""Filters of logits `[..., V] -> [..., V]`: temperature, top-k, top-p, min-p, and their order.

What a filter takes away has the logit minus infinity; the likeliest value always stays.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import TypeVar

import jax
import jax.numpy as jnp

from genjax_models.core.distributions import Bernoulli, Categorical, Distribution
from genjax_models.core.types import Array

D = TypeVar("D", bound=Distribution)

COLDEST = 1e-6
"""The lowest temperature: below it logits in float32 overflow, and their order is lost."""


def with_temperature(logits: Array, temperature: float) -> Array:
    """p^(1 / temperature), normalised: below 1 likely values gain, above 1 they lose.

    Args:
        logits: Logits `[..., V]` of the V values.
        temperature: Above 0.

    Returns:
        Logits `[..., V]`.
    """
    return logits / temperature


def top_k(logits: Array, k: int) -> Array:
    """The k likeliest values; those as likely as the k-th stay with it.

    Args:
        logits: Logits `[..., V]` of the V values.
        k: At least 1; all values stay where it is V or more.

    Returns:
        Logits `[..., V]`, minus infinity for what is taken away.

    References:
        Fan et al. 2018, Hierarchical Neural Story Generation, arXiv:1805.04833, sec. 5.4.
    """
    lowest = jax.lax.top_k(logits, min(k, logits.shape[-1]))[0][..., -1:]
    return jnp.where(logits >= lowest, logits, -jnp.inf)


def top_p(logits: Array, p: float) -> Array:
    """The nucleus: the fewest likeliest values whose probabilities sum to p at least.

    Args:
        logits: Logits `[..., V]` of the V values.
        p: In (0, 1]; 1 takes nothing away.

    Returns:
        Logits `[..., V]`, minus infinity for what is taken away.

    References:
        Holtzman et al. 2020, The Curious Case of Neural Text Degeneration, arXiv:1904.09751, eq. 2.
    """
    if p == 1.0:  # rounding must not take anything away
        return logits
    ordered = -jnp.sort(-logits, axis=-1)
    probability = jax.nn.softmax(ordered)
    before = jnp.cumsum(probability, axis=-1) - probability
    lowest = jnp.min(jnp.where(before < p, ordered, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits >= lowest, logits, -jnp.inf)


def min_p(logits: Array, p: float) -> Array:
    """The values at least p times as likely as the likeliest.

    Args:
        logits: Logits `[..., V]` of the V values.
        p: In [0, 1]; 0 takes nothing away.

    Returns:
        Logits `[..., V]`, minus infinity for what is taken away.

    References:
        Nguyen et al. 2024, Turning Up the Heat, arXiv:2407.01082, sec. 3.
    """
    if p == 0.0:
        return logits
    highest = jnp.max(logits, axis=-1, keepdims=True)
    return jnp.where(logits >= highest + math.log(p), logits, -jnp.inf)


def _check_number(name: str, value: float | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
        raise TypeError(
            f"{name} is {value!r}, a {type(value).__name__}: give a number, which no array and no "
            "text is"
        )


@dataclasses.dataclass(frozen=True)
class Filter:
    """Filters one after the other: temperature, top-k, top-p, min-p, each where it is asked for.

    Attributes:
        temperature: At least 1e-6; 1 changes nothing.
        top_k: At least 1, or None.
        top_p: In (0, 1], or None.
        min_p: In [0, 1], or None.

    Raises:
        ValueError: A number that is not allowed.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("temperature", "top_k", "top_p", "min_p"):
            _check_number(name, getattr(self, name))
        if not (self.temperature >= COLDEST and math.isfinite(self.temperature)):
            raise ValueError(
                f"temperature must be a number of at least {COLDEST}, got {self.temperature}: "
                "top_k=1 gives the likeliest value each time"
            )
        if self.top_k is not None and not (self.top_k >= 1 and self.top_k == self.top_k // 1):
            raise ValueError(f"top_k must be an integer of at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must be at least 0 and at most 1, got {self.min_p}")

    def __call__(self, logits: Array) -> Array:
        """The filtered logits `[..., V]`."""
        if self.temperature != 1.0:
            logits = with_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = top_k(logits, int(self.top_k))
        if self.top_p is not None:
            logits = top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = min_p(logits, self.min_p)
        return logits

    def of(self, distribution: D) -> D:
        """The distribution whose logits are filtered.

        Raises:
            TypeError: The distribution is not given by the logits of its values.
        """
        if self == Filter():
            return distribution
        if isinstance(distribution, Categorical):
            return dataclasses.replace(distribution, logits=self(distribution.logits))
        if isinstance(distribution, Bernoulli):
            one = distribution.logits
            zero, one = jnp.moveaxis(self(jnp.stack([jnp.zeros_like(one), one], axis=-1)), -1, 0)
            return dataclasses.replace(distribution, logits=one - zero)
        raise TypeError(
            "temperature, top_k, top_p and min_p are of likelihoods with a logit for each value "
            f"(categorical, Bernoulli), but this one is a {type(distribution).__name__}: leave "
            "them out"
        )
