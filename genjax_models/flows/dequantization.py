"""Dequantisation: noise within the cells of discrete data, so that a density can be fitted to them.

A dequantisation is a frozen object `q(y | x)`: y is in [0, 1], in the cell
`[x / levels, (x + 1) / levels)` of each entry, and `log p(x) >= E_q[log p(y) - log q(y | x)]`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.distributions import standard_normal, sum_entries
from genjax_models.core.preprocess import to_unit_range, uniform_dequantization
from genjax_models.core.types import Array, DataSpec, Key
from genjax_models.flows.bijector import Bijector


class Dequantization(Protocol):
    """A family of distributions q(y | x) within the cells of discrete data."""

    @property
    def name(self) -> str:
        """What kind of noise it is, to stand beside likelihoods."""
        ...

    def init(self, key: Key, x: Array, spec: DataSpec) -> Any:
        """Fresh parameters, given examples; an empty dictionary where there are none."""
        ...

    def __call__(self, params: Any, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """A draw y in [0, 1] `[B, ...]`, and log q(y | x) `[B]`, in nats."""
        ...


@dataclasses.dataclass(frozen=True)
class Uniform:
    """y = (x + u) / levels with u ~ U[0, 1).

    References:
        Theis et al. 2016, arXiv:1511.01844, sec. 3.1.
    """

    @property
    def name(self) -> str:
        """Stands beside likelihoods."""
        return "uniform"

    def init(self, key: Key, x: Array, spec: DataSpec) -> dict[str, Any]:
        """No parameters."""
        del key, x, spec
        return {}

    def __call__(self, params: Any, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """A draw y in [0, 1] `[B, ...]`, and log q(y | x) = D log levels `[B]`, in nats."""
        del params
        y = uniform_dequantization.apply(x, key, spec)
        return y, jnp.full(x.shape[0], -uniform_dequantization.log_volume(spec), y.dtype)


@dataclasses.dataclass(frozen=True)
class Variational:
    """y = (x + sigmoid(g(eps; x))) / levels with eps ~ N(0, I): noise that is learned.

    g is the bijector's `forward`, the direction in which a masked autoregressive one is fast: drawn
    that way it is an inverse autoregressive flow. Its context is the data, flattened and scaled to
    [-1, 1] `[B, D]`.

    Attributes:
        bijector: g, conditional on the data.

    References:
        Ho et al. 2019, Flow++, arXiv:1902.00275, sec. 3.1, eq. 10-12.
    """

    bijector: Bijector

    @property
    def name(self) -> str:
        """Stands beside likelihoods."""
        return "variational"

    def init(self, key: Key, x: Array, spec: DataSpec) -> Any:
        """The bijector's parameters."""
        key_eps, key_bijector = jax.random.split(key)
        return self.bijector.init(key_bijector, random.normal(key_eps, x.shape), _flat(x, spec))

    def __call__(self, params: Any, x: Array, key: Key, spec: DataSpec) -> tuple[Array, Array]:
        """A draw y in [0, 1] `[B, ...]`, and log q(y | x) `[B]`, in nats."""
        eps = random.normal(key, x.shape)
        v, log_det = self.bijector.forward(params, eps, _flat(x, spec))
        # d sigmoid(v) / dv = sigmoid(v) sigmoid(-v), and each entry of y is a cell's width of it.
        log_slope = jax.nn.log_sigmoid(v) + jax.nn.log_sigmoid(-v)
        log_volume = uniform_dequantization.log_volume(spec)  # -D log levels
        y = (x.astype(v.dtype) + jax.nn.sigmoid(v)) / levels_of(spec)
        log_q = standard_normal(eps.shape).log_prob(eps) - log_det - sum_entries(log_slope)
        return y, log_q - log_volume


def cell_centres(x: Array, spec: DataSpec) -> Array:
    """The middle of each entry's cell of [0, 1]: (x + 1/2) / levels `[B, ...]`, float32."""
    return (x.astype(jnp.float32) + 0.5) / levels_of(spec)


def levels_of(spec: DataSpec) -> int:
    """The number of levels.

    Raises:
        ValueError: The entries are real numbers.
    """
    if spec.levels is None:
        raise ValueError(
            f"{spec.name} has real-valued entries and no levels to dequantise: use Flow by itself"
        )
    return spec.levels


def _flat(x: Array, spec: DataSpec) -> Array:
    return to_unit_range(x, spec).reshape(x.shape[0], math.prod(x.shape[1:]))
