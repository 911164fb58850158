"""Inverse problems: data given a measurement of them, by a denoiser that knows none.

A measurement is `y = A(x_0) + noise`, where A is any function that is linear in x_0 and measures
each example by itself. `posterior` guides a denoiser to x_0 given y, for any sampler. For parts of
x_0 that are known exactly there is also `repaint`, a sampler that puts them back at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.types import Array, Key
from genjax_models.diffusion.guidance import shift_per_score
from genjax_models.diffusion.samplers import Denoiser, Level, ddim_step, walk
from genjax_models.diffusion.schedules import Schedule
from genjax_models.networks.convolution import conv2d

Operator: TypeAlias = Callable[[Array], Array]
"""`x_0 [B, ...] -> A(x_0) [B, ...]`, linear."""
Covariance: TypeAlias = Callable[[Array, Operator, Schedule, Array], Array]
"""`(v [B, ...], J^T, schedule, t []) -> C v [B, ...]`, with C the covariance that x_0 given x_t is
said to have, and J the denoiser's Jacobian at x_t."""


def masked(mask: Array) -> Operator:
    """Sees the entries where `mask` is True, bool `[*shape]` or `[B, *shape]`; 0 elsewhere."""
    return lambda x: jnp.where(mask, x, 0.0)


def downsampled(factor: int) -> Operator:
    """Images `[B, H, W, C]` as the means of squares of `factor` pixels, `[B, H/f, W/f, C]`.

    Raises:
        ValueError: (When measuring) the size of the images is no multiple of the factor.
    """

    def measure(x: Array) -> Array:
        num, height, width, channels = x.shape
        if height % factor or width % factor:
            raise ValueError(
                f"images of {height}x{width} cannot be downsampled by {factor}: give a factor of "
                "both"
            )
        blocks = (num, height // factor, factor, width // factor, factor, channels)
        return jnp.mean(x.reshape(blocks), axis=(2, 4))  # [B, H/f, f, W/f, f, C]

    return measure


def blurred(kernel: Array) -> Operator:
    """Images `[B, H, W, C]` convolved with a kernel `[k, k]`, k odd; zeros beyond the edges."""
    taps = jnp.asarray(kernel, jnp.float32)[::-1, ::-1, None, None]  # conv2d does not turn it

    def measure(x: Array) -> Array:
        num, height, width, channels = x.shape
        planes = jnp.moveaxis(x, -1, 1).reshape(num * channels, height, width, 1)
        planes = conv2d(planes, taps.astype(x.dtype))  # every channel by itself
        return jnp.moveaxis(planes.reshape(num, channels, height, width), 1, -1)

    return measure


def isotropic(std: float = 1.0) -> Covariance:
    """`v I` with `v = r^2 s^2 / (r^2 + s^2)`, r = sigma / alpha: that of data N(m, s^2 I).

    Args:
        std: s, the standard deviation of the data.

    References:
        Song et al. 2023, Pseudoinverse-guided diffusion models for inverse problems, whose s is 1.
    """

    def covariance(v: Array, vjp: Operator, schedule: Schedule, t: Array) -> Array:
        alpha, sigma = schedule(t)
        return (sigma * std) ** 2 / (sigma**2 + (alpha * std) ** 2) * v

    return covariance


def tweedie(v: Array, vjp: Operator, schedule: Schedule, t: Array) -> Array:
    """`sigma^2 / alpha J`, which is the covariance of x_0 given x_t of any data.

    Of an exact denoiser the Jacobian is symmetric, and its products are had by `J^T v`.

    Boys et al. 2023, arXiv:2310.06721; Rozet et al. 2024, arXiv:2405.13712, sec. 4.
    """
    return shift_per_score(schedule, t) * vjp(v)


def posterior(
    denoise: Denoiser,
    schedule: Schedule,
    measure: Operator,
    y: Array,
    noise: float,
    *,
    covariance: Covariance = tweedie,
    iterations: int = 5,
) -> Denoiser:
    r"""The denoiser of x_0 given its measurement, `E[x_0 | x_t, y]`.

    `x_0 + sigma^2 / alpha J^T A^T (A C A^T + noise^2 I)^{-1} (y - A x_0)`, as if x_0 given x_t were
    normal with the denoised mean and the covariance C. With `tweedie` that is exact for normal data
    of any covariance, and with `isotropic` for those that have an isotropic one; for other data it
    is an approximation, best at low noise. The linear system is solved by conjugate gradients.

    Args:
        denoise: The denoiser of all data.
        schedule: Its schedule.
        measure: A.
        y: The measurements `[B, ...]`, in the units of A.
        noise: The standard deviation of the noise in y. What is 0 may be ill-posed: give
            some.
        covariance: C: `tweedie` (moment matching) or `isotropic` (PiGDM, whose solves are cheap).
        iterations: Conjugate gradient steps: as many as A C A^T has distinct eigenvalues for an
            exact solution, a few in practice. With `tweedie` each goes back through the network.

    Returns:
        The guided denoiser. Where alpha is 0 it is the plain one.

    Raises:
        ValueError: There are no iterations, or the noise is negative.

    References:
        Song et al. 2023, Pseudoinverse-guided diffusion models for inverse problems (PiGDM); Rozet
        et al. 2024, arXiv:2405.13712, sec. 4 (moment matching); Chung et al. 2023, arXiv:2209.14687
        (DPS), which takes C = 0.
    """
    if iterations < 1 or noise < 0:
        raise ValueError(
            f"posterior guidance has {iterations} iterations and noise {noise}: give at least 1 "
            "iteration, and noise of at least 0"
        )

    def guided(x_t: Array, t: Array) -> Array:
        x_0, back = jax.vjp(lambda x: denoise(x, t), x_t)
        seen, transpose = jax.vjp(measure, x_0)
        jacobian_t: Operator = lambda v: back(v)[0]  # noqa: E731
        transposed: Operator = lambda u: transpose(u)[0]  # noqa: E731

        def system(u: Array) -> Array:
            return measure(covariance(transposed(u), jacobian_t, schedule, t)) + noise**2 * u

        solved = _conjugate_gradients(system, y - seen, iterations)
        return x_0 + shift_per_score(schedule, t) * jacobian_t(transposed(solved))

    return guided


def _conjugate_gradients(system: Operator, b: Array, iterations: int) -> Array:
    """Solves system(x) = b for every example `[B, ...]` by itself, from x = 0.

    Where nothing is left to be solved, nothing more is added.
    """
    axes = tuple(range(1, b.ndim))
    dot = lambda u, v: jnp.sum(u * v, axes, keepdims=True)  # noqa: E731
    over = lambda a, b: jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), 0.0)  # noqa: E731

    def step(_: int, carry: Any) -> Any:
        x, residual, direction = carry
        along = system(direction)
        norm = dot(residual, residual)
        size = over(norm, dot(direction, along))
        x, residual = x + size * direction, residual - size * along
        return x, residual, residual + over(dot(residual, residual), norm) * direction

    return jax.lax.fori_loop(0, iterations, step, (jnp.zeros_like(b), b, b))[0]


