"""Planar and radial flows, for the posterior of a VAE.

They have few parameters, so that a network can return them for each example: leaves of the
parameters are shared, or have the batch as their first axis, `[B, ...]`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core.types import Array, Key
from genjax_models.core.values import value

_NEWTON_STEPS = 48
"""Enough for double precision, and slopes at the hyperplane down to 1e-16, the slowest case."""


@value
class Planar:
    """y = x + u_hat tanh(w^T x + b): stretches or compresses at right angles to a hyperplane.

    u_hat = u + (m(w^T u) - w^T u) w / |w|^2 with m(s) = -1 + softplus(s) makes w^T u_hat > -1, and
    so the function invertible. Then log |det dy/dx| = log (1 + (1 - tanh^2) w^T u_hat).

    The inverse has no closed form; it is a one-dimensional root, found by Newton's method.

    References:
        Rezende & Mohamed 2015, Variational Inference with Normalizing Flows, arXiv:1505.05770,
        eq. 10-12 and app. A.1.
    """

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Array]:
        """Returns u, w `[D]` and b `[]`, near the identity."""
        del context
        dim = math.prod(x.shape[1:])
        key_w, key_u = jax.random.split(key)
        w = jax.random.normal(key_w, (dim,), jnp.float32) / math.sqrt(dim)
        # u_hat = 0 where softplus(w^T u) = 1; there, b would have no gradient.
        u = math.log(math.e - 1.0) * w / jnp.sum(w**2)
        u += 0.1 * jax.random.normal(key_u, (dim,), jnp.float32) / math.sqrt(dim)
        return {"u": u, "w": w, "b": jnp.zeros((), jnp.float32)}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The values y `[B, ...]`, and log |det dy/dx| `[B]`."""
        del context
        flat, (u_hat, slope, w, b) = x.reshape(x.shape[0], -1), _planar(params, x.dtype)
        h = jnp.tanh(jnp.sum(w * flat, axis=-1) + b)
        y = flat + u_hat * h[:, None]
        return y.reshape(x.shape), _log_slope(slope, h)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The values x `[B, ...]`, and log |det dx/dy| `[B]`."""
        del context
        flat, (u_hat, slope, w, b) = y.reshape(y.shape[0], -1), _planar(params, y.dtype)
        # w^T y + b = a + w^T u_hat tanh(a) with a = w^T x + b.
        a = _solve(slope, jnp.sum(w * flat, axis=-1) + b)
        h = jnp.tanh(a)
        x = flat - u_hat * h[:, None]
        # Where u_hat is large, the difference loses digits along w, and a does not.
        squared = jnp.sum(w**2, axis=-1)
        lost = a - b - jnp.sum(w * x, axis=-1)
        x += jnp.where(squared > 0, lost / jnp.where(squared > 0, squared, 1), 0)[:, None] * w
        return x.reshape(y.shape), -_log_slope(slope, h)


def _planar(params: Any, dtype: jnp.dtype) -> tuple[Array, Array, Array, Array]:
    """u_hat, 1 + w^T u_hat = softplus(w^T u) > 0, w and b."""
    u, w, b = (params[name].astype(dtype) for name in ("u", "w", "b"))
    w_u, squared = jnp.sum(w * u, axis=-1), jnp.sum(w**2, axis=-1)
    slope = jax.nn.softplus(w_u) + jnp.finfo(dtype).eps  # a softplus can underflow to 0
    known = squared > 0  # where w is 0 there is no direction to correct, nor a need to
    correction = jnp.where(known, (slope - 1 - w_u) / jnp.where(known, squared, 1), 0)
    return u + correction[..., None] * w, jnp.where(known, slope, 1), w, b


def _log_slope(slope: Array, h: Array) -> Array:
    """The logarithm of 1 + (1 - h^2)(slope - 1), written as a sum of positive numbers."""
    return jnp.log(h**2 + (1 - h**2) * slope)


def _solve(slope: Array, c: Array) -> Array:
    """Solves g(a) = a + (slope - 1) tanh(a) = c for a `[B]`, differentiably.

    g is odd, and on a >= 0 it is concave for slopes above 1 and convex for slopes below. So from
    the nearer bound of |a|, Newton's steps approach the root monotonically.
    """

    def newton(a: Array, c: Array, slope: Array) -> Array:
        h = jnp.tanh(a)
        return a - (a + (slope - 1) * h - c) / (h**2 + (1 - h**2) * slope)

    def towards(_: int, a: Array) -> Array:
        new = newton(a, size, fixed)  # a step backwards is rounding error
        return jnp.where(concave, jnp.maximum(a, new), jnp.minimum(a, new))

    fixed, size = jax.lax.stop_gradient((jnp.broadcast_to(slope, c.shape), jnp.abs(c)))
    concave, by_slope, by_shift = fixed > 1, size / fixed, size - (fixed - 1)
    nearer = (jnp.maximum(by_slope, by_shift), jnp.minimum(by_slope, by_shift))
    a = jax.lax.fori_loop(0, _NEWTON_STEPS, towards, jnp.where(concave, *nearer))
    # One more step, differentiated: its derivatives are those of the solution.
    return newton(jax.lax.stop_gradient(a * jnp.sign(c)), c, slope)


@value
class Radial:
    """y = x + beta_hat (x - x_0) / (alpha + r), r = |x - x_0|: contracts or expands about a point.

    alpha > 0 by a softplus, and beta_hat = -alpha + softplus(beta) makes it invertible. With
    s = softplus(beta), log |det dy/dx| = (D - 1) log ((r + s) / (alpha + r)) +
    log ((r^2 + 2 alpha r + alpha s) / (alpha + r)^2). The inverse is the root of a quadratic.

    References:
        Rezende & Mohamed 2015, Variational Inference with Normalizing Flows, arXiv:1505.05770,
        eq. 13-14 and app. A.2.
    """

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Array]:
        """Returns center `[D]`, alpha and beta `[]`, near the identity."""
        del context
        dim = math.prod(x.shape[1:])
        start = jnp.full((), math.log(math.e - 1.0), jnp.float32)  # softplus = 1
        center = jax.random.normal(key, (dim,), jnp.float32)
        return {"center": center, "alpha": start, "beta": start + 0.1}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The values y `[B, ...]`, and log |det dy/dx| `[B]`."""
        del context
        flat, (center, alpha, s) = x.reshape(x.shape[0], -1), _radial(params, x.dtype)
        r = _norm(flat - center)
        y = center + (flat - center) * ((r + s) / (alpha + r))[:, None]
        return y.reshape(x.shape), _radial_log_det(r, alpha, s, flat.shape[1])

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The values x `[B, ...]`, and log |det dx/dy| `[B]`."""
        del context
        flat, (center, alpha, s) = y.reshape(y.shape[0], -1), _radial(params, y.dtype)
        big_r = _norm(flat - center)
        # |y - x_0| = R = r (r + s) / (alpha + r); of two forms of the root, this one subtracts no
        # nearly equal numbers.
        root = jnp.sqrt((big_r - s) ** 2 + 4 * alpha * big_r)
        gap = jnp.abs(big_r - s) + root
        r = jnp.where(big_r > s, gap / 2, 2 * alpha * big_r / gap)
        x = center + (flat - center) * ((alpha + r) / (r + s))[:, None]
        return x.reshape(y.shape), -_radial_log_det(r, alpha, s, flat.shape[1])


def _radial(params: Any, dtype: jnp.dtype) -> tuple[Array, Array, Array]:
    """The center, alpha > 0 and s = alpha + beta_hat > 0."""
    center, alpha, beta = (params[name].astype(dtype) for name in ("center", "alpha", "beta"))
    return center, jax.nn.softplus(alpha), jax.nn.softplus(beta)


def _radial_log_det(r: Array, alpha: Array, s: Array, dim: int) -> Array:
    log_around = jnp.log(r + s) - jnp.log(alpha + r)
    log_along = jnp.log(r**2 + 2 * alpha * r + alpha * s) - 2 * jnp.log(alpha + r)
    return (dim - 1) * log_around + log_along


def _norm(x: Array) -> Array:
    """|x_b| `[B]`, with gradient 0 at 0."""
    squared = jnp.sum(x**2, axis=-1)
    away = squared > 0
    return jnp.where(away, jnp.sqrt(jnp.where(away, squared, 1)), 0)
