"""The laws that energy-based models start from: normalised, and easy to sample."""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import jax.numpy as jnp

from genjax_models.core.distributions import Normal
from genjax_models.core.types import Array, Key


class Reference(Protocol):
    """A law over R^D whose density integrates to 1."""

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, ...]`."""
        ...

    def sample(self, key: Key, shape: tuple[int, ...]) -> Array:
        """Independent points of `shape`, whose first axis is the examples."""
        ...


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Independent normal entries.

    Attributes:
        scale: Their standard deviation.
        mean: Their mean.
    """

    scale: float = 1.0
    mean: float = 0.0

    def log_prob(self, x: Array) -> Array:
        """The log density `[B]`, in nats, at points `[B, ...]`."""
        return self._law(x.shape).log_prob(x)

    def sample(self, key: Key, shape: tuple[int, ...]) -> Array:
        """Independent points of `shape`; point i is a function of the key and of i alone."""
        return self._law(shape).sample(key)

    def _law(self, shape: tuple[int, ...]) -> Normal:
        return Normal(jnp.full(shape, self.mean), jnp.full(shape, math.log(self.scale)))
