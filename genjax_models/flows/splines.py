"""Monotonic rational-quadratic splines, the elementwise functions of a neural spline flow.

On [-bound, bound] the function is, between each two knots, a quotient of quadratics; outside it is
the identity. All functions are elementwise: each number of an array has its own spline.

References:
    Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032; Gregory & Delbourgo 1982.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from genjax_models.core.types import Array
from genjax_models.core.values import value

MIN_SLOPE = 1e-3
"""Smallest derivative at a knot."""


class Knots(NamedTuple):
    """The points that a spline goes through, K bins of them.

    Attributes:
        x: Positions, rising from -bound to bound `[..., K + 1]`.
        y: The spline's values there, rising from -bound to bound `[..., K + 1]`.
        slope: The spline's derivatives there, positive, and 1 at both ends `[..., K + 1]`.
    """

    x: Array
    y: Array
    slope: Array


def knots(raw: Array, bound: float, min_size: float = 1e-3) -> Knots:
    """Knots from numbers without constraints; zeros give the identity.

    Args:
        raw: K widths, K heights and K - 1 derivatives, each before its constraint
            `[..., 3 K - 1]`.
        bound: Half of the length of the interval that is not the identity.
        min_size: Smallest width and height of a bin, as a share of the interval.

    Returns:
        The knots `[..., K + 1]`.
    """
    num_bins = (raw.shape[-1] + 1) // 3
    widths, heights, slopes = jnp.split(raw, [num_bins, 2 * num_bins], axis=-1)
    shift = math.log(math.expm1(1.0 - MIN_SLOPE))  # softplus(shift) + MIN_SLOPE = 1
    slopes = MIN_SLOPE + jax.nn.softplus(slopes + shift)
    ends = [(0, 0)] * (raw.ndim - 1) + [(1, 1)]
    return Knots(
        _places(widths, bound, min_size),
        _places(heights, bound, min_size),
        jnp.pad(slopes, ends, constant_values=1.0),
    )


def _places(raw: Array, bound: float, min_size: float) -> Array:
    """Rising places from -bound to bound `[..., K + 1]`, both ends exact."""
    num_bins = raw.shape[-1]
    shares = min_size + (1.0 - min_size * num_bins) * jax.nn.softmax(raw, axis=-1)
    inner = 2.0 * bound * jnp.cumsum(shares, axis=-1)[..., :-1] - bound
    ends = [(0, 0)] * (raw.ndim - 1)
    inner = jnp.pad(inner, [*ends, (1, 0)], constant_values=-bound)
    return jnp.pad(inner, [*ends, (0, 1)], constant_values=bound)


def forward(knots: Knots, x: Array) -> tuple[Array, Array]:
    """The spline's value and the logarithm of its derivative.

    With theta = (x - x_k) / (x_{k+1} - x_k) in bin k and s the bin's height over its width,

    `y = y_k + h (s theta^2 + d_k theta (1 - theta))
             / (s + (d_k + d_{k+1} - 2 s) theta (1 - theta))`.

    Args:
        knots: A spline for each number `[..., K + 1]`.
        x: Inputs `[...]`.

    Returns:
        y and log dy/dx, both `[...]`.

    References:
        arXiv:1906.04032, eq. 4 and 5.
    """
    inside, x_in = _inside(knots.x, x)
    (x_0, x_1), (y_0, y_1), (d_0, d_1) = _bin(knots, knots.x, x_in)
    width, height = x_1 - x_0, y_1 - y_0
    theta = (x_in - x_0) / width
    y, log_slope = _within(theta, (x_1 - x_in) / width, height / width, d_0, d_1)
    return jnp.where(inside, y_0 + height * y, x), jnp.where(inside, log_slope, 0.0)


def inverse(knots: Knots, y: Array) -> tuple[Array, Array]:
    """Inverts the spline, and returns the logarithm of the inverse's derivative.

    theta is a root of a quadratic. With eta = (y - y_k) / h and u = d_k (1 - eta) - d_{k+1} eta,
    the root in [0, 1] can be written so that nothing cancels, neither in the discriminant nor
    outside: `r = sqrt(u^2 + 4 s^2 eta (1 - eta))`, `q = r + |u|`, and theta is
    `2 s eta / (q + 2 s eta)` where u >= 0, or `q / (q + 2 s (1 - eta))` where u < 0.

    Args:
        knots: A spline for each number `[..., K + 1]`.
        y: The values `[...]`.

    Returns:
        x and log dx/dy, both `[...]`.

    References:
        arXiv:1906.04032, eq. 6 to 8, for the quadratic.
    """
    inside, y_in = _inside(knots.y, y)
    (x_0, x_1), (y_0, y_1), (d_0, d_1) = _bin(knots, knots.y, y_in)
    width, height = x_1 - x_0, y_1 - y_0
    s = height / width
    eta, rest = (y_in - y_0) / height, (y_1 - y_in) / height  # rest = 1 - eta
    u = d_0 * rest - d_1 * eta
    q = jnp.sqrt(u**2 + 4.0 * s**2 * eta * rest) + jnp.abs(u)
    up, down = 2.0 * s * eta, 2.0 * s * rest
    theta = jnp.where(u >= 0, up / (q + up), q / (q + down))
    co_theta = jnp.where(u >= 0, q / (q + up), down / (q + down))  # 1 - theta
    _, log_slope = _within(theta, co_theta, s, d_0, d_1)
    return jnp.where(inside, x_0 + width * theta, y), jnp.where(inside, -log_slope, 0.0)


@value
class Spline:
    """A rational-quadratic spline for each entry of a `MaskedAutoregressive`, in `Affine`'s place.

    Attributes:
        num_bins: Bins of each spline, K.
        bound: The spline is the identity outside [-bound, bound].

    References:
        Durkan et al. 2019, Neural Spline Flows, arXiv:1906.04032, sec. 3.1.
    """

    num_bins: int = 8
    bound: float = 5.0

    @property
    def num_params(self) -> int:
        """3 K - 1: widths, heights, and derivatives between the bins."""
        return 3 * self.num_bins - 1

    def forward(self, h: Array, x: Array) -> tuple[Array, Array]:
        """The values y, and log dy/dx `[...]`, given the parameters `[..., 3 K - 1]`."""
        return forward(knots(h, self.bound), x)

    def inverse(self, h: Array, y: Array) -> tuple[Array, Array]:
        """The values x, and log dx/dy `[...]`, given the parameters `[..., 3 K - 1]`."""
        return inverse(knots(h, self.bound), y)


def _inside(places: Array, x: Array) -> tuple[Array, Array]:
    """Returns a mask of the numbers in the interval, and the numbers clipped to it."""
    low, high = places[..., 0], places[..., -1]
    return (x >= low) & (x <= high), jnp.clip(x, low, high)


def _bin(knots: Knots, places: Array, x: Array) -> list[tuple[Array, Array]]:
    """Both ends of the bin of `places` that x is in: of x, of y and of the slope, `[...]` each.

    A mask and a sum are faster than a gather here, because bins are few.
    """
    num_bins = places.shape[-1] - 1
    index = jnp.sum(x[..., None] >= places[..., 1:-1], axis=-1, keepdims=True)  # [..., 1]
    here = index == jnp.arange(num_bins)  # [..., K]

    def pick(a: Array) -> Array:
        return jnp.sum(jnp.where(here, a, 0.0), axis=-1)

    return [(pick(a[..., :-1]), pick(a[..., 1:])) for a in knots]


def _within(theta: Array, co_theta: Array, s: Array, d_0: Array, d_1: Array) -> tuple[Array, Array]:
    """The share of its bin's height that the spline has risen by, and log dy/dx.

    Args:
        theta: The share of the bin's width `[...]`.
        co_theta: 1 - theta.
        s: The bin's height over its width.
        d_0: The derivative at the bin's left end.
        d_1: The derivative at the bin's right end.
    """
    both = theta * co_theta
    # The paper's denominator s + (d_0 + d_1 - 2 s) theta (1 - theta), as a sum of positive terms.
    denominator = s * (theta**2 + co_theta**2) + (d_0 + d_1) * both
    share = theta * (s * theta + d_0 * co_theta) / denominator
    slope = d_1 * theta**2 + 2.0 * s * both + d_0 * co_theta**2
    return share, 2.0 * jnp.log(s / denominator) + jnp.log(slope)
