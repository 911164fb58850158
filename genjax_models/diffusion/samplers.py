"""Samplers: from noise to data, given a denoiser and a schedule, and nothing else.

Each is a function `(denoise, schedule, x, times, key, *, trajectory=False) -> x_0`;
`functools.partial` sets its other options. `denoise(x_t, t) -> E[x_0 | x_t]` is any callable: a
model's, a guided one, a closed form. `x` is noise at `times[0]`, as `start` draws it. All of a
sampler runs inside one `jit`.

A step leads from the level (alpha, sigma) of one time to that of the next. After the last time
comes (1, 0), so that the last step ends at x_0 itself. Where there is no noise at the last time
already, the step to it is the last. Two things are read off the denoiser:
x_0 ~ E[x_0 | x_t] and eps ~ (x_t - alpha x_0) / sigma. With r = sigma / alpha, the noise-to-signal
ratio, the probability-flow ODE of every schedule is d(x_t / alpha) / dr = eps (Song et al. 2021,
arXiv:2011.13456, eq. 13; Karras et al. 2022, arXiv:2206.00364, eq. 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from jax.core import Tracer

from genjax_models.core import random
from genjax_models.core.types import Array, Key
from genjax_models.diffusion.grids import check_times
from genjax_models.diffusion.schedules import Schedule
from genjax_models.networks.noise_embedding import LOWEST

Denoiser: TypeAlias = Callable[[Array, Array], Array]
"""`(x_t [B, ...], t []) -> E[x_0 | x_t] [B, ...]`."""


class Sampler(Protocol):
    """What draws data from noise."""

    def __call__(
        self,
        denoise: Denoiser,
        schedule: Schedule,
        x: Array,
        times: Array,
        key: Key,
        *,
        trajectory: bool = False,
    ) -> Array:
        """x_0 `[B, ...]`; with `trajectory`, all states `[n + 1, B, ...]`, the noise first."""
        ...


class Level(NamedTuple):
    """How much of the data and how much noise there is at a time."""

    t: Array
    alpha: Array
    sigma: Array

    @property
    def ratio(self) -> Array:
        """The noise-to-signal ratio, sigma / alpha; infinite where there is nothing but noise."""
        return self.sigma / self.alpha

    @property
    def is_noise(self) -> Array:
        """Whether there is so little of the data that float32 has no trace of it."""
        return self.ratio >= math.exp(-0.5 * LOWEST)


def level(schedule: Schedule, t: Array, ndim: int) -> Level:
    """The level of times `[B]`, in the shape `[B, 1, ...]` of that many axes."""
    return Level(*(a.reshape(-1, *(1,) * (ndim - 1)) for a in (t, *schedule(t))))


Variance: TypeAlias = Callable[[Array, Level, Level], Array]
"""`(x_t [B, ...], level, next level) -> ` the variance of a step: `[]`, or `[B, ...]`."""

Step: TypeAlias = Callable[[Array, Any, Level, Level, Key], tuple[Array, Any]]
"""`(x, memory, level, next level, key) -> (x, memory)`."""


def start(schedule: Schedule, shape: tuple[int, ...], times: Array, key: Key) -> Array:
    """Noise of `shape` `[B, ...]` to start from: N(0, sigma^2) at the first of the times.

    Raises:
        ValueError: The times do not fall, or there is no noise at the first.
    """
    times = check_times(times, schedule)
    return schedule(times[0])[1] * random.normal(key, shape)


def walk(
    step: Step,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    memory: Any = (),
    trajectory: bool = False,
) -> Array:
    """Takes a step from each time of the grid to the next, and from the last one to no noise.

    Args:
        step: One step; `memory` is what it keeps of the steps before.
        schedule: Says the levels of the times.
        x: The state at the first time `[B, ...]`.
        times: The grid `[n]`, falling; no step is taken from one without noise.
        key: Split among the steps.
        memory: What the first step is given.
        trajectory: Whether to return every state.

    Raises:
        ValueError: The times do not fall, or there is no noise at the first.
    """
    times = check_times(times, schedule)
    here = Level(times, *schedule(times))
    end = Level(*(jnp.full(1, value, times.dtype) for value in (0.0, 1.0, 0.0)))
    after = jax.tree.map(lambda a, e: jnp.concatenate([a[1:], e]), here, end)

    def body(carry: tuple[Array, Any], args: tuple[Level, Level, Key]) -> Any:
        at, _, _ = args
        done = lambda x, memory, *_: (x / at.alpha, memory)  # noqa: E731
        x, memory = jax.lax.cond(at.sigma > 0, step, done, *carry, *args)
        return (x, memory), x if trajectory else None

    keys = jax.random.split(key, len(times))
    (x_0, _), path = jax.lax.scan(body, (x, memory), (here, after, keys))
    return jnp.concatenate([x[None], path]) if trajectory else x_0


def read(denoise: Denoiser, x: Array, level: Level) -> tuple[Array, Array]:
    """What the denoiser makes of x: x_0 and eps `[B, ...]`, whose mixture at the level is x."""
    x_0 = denoise(x, level.t)
    return x_0, (x - level.alpha * x_0) / level.sigma


def ddim_step(
    denoise: Denoiser, x: Array, at: Level, to: Level, key: Key, eta: float = 1.0
) -> Array:
    """One step of `ddim` `[B, ...]`; at eta = 1 a draw of DDPM's posterior."""
    x_0, eps = read(denoise, x, at)
    # Never below 0, which rounding would bring a step between nearly equal levels to.
    variance = eta**2 * to.sigma**2 * jnp.maximum(1.0 - (to.ratio / at.ratio) ** 2, 0.0)
    x = to.alpha * x_0 + jnp.sqrt(jnp.maximum(to.sigma**2 - variance, 0.0)) * eps
    return x + jnp.sqrt(variance) * random.normal(key, x.shape, x.dtype)


