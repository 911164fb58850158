"""The probability-flow ODE by adaptive steps: samples, codes and exact log-likelihoods.

A diffusion's marginals are those of an ODE, which leads every x_t to one x_0 and back. It is solved
here by diffrax, in the variables in which it is smooth from end to end, whatever the schedule: the
angle phi = arctan(sigma / alpha), from 0 (data) to at most pi/2 (noise), and
z = x_t / sqrt(alpha^2 + sigma^2) = cos(phi) x_0 + sin(phi) eps, so that

    dz / dphi = cos(phi) eps - sin(phi) x_0 = (cos(phi) z - x_0) / sin(phi)

(Salimans & Ho 2022, arXiv:2202.00512, app. D; Song et al. 2021, arXiv:2011.13456, sec. 4.3). At
phi = 0 the right side is 0 / 0, so the ODE starts or ends at a small noise-to-signal ratio.

Solves take rtol and atol, the tolerances of a step relative to z and absolute, and max_steps; if
that number is not enough the result is nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.core import Tracer

from genjax_models.core import random
from genjax_models.core.types import Array, Key
from genjax_models.diffusion.grids import check_times
from genjax_models.diffusion.samplers import Denoiser
from genjax_models.diffusion.schedules import Schedule

Field: TypeAlias = Callable[[Array], Array]
"""A vector field on one example, `[...] -> [...]`."""
Divergence: TypeAlias = Callable[[Field, Array, Key], tuple[Array, Array]]
"""`(field, x [...], key) -> (field(x) [...], its divergence [])`; of one example."""


def adaptive(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    max_steps: int = 4096,
    trajectory: bool = False,
) -> Array:
    """A sampler along the ODE, by as many steps as the tolerances need (Tsitouras' 5(4) pairs).

    The examples share their steps, of which the least accurate one decides the size.

    Args:
        denoise: The denoiser; it is asked six times a step.
        schedule: The schedule.
        x: Noise at the first time `[B, ...]`.
        times: The grid `[n]`, falling; its ends matter, and the times between if `trajectory`.
        key: Of no account: nothing is drawn.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        max_steps: Steps after which the result is nan.
        trajectory: Whether to return the states at the times.

    Returns:
        x_0 `[B, ...]`, which is what the denoiser makes of the state at the last time; with
        `trajectory`, `[n + 1, B, ...]`.

    Raises:
        ValueError: The times do not fall, or there is no noise at the first.
    """
    del key
    times = check_times(times, schedule)
    ended = schedule(times)[1] == 0  # at most at the last
    if len(times) > 1:  # where there is no noise the ODE has no value: from as near as `encode`
        near = jnp.minimum(ends(schedule)[1], 0.5 * times[-2])
        times = times.at[-1].set(jnp.where(ended[-1], near, times[-1]))
    angles, size = _polar(schedule, times)
    path = (x / size[0])[None]
    if len(times) > 1:
        velocity = _velocity(denoise, schedule)
        saved = angles if trajectory else angles[-1:]
        path = _solve(velocity, angles[0], path[0], saved, _worst, rtol, atol, max_steps)
    x_0 = denoise(size[-1] * path[-1], times[-1])
    if not trajectory:
        return x_0
    between = size[1:].reshape(-1, *[1] * x.ndim) * path[1:]
    between = jnp.where(ended[1:].reshape(-1, *[1] * x.ndim), x_0, between)
    return jnp.concatenate([x[None], between, x_0[None]])


def encode(
    denoise: Denoiser,
    schedule: Schedule,
    x_0: Array,
    *,
    smallest: float = 1e-3,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    max_steps: int = 4096,
) -> Array:
    """The noise to which the ODE leads from an example: what a sampler would start from.

    Args:
        denoise: The denoiser.
        schedule: The schedule.
        x_0: Data `[B, ...]`.
        smallest: The noise-to-signal ratio at which to start, or the schedule's own lowest.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        max_steps: Steps after which the result is nan.

    Returns:
        x_1 `[B, ...]`, about N(0, sigma(1)^2), which `adaptive` leads back to x_0 on the times
        `ends(schedule, smallest)`.
    """
    (top, bottom), (size, _) = _polar(schedule, ends(schedule, smallest))
    velocity = _velocity(denoise, schedule)
    z = jnp.cos(bottom) * x_0
    return size * _solve(velocity, bottom, z, top[None], _worst, rtol, atol, max_steps)[0]


def ends(schedule: Schedule, smallest: float = 1e-3) -> Array:
    """The times `[2]` between which the ODE is solved: 1, and that of the lowest noise.

    Args:
        schedule: The schedule.
        smallest: The noise-to-signal ratio at the end, or the schedule's own lowest.

    Raises:
        ValueError: There is no noise at the end.
    """
    last = schedule.time(-2.0 * jnp.log(_lowest(schedule, smallest)))
    return jnp.stack([jnp.ones(()), jnp.clip(last, 0.0, 1.0)])


def _lowest(schedule: Schedule, smallest: Array | float) -> Array:
    """The noise-to-signal ratio at the data's end: `smallest`, or the schedule's own lowest."""
    with jax.ensure_compile_time_eval():
        ratio = jnp.maximum(jnp.exp(-0.5 * schedule.log_snr(jnp.zeros(()))), smallest)
    if not isinstance(ratio, Tracer) and not 0 < float(ratio) < math.inf:
        raise ValueError(
            f"the ODE is to meet the data at the noise-to-signal ratio {float(ratio):g}, where it "
            "has no value: give smallest=1e-3, for example"
        )
    return ratio


def exact(field: Field, x: Array, key: Key) -> tuple[Array, Array]:
    """The divergence as the trace of the Jacobian: as many looks back as x has entries."""
    del key
    value, vjp = jax.vjp(field, x)
    basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    rows = jax.vmap(lambda e: jnp.sum(vjp(e)[0] * e))(basis)
    return value, jnp.sum(rows)


def hutchinson(num: int = 1, draw: Callable[..., Array] = jax.random.rademacher) -> Divergence:
    """The divergence as the mean of e^T J e over random e, without bias.

    Args:
        num: Number of e; the variance is that of one over num.
        draw: `(key, shape, dtype) -> e` of mean 0 and covariance I: `jax.random.rademacher`, whose
            variance is least, or `jax.random.normal`.

    Raises:
        ValueError: The number is not positive.

    References:
        Hutchinson 1989; Skilling 1989; Grathwohl et al. 2019, FFJORD, arXiv:1810.01367, sec. 3.1.
    """
    if num < 1:
        raise ValueError(f"Hutchinson's estimate of {num} draws was asked for: give 1 or more")

    def divergence(field: Field, x: Array, key: Key) -> tuple[Array, Array]:
        # The same e at every look, for it is one ODE that is solved.
        probes = draw(key, (num, *x.shape), x.dtype)
        value, vjp = jax.vjp(field, x)
        return value, jnp.mean(jax.vmap(lambda e: jnp.sum(vjp(e)[0] * e))(probes))

    return divergence


def log_prob(
    denoise: Callable[..., Array],
    schedule: Schedule,
    x_0: Array,
    key: Key,
    *,
    condition: tuple[Array, ...] = (),
    divergence: Divergence = exact,
    smallest: Array | float = 1e-3,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 4096,
) -> Array:
    """The log-density of examples under what the ODE makes of N(0, sigma(1)^2), in nats.

    `log p(z_0) = log p(z_1) + integral of div(dz / dphi) dphi`, from the data's end to the noise's.
    Every example is solved for by itself, in steps of its own: what the denoiser is asked is one
    example, `denoise(x_t [1, ...], t [], *condition)`, under `vmap`.

    The density is that of x_0 + r eps, with r the noise-to-signal ratio where the ODE starts. It
    differs from that of x_0 by (r^2 / 2) (Laplacian of p) / p, to lowest order.

    Args:
        denoise: The denoiser.
        schedule: The schedule.
        x_0: Real-valued data `[B, ...]`.
        key: What a random divergence draws from, for each example its own.
        condition: What else the denoiser is told of each example, arrays `[B, ...]` (labels); each
            is given the example's row `[1, ...]`.
        divergence: `exact`, or `hutchinson()` for an unbiased estimate in one look back a step.
        smallest: r, or the schedule's own lowest ratio where that is higher.
        rtol: Relative tolerance.
        atol: Absolute tolerance, also of the log-density.
        max_steps: Steps after which the result is nan.

    Returns:
        Nats `[B]`.

    References:
        Chen et al. 2018, arXiv:1806.07366, eq. 8; Song et al. 2021, arXiv:2011.13456, eq. 39.
    """
    bottom = jnp.arctan(_lowest(schedule, smallest))
    top = _polar(schedule, jnp.ones(1))[0][0]

    def one(x: Array, key: Key, condition: tuple[Array, ...]) -> Array:
        told = [c[None] for c in condition]
        velocity = _velocity(lambda x_t, t: denoise(x_t[None], t, *told)[0], schedule)

        def field(phi: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            return divergence(lambda z: velocity(phi, z), state[0], key)

        state = jnp.cos(bottom) * x, jnp.zeros((), x.dtype)
        z, volume = _solve(field, bottom, state, top[None], _either, rtol, atol, max_steps)
        # In units of x_0, not of z; and N(0, sin^2) in units of z.
        scale = jnp.log(jnp.sin(top)) - jnp.log(jnp.cos(bottom)) + 0.5 * math.log(2 * math.pi)
        squares = 0.5 * jnp.sum((z[0] / jnp.sin(top)) ** 2)
        return volume[0] - squares - x.size * scale

    keys = random.example_keys(key, x_0.shape[0])
    return jax.vmap(one)(x_0, keys, condition)


def _polar(schedule: Schedule, t: Array) -> tuple[Array, Array]:
    """The angles phi of times, and sqrt(alpha^2 + sigma^2)."""
    alpha, sigma = schedule(t)
    return jnp.arctan2(sigma, alpha), jnp.hypot(alpha, sigma)


def _velocity(denoise: Denoiser, schedule: Schedule) -> Callable[[Array, Array], Array]:
    """`(phi, z) -> dz / dphi`."""

    def velocity(phi: Array, z: Array) -> Array:
        # At pi/2 rounding may bring the cosine below 0.
        ratio = jnp.maximum(jnp.cos(phi), 0.0) / jnp.sin(phi)
        t = jnp.clip(schedule.time(2.0 * jnp.log(ratio)), 0.0, 1.0)
        alpha, sigma = schedule(t)  # of the time as rounded, so that all agree with what it is told
        size = jnp.hypot(alpha, sigma)
        return (alpha * z - size * denoise(size * z, t)) / sigma

    return velocity


def _solve(
    field: Callable[[Array, Any], Any],
    start: Array,
    y: Any,
    angles: Array,
    norm: Callable[[Any], Array],
    rtol: float,
    atol: float,
    max_steps: int,
) -> Any:
    """The solution at the angles `[n]`, the last of which is the end: a pytree of `[n, ...]`."""
    import diffrax

    found = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda phi, y, args: field(jnp.asarray(phi), y)),
        diffrax.Tsit5(),
        t0=start,
        t1=angles[-1],
        dt0=None,
        y0=y,
        saveat=diffrax.SaveAt(ts=angles) if len(angles) > 1 else diffrax.SaveAt(t1=True),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol, norm=norm),
        max_steps=max_steps,
        throw=False,  # an error raised from compiled code needs a callback: no caching, no pmap
    )
    done = found.result == diffrax.RESULTS.successful
    return jax.tree.map(lambda a: jnp.where(done, a, jnp.nan), found.ys)


def _worst(error: Array) -> Array:
    """The largest of the examples' root mean squares, `[B, ...] -> []`, on every device."""
    axes = tuple(range(1, error.ndim))
    return jnp.max(random.all_examples(jnp.sqrt(jnp.mean(error**2, axes))))


def _either(error: tuple[Array, Array]) -> Array:
    """Of one example, that of the state and that of the log-density, whichever is larger."""
    state, volume = error
    return jnp.maximum(jnp.sqrt(jnp.mean(state**2)), jnp.abs(volume))