def repaint(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    known: Array,
    mask: Array,
    resamplings: int = 10,
    trajectory: bool = False,
) -> Array:
    """Inpainting: ancestral steps, each repeated, with the known part put back at its noise level.

    A step draws the whole at the next level and replaces what is known by a noisy copy of it. That
    the rest knew nothing of this copy is mended by going back a level, by the forward process, and
    drawing again. With one resampling it is plain replacement, whose parts fit together badly.

    Args:
        denoise: The denoiser; it is asked `resamplings` times a step, once in the last.
        schedule: The schedule.
        x: Noise at the first time `[B, ...]`.
        times: The grid `[n]`, falling.
        key: What all noise is a function of.
        known: x_0 where it is known, `[B, ...]` or what broadcasts to it; anything elsewhere.
        mask: Where it is known, bool `[*shape]` or `[B, *shape]`.
        resamplings: How often each step is drawn; the paper's r.
        trajectory: Whether to return every state.

    Returns:
        x_0 `[B, ...]`, with the known part as it was given.

    Raises:
        ValueError: There are no resamplings, or the times do not fall.

    References:
        Lugmayr et al. 2022, RePaint, arXiv:2201.09865, algorithm 1 (jump length 1); replacement:
        Song et al. 2021, arXiv:2011.13456, app. I.2.
    """
    if resamplings < 1:
        raise ValueError(f"the number of resamplings is {resamplings}: give at least 1")

    def draw(x: Array, at: Level, to: Level, key: Key) -> Array:
        key_step, key_known = jax.random.split(key)
        x = ddim_step(denoise, x, at, to, key_step)
        noisy = to.alpha * known + to.sigma * random.normal(key_known, x.shape, x.dtype)
        return jnp.where(mask, noisy, x)

    def back(x: Array, at: Level, to: Level, key: Key) -> Array:
        """From the next level to this one again, by the forward process."""
        kept = at.alpha / to.alpha
        grown = jnp.sqrt(jnp.maximum(at.sigma**2 - (kept * to.sigma) ** 2, 0.0))
        return kept * x + grown * random.normal(key, x.shape, x.dtype)

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        def again(i: Array, x: Array) -> Array:
            key_draw, key_back = jax.random.split(jax.random.fold_in(key, i))
            return draw(back(x, at, to, key_back), at, to, key_draw)

        # The last step has no level to go back from: its end is no noise at all.
        num = jnp.where(to.sigma > 0, resamplings, 1)
        return jax.lax.fori_loop(1, num, again, draw(x, at, to, key)), memory

    return walk(step, schedule, x, times, key, trajectory=trajectory)