def ddim(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    eta: float = 0.0,
    trajectory: bool = False,
) -> Array:
    """DDIM: along the ODE at eta = 0, the ancestral sampler of DDPM (small variance) at eta = 1.

    `x_s = alpha_s x_0 + sqrt(sigma_s^2 - v) eps + sqrt(v) noise`, where
    `v = eta^2 sigma_s^2 (1 - r_s^2 / r_t^2)`. At eta = 0 it is Euler's method in r, and at eta = 1
    Euler's ancestral one.

    Takes and returns what `heun` does, but no churn, and asks the denoiser once a step. `eta`,
    0 .. 1, says how much of the noise is new; where it is 0 the key is of no consequence.

    Raises:
        ValueError: `eta` is not in 0 .. 1, or the times do not fall.

    References:
        Song et al. 2021, Denoising diffusion implicit models, arXiv:2010.02502, eq. 12 and 16.
    """
    if not isinstance(eta, Tracer) and not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: give how much of the noise is new, from 0 to 1")

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        return ddim_step(denoise, x, at, to, key, eta), memory

    return walk(step, schedule, x, times, key, trajectory=trajectory)


def fixed_small(x: Array, at: Level, to: Level) -> Array:
    """The posterior's variance, `sigma_{t|s}^2 sigma_s^2 / sigma_t^2`: exact for a single x_0."""
    return fixed_large(x, at, to) * (to.sigma / at.sigma) ** 2


def fixed_large(x: Array, at: Level, to: Level) -> Array:
    """The forward step's variance, sigma_{t|s}^2: exact for standard normal data.

    `sigma_{t|s}^2 = sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2`, but 0 in the last step.
    """
    del x
    return jnp.where(to.sigma > 0, _added(at, to), 0.0)


def _added(at: Level, to: Level) -> Array:
    """The variance of the noise that the forward process adds from the next level to this one."""
    return jnp.maximum(at.sigma**2 - (at.alpha / to.alpha * to.sigma) ** 2, 0.0)


def ancestral(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    variance: Variance = fixed_small,
    trajectory: bool = False,
) -> Array:
    """DDPM's sampler: draws from q(x_s | x_t, x_0) with the denoised x_0.

    `mean = (alpha_{t|s} sigma_s^2 x_t + alpha_s sigma_{t|s}^2 x_0) / sigma_t^2`.

    Takes and returns what `heun` does, but no churn, and asks the denoiser once a step.
    `variance` says that of a step: `fixed_small`, `fixed_large`, or a learned one, which
    `Diffusion.variance` gives.

    References:
        Ho et al. 2020, arXiv:2006.11239, eq. 7 and algorithm 2; sec. 3.2 for the fixed variances.
    """

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        alpha_ts = at.alpha / to.alpha
        x_0 = denoise(x, at.t)
        mean = (alpha_ts * to.sigma**2 * x + to.alpha * _added(at, to) * x_0) / at.sigma**2
        scale = jnp.sqrt(variance(x, at, to))
        return mean + scale * random.normal(key, x.shape, x.dtype), memory

    return walk(step, schedule, x, times, key, trajectory=trajectory)


