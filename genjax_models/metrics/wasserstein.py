"""Wasserstein distances between two sets of equally weighted points.

    W_p(x, y)^p = min over couplings of E |x - y|^p

On the line the sorted points are matched in order, which is exact for any two numbers of points.
In more dimensions the best matching of two sets takes O(N^3); sliced distances, the mean over
directions of distances on the line, take any number. These are plain functions of arrays, without
an interval; `sliced_wasserstein` and `wasserstein_1d` can be jitted and differentiated.

References:
    Peyré and Cuturi 2019, Computational Optimal Transport, arXiv:1803.00567 (sec. 2.6, 3.6).
    Bonneel et al. 2015, Sliced and Radon Wasserstein Barycenters of Measures (sec. 3).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from genjax_models.core.types import Array, Key
from genjax_models.metrics.features import checked_pair

_MOST_POINTS = 20_000
"""More would take tens of gigabytes for the distances of all pairs."""


def sliced_wasserstein(
    x: Any, y: Any, key: Key, projections: int = 500, *, order: float = 2.0
) -> Array:
    """(E over directions theta of W_p(theta . x, theta . y)^p)^(1/p), differentiable.

    Args:
        x: Points `[N, ...]`; axes after the first are flattened to D dimensions.
        y: Points `[M, ...]`.
        key: PRNG key of the directions; the same key compares on the same ones.
        projections: Number of directions, uniform on the sphere.
        order: p, at least 1.

    Returns:
        The distance `[]`, at least 0, in the points' unit. It is smaller than W_p: for a shift by
        v, W_2 is |v|, and this about |v| / sqrt(D).

    Raises:
        ValueError: There are no points, points of different dimensions or NaN, or the order is
            below 1.
    """
    x, y = _points(x, y, order)
    if projections < 1:
        raise ValueError(f"projections is {projections}: give at least 1 direction")
    return _sliced(x, y, key, projections, order)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _sliced(x: Array, y: Array, key: Key, projections: int, order: float) -> Array:
    unit = _unit(x, y)
    x, y = x / unit, y / unit
    directions = jax.random.normal(key, (projections, x.shape[1]), x.dtype)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)

    def along(theta: Array) -> Array:
        return _on_the_line(x @ theta, y @ theta, order)

    # A few directions at a time: all of them at once would take N numbers each.
    return unit * jnp.mean(jax.lax.map(along, directions, batch_size=16)) ** (1.0 / order)


def wasserstein_1d(x: Any, y: Any, *, order: float = 2.0) -> Array:
    """Exact W_p of points on the line, differentiable.

    Args:
        x: Points `[N]`.
        y: Points `[M]`; the numbers may differ.
        order: p, at least 1.

    Returns:
        The distance `[]`, at least 0, in the points' unit.

    Raises:
        ValueError: The arrays are not points on the line or hold NaN, or the order is below 1.
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim != 1 or y.ndim != 1:
        raise ValueError(f"points on the line have shapes {x.shape}, {y.shape}: give [N] and [M]")
    x, y = _points(x[:, None], y[:, None], order)
    unit = _unit(x, y)
    return unit * _on_the_line(x[:, 0] / unit, y[:, 0] / unit, order) ** (1.0 / order)


def _on_the_line(x: Array, y: Array, order: float) -> Array:
    """W_p^p, the integral over u in (0, 1) of |F^-1(u) - G^-1(u)|^p for step functions F and G."""
    first, second, weight = _steps(len(x), len(y))
    apart = jnp.abs(jnp.sort(x)[first] - jnp.sort(y)[second])
    return jnp.sum(weight * apart**order)


def _unit(x: Array, y: Array) -> Array:
    """Power of two `[]` that bounds all points, as a unit in which powers stay in range.

    Division by it is exact.
    """
    largest = jax.lax.stop_gradient(jnp.maximum(jnp.abs(x).max(), jnp.abs(y).max()))
    _, exponent = jnp.frexp(largest)
    return jnp.ldexp(jnp.ones((), x.dtype), jnp.clip(exponent, -120, 120))


@functools.lru_cache(maxsize=8)
def _steps(num: int, other: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intervals on which both quantile functions are constant: sorted points, and lengths."""
    # In units of 1 / (num * other), in which all jumps are at whole numbers.
    ends = np.union1d(np.arange(1, num + 1) * other, np.arange(1, other + 1) * num)
    starts = np.concatenate([[0], ends[:-1]])
    weight = (ends - starts) / (num * other)
    return starts // other, starts // num, weight.astype(np.float32)


def wasserstein(x: Any, y: Any, *, order: float = 2.0) -> float:
    """Exact W_p of two equally large sets, by the best matching of their points.

    It takes a few seconds for 2,000 points.

    Args:
        x: Points `[N, ...]`; axes after the first are flattened.
        y: Points `[N, ...]`.
        order: p, at least 1.

    Returns:
        The distance, at least 0, in the points' unit.

    Raises:
        ValueError: The sets have different sizes or dimensions, are too large or hold NaN, or the
            order is below 1.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    _check_order(order)
    x, y = (np.asarray(a) for a in (x, y))
    x, y = checked_pair(*(a.reshape(len(a), -1) if a.ndim > 1 and a.size else a for a in (x, y)))
    if len(x) != len(y) or len(x) > _MOST_POINTS:
        raise ValueError(
            f"the sets have {len(x)} and {len(y)} points, and a matching needs equal numbers, at "
            f"most {_MOST_POINTS}: take as many of each, or use sliced_wasserstein"
        )
    distances = cdist(x, y)
    unit = distances.max() or 1.0  # powers of large distances would leave the range
    cost = (distances / unit) ** order
    return float(unit * cost[linear_sum_assignment(cost)].mean() ** (1.0 / order))


def _check_order(order: float) -> None:
    if not order >= 1.0:
        raise ValueError(f"order is {order}: a Wasserstein distance has an order of at least 1")


def _points(x: Any, y: Any, order: float) -> tuple[Array, Array]:
    """Both sets as float matrices `[N, D]` and `[M, D]`."""
    _check_order(order)
    x, y = (jnp.asarray(a) for a in (x, y))
    for a in (x, y):
        if a.ndim < 2 or a.size == 0:
            raise ValueError(f"points have shape {a.shape}: give [N, D], a row a point")
        if not isinstance(a, Tracer) and not bool(jnp.isfinite(a).all()):
            raise ValueError("points are NaN or infinite: look at the samples, or leave them out")
    x, y = (a.reshape(len(a), -1).astype(jnp.float32) for a in (x, y))
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"points of {x.shape[1]} dimensions are compared with points of {y.shape[1]}: give "
            "both sets in the same space"
        )
    return x, y
