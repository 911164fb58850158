"""Bijectors that are linear in the last axis: entries of a vector, channels of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from genjax_models.core.random import all_examples
from genjax_models.core.types import Array, Key
from genjax_models.core.values import value


def _positions(x: Array) -> int:
    """Number of vectors of the last axis in an example: H W of an image, 1 of a vector."""
    return math.prod(x.shape[1:-1])


def _same_for_all(log_det: Array, x: Array) -> Array:
    """Broadcasts a log-determinant `[]` to `[B]`."""
    return jnp.full(x.shape[0], log_det, x.dtype)


@value
class Permute:
    """A fixed permutation of the last axis: y[..., i] = x[..., order[i]].

    `Permute()` reverses; `Permute(seed=0)` shuffles; `Permute((2, 0, 1))` gives the order.

    Attributes:
        order: Index into x of each entry of y; None for reversed or shuffled.
        seed: Seed of a random order; None for the reversed order.
    """

    order: Sequence[int] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Checks the order, and keeps it as a tuple, so that the bijector is hashable.

        Raises:
            ValueError: The order is not a permutation, or both an order and a seed are given.
        """
        if self.order is None:
            return
        order = tuple(int(i) for i in self.order)
        if self.seed is not None:
            raise ValueError(
                f"Permute was given order={order} and seed={self.seed}: give one of the two"
            )
        if sorted(order) != list(range(len(order))):
            raise ValueError(
                f"Permute was given the order {order}, which is not a permutation of 0 .. "
                f"{len(order) - 1}: give each index once"
            )
        object.__setattr__(self, "order", order)

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """No parameters."""
        return {}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The entries in the new order `[..., D]`, and 0 `[B]`."""
        return x[..., self._order(x.shape[-1])], _same_for_all(jnp.zeros(()), x)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The entries in the old order `[..., D]`, and 0 `[B]`."""
        back = np.argsort(self._order(y.shape[-1]))
        return y[..., back], _same_for_all(jnp.zeros(()), y)

    def _order(self, size: int) -> np.ndarray:
        if self.seed is not None:
            return np.random.default_rng(self.seed).permutation(size)
        if self.order is None:
            return np.arange(size)[::-1]
        if len(self.order) != size:
            raise ValueError(
                f"Permute has {len(self.order)} entries, but the last axis has {size}: give an "
                "order of that length, or a seed"
            )
        return np.asarray(self.order)


@value
class ActNorm:
    """Activation normalisation: a scale and a shift of each channel, y = exp(log_scale) x + shift.

    `init` sets both so that its examples have outputs of mean 0 and variance 1 in each channel;
    then both are trained. A channel that is constant in those examples starts at scale 1.

    Attributes:
        epsilon: Added to the channels' standard deviations in `init`. A channel with a standard
        deviation below it, absolutely or relative to its size, counts as constant.

    References:
        Kingma & Dhariwal 2018, Glow, arXiv:1807.03039, sec. 3.1.
    """

    epsilon: float = 1e-6

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """Returns log-scale and shift `[C]` from the channels' statistics, over all devices."""
        x = all_examples(x)
        axes = tuple(range(x.ndim - 1))
        size = jnp.maximum(1.0, jnp.max(jnp.abs(x), axes))
        varies = jnp.max(x, axes) - jnp.min(x, axes) > self.epsilon * size
        log_scale = jnp.where(varies, -jnp.log(jnp.std(x, axes) + self.epsilon), 0.0)
        return {"log_scale": log_scale, "shift": -jnp.exp(log_scale) * jnp.mean(x, axes)}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y `[..., C]`, and H W sum(log_scale) `[B]`."""
        y = x * jnp.exp(params["log_scale"]) + params["shift"]
        return y, _same_for_all(_positions(x) * jnp.sum(params["log_scale"]), x)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[..., C]`, and -H W sum(log_scale) `[B]`."""
        x = (y - params["shift"]) * jnp.exp(-params["log_scale"])
        return x, _same_for_all(-_positions(y) * jnp.sum(params["log_scale"]), y)


@value
class InvertibleConv1x1:
    """A linear map of the channels at every position, y = W x, by its LU decomposition.

    `W = P L (U + diag(s))`, where P is a fixed permutation, L is lower triangular with ones on the
    diagonal, U is strictly upper triangular, and s = exp(log_scale). So log |det| costs a sum.

    W starts as a random orthogonal matrix. The signs of s, fixed beside P in the paper, are all +1
    here, which restricts nothing but the sign of each input channel.

    Attributes:
        seed: Seed of P, which is fixed and so not a parameter.

    References:
        Kingma & Dhariwal 2018, Glow, arXiv:1807.03039, sec. 3.2, eq. 10.
    """

    seed: int = 0

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """Returns L and U `[C, C]`, one triangle of each used, and log_scale `[C]`.

        A random rotation is decomposed with pivoting, which keeps L well-conditioned; the pivots'
        order is then dropped, so that P can be a fixed function of the seed.
        """
        size = x.shape[-1]
        rotation = jax.random.orthogonal(key, size, dtype=x.dtype)
        _, lower, upper = jax.scipy.linalg.lu(rotation)
        upper = upper * jnp.sign(jnp.diag(upper))  # flips columns: still orthogonal, s > 0
        params = {"log_scale": jnp.log(jnp.diag(upper))}
        if size > 1:  # otherwise there is no triangle to train
            params |= {"lower": jnp.tril(lower, -1), "upper": jnp.triu(upper, 1)}
        return params

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y `[..., C]`, and H W sum(log_scale) `[B]`."""
        lower, upper, order = self._factors(params, x)
        weight = jnp.matmul(lower, upper, precision="highest")[order]
        y = jnp.einsum("...c,dc->...d", x, weight, precision="highest")
        return y, _same_for_all(_positions(x) * jnp.sum(params["log_scale"]), x)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[..., C]` by two triangular systems, and -H W sum(log_scale) `[B]`."""
        lower, upper, order = self._factors(params, y)
        columns = y[..., np.argsort(order)].reshape(-1, y.shape[-1]).T  # [C, B H W]
        columns = solve_triangular(lower, columns, lower=True, unit_diagonal=True)
        x = solve_triangular(upper, columns).T.reshape(y.shape)
        return x, _same_for_all(-_positions(y) * jnp.sum(params["log_scale"]), y)

    def _factors(self, params: Any, x: Array) -> tuple[Array, Array, np.ndarray]:
        """Returns L, U + diag(s), and the row order of P."""
        size = x.shape[-1]
        order = np.random.default_rng(self.seed).permutation(size)
        lower, upper = jnp.eye(size, dtype=x.dtype), jnp.diag(jnp.exp(params["log_scale"]))
        if size > 1:
            lower += jnp.tril(params["lower"], -1)
            upper += jnp.triu(params["upper"], 1)
        return lower, upper, order
