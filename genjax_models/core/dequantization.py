"""Dequantisation: noise within the cells of discrete data, so that a density can be fitted to them.

An interval is divided into one cell for each of the L levels. With v a point of the cells of an
example x, drawn from q(v | x), and p the density of such points,

    log P(x) >= E_q[log p(v) - log q(v | x)],

which for uniform noise is E log p(v) plus the log volume of the cells: what turns nats of a density
into nats of the discrete data.

References:
    Theis et al. 2016, A note on the evaluation of generative models, arXiv:1511.01844, sec. 3.1.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.distributions import level_dtype
from genjax_models.core.types import Array, DataSpec, Key
from genjax_models.core.values import value


def num_levels_of(spec: DataSpec, otherwise: str) -> int:
    """The number of levels of discrete data.

    Args:
        spec: Spec of the data.
        otherwise: The mend for data without levels, which ends the message.

    Raises:
        ValueError: The entries are real numbers.
    """
    if spec.num_levels is None:
        raise ValueError(f"{spec.name} has real-valued entries and no levels: {otherwise}")
    return spec.num_levels


@value
class Cells:
    """The division of an interval into cells of one width, one for each level.

    Level k of L owns `[low + (high - low) k / L, low + (high - low) (k + 1) / L)`. Real-valued data
    have no cells: every method leaves them as they are.

    Attributes:
        low: Lower end of the interval.
        high: Upper end.
    """

    low: float = 0.0
    high: float = 1.0

    def points(self, x: Array, u: Array | float, spec: DataSpec) -> Array:
        """The points at fractions u in [0, 1) `[B, ...]` of the cells of data x `[B, ...]`."""
        if spec.num_levels is None:
            return x.astype(jnp.float32)
        y = (x.astype(getattr(u, "dtype", jnp.float32)) + u) / spec.num_levels
        return self.low + (self.high - self.low) * y

    def centres(self, x: Array, spec: DataSpec) -> Array:
        """The middles `[B, ...]` of the cells of data `[B, ...]`."""
        return self.points(x, 0.5, spec)

    def dequantize(self, x: Array, key: Key, spec: DataSpec) -> Array:
        """Uniform points `[B, ...]` in the cells of data `[B, ...]`."""
        return self.points(x, random.uniform(key, x.shape), spec)

    def quantize(self, v: Array, spec: DataSpec) -> Array:
        """The data `[B, ...]` whose cells hold, or are nearest to, points v `[B, ...]`."""
        if spec.num_levels is None:
            return v
        k = jnp.floor((v - self.low) / (self.high - self.low) * spec.num_levels)
        return jnp.clip(k, 0, spec.num_levels - 1).astype(level_dtype(spec.num_levels))

    def log_volume(self, spec: DataSpec) -> float:
        """The log volume of an example's cells, `D log((high - low) / L)`; 0 without levels."""
        if spec.num_levels is None:
            return 0.0
        return spec.num_dims * (math.log(self.high - self.low) - math.log(spec.num_levels))


UNIT = Cells(0.0, 1.0)
"""Cells of [0, 1]."""

SYMMETRIC = Cells(-1.0, 1.0)
"""Cells of [-1, 1]."""


class Dequantization(Protocol):
    """A family of distributions q(v | x) over points of the cells of discrete data."""

    @property
    def name(self) -> str:
        """The kind of noise, to stand beside likelihoods."""
        ...

    def init(self, key: Key, x: Array, spec: DataSpec) -> Any:
        """Fresh parameters, given examples; an empty dictionary where there are none."""
        ...

    def __call__(self, params: Any, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """Draws v `[B, ...]`, and log q(v | x) `[B]`, in nats."""
        ...


@value
class Uniform:
    """Uniform noise in the cells, which has no parameters.

    Attributes:
        cells: The division of the interval.
    """

    cells: Cells = UNIT

    @property
    def name(self) -> str:
        """Stands beside likelihoods."""
        return "uniform"

    def init(self, key: Key, x: Array, spec: DataSpec) -> dict[str, Any]:
        """No parameters."""
        del key, x, spec
        return {}

    def __call__(self, params: Any, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """Draws v `[B, ...]`, and log q(v | x) `[B]`, minus the cells' log volume, in nats."""
        del params
        v = self.cells.dequantize(x, key, spec)
        return v, jnp.full(x.shape[0], -self.cells.log_volume(spec), v.dtype)