def euler(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    trajectory: bool = False,
) -> Array:
    """Euler's method in t: `x_s = x_t + (s - t) (alpha'(t) x_0 + sigma'(t) eps)`.

    What flow matching is sampled by, on whose straight lines it is DDIM. The last step, to no
    noise, ends at x_0.

    Takes and returns what `heun` does, but no churn, and asks the denoiser once a step. The key is
    of no consequence.
    """

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        x_0, eps = read(denoise, x, at)
        _, (d_alpha, d_sigma) = jax.jvp(schedule, (at.t,), (jnp.ones_like(at.t),))
        moved = x + (to.t - at.t) * (d_alpha * x_0 + d_sigma * eps)
        return jnp.where(to.sigma > 0, moved, x_0), memory

    return walk(step, schedule, x, times, key, trajectory=trajectory)


def heun(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    churn: float = 0.0,
    churn_range: tuple[float, float] = (0.0, float("inf")),
    churn_noise: float = 1.0,
    trajectory: bool = False,
) -> Array:
    """Heun's method in r, of second order; with churn, noise is added and taken away again.

    Args:
        denoise: `(x_t [B, ...], t []) -> E[x_0 | x_t] [B, ...]`; it is asked twice a step, once in
            the last.
        schedule: Says alpha and sigma of a time, and the time of a log-SNR.
        x: Noise at the first time `[B, ...]`.
        times: The grid `[n]`, falling, in [0, 1].
        key: What the churn is a function of.
        churn: S_churn: r rises by the factor 1 + min(S_churn / n, sqrt(2) - 1) before each of n
            steps, also above that of t = 1 where the schedule's formula goes on there.
        churn_range: S_tmin and S_tmax: the r between which it does.
        churn_noise: S_noise: the standard deviation of the noise added.
        trajectory: Whether to return every state.

    Returns:
        x_0 `[B, ...]`; with `trajectory`, all states `[n + 1, B, ...]`, the noise first.

    Raises:
        ValueError: The times do not fall, or what is said of the churn cannot be.

    References:
        Karras et al. 2022, arXiv:2206.00364, algorithm 2.
    """
    low, high = churn_range
    if not (0 <= churn < math.inf and 0 <= churn_noise < math.inf and 0 <= low <= high):
        raise ValueError(
            f"heun is given churn={churn}, churn_noise={churn_noise} and churn_range={churn_range}"
            ": give numbers of at least 0, and the lower end of the range first"
        )
    times = check_times(times, schedule)
    num_steps = jnp.sum(schedule(times)[1] > 0)
    growth = 1.0 + jnp.minimum(churn / num_steps, 2.0**0.5 - 1.0)

    def churned(x: Array, at: Level, key: Key) -> tuple[Array, Level]:
        inside = (at.ratio >= low) & (at.ratio <= high)
        t = jnp.maximum(schedule.time(-2.0 * jnp.log(at.ratio * growth)), at.t)
        # Where all is noise the level stays, and the noise is mixed.
        t = jnp.where(inside & ~at.is_noise, t, at.t)
        above = Level(t, *schedule(t))
        # By how much r has grown at the time as rounded; in units of sigma nothing is infinite.
        factor = jnp.where(at.is_noise, growth, above.ratio / at.ratio)
        added = jnp.sqrt(jnp.maximum(factor**2 - 1.0, 0.0)) * churn_noise
        unit = (x / at.sigma + added * random.normal(key, x.shape, x.dtype)) / factor
        return jnp.where(inside, above.sigma * unit, x), above

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        if churn > 0:
            x, at = churned(x, at, key)
        x_0, eps = read(denoise, x, at)
        first = to.alpha * x_0 + to.sigma * eps
        # A second look, where there is noise left and where r is no rounding error's.
        second = (to.sigma > 0) & ~at.is_noise

        def corrected(first: Array) -> Array:
            _, eps_s = read(denoise, first, to)
            return first + 0.5 * (to.sigma - to.alpha * at.ratio) * (eps_s - eps)

        return jax.lax.cond(second, corrected, lambda first: first, first), memory

    return walk(step, schedule, x, times, key, trajectory=trajectory)
