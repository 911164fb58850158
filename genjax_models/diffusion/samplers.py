"""Samplers: from noise to data, given a denoiser and a schedule, and nothing else.

A sampler is a function `(denoise, schedule, x, timesteps, key, *, trajectory=False) -> x_0`;
`functools.partial` sets its other options. `denoise(x_t, t) -> E[x_0 | x_t]` is any callable: that
of a model, a guided one, a closed form. `x` is noise at `timesteps[0]`, as `initial_noise` draws
it. A whole sampler runs inside one `jit`.

Timesteps are n times `[n]` that fall from 1. A sampler takes a step from the noise scale (alpha,
sigma) of each to that of the next, and from the last one to (1, 0), which is x_0 itself. Where
there is no noise at the last time already, as at 0 on most schedules, the step to it is the last.

Two things follow from the denoiser: x_0 ~ E[x_0 | x_t] and eps ~ (x_t - alpha x_0) / sigma. With
the noise-to-signal ratio r = sigma / alpha, the probability-flow ODE of every schedule is
d(x_t / alpha) / dr = eps (Song et al. 2021, arXiv:2011.13456, eq. 13; Karras et al. 2022,
arXiv:2206.00364, eq. 4).

The DPM-Solvers (Lu et al. 2022, DPM-Solver++, arXiv:2211.01095) solve it in
lambda = log(alpha / sigma): over a step of h = lambda_s - lambda_t,
`x_s = (sigma_s / sigma_t) x_t + (alpha_s - sigma_s alpha_t / sigma_t) D` if the denoiser were a
constant D, and they differ in what they take for D. In the last step h is infinite, and they take
x_0, which is exact there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from genjax_models.core import random
from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array, Key
from genjax_models.diffusion.schedules import NoiseScale, Schedule

Denoiser: TypeAlias = Callable[[Array, Array], Array]
"""`(x_t [B, ...], t []) -> E[x_0 | x_t] [B, ...]`."""


class Sampler(Protocol):
    """Draws data from noise."""

    def __call__(
        self,
        denoise: Denoiser,
        schedule: Schedule,
        x: Array,
        timesteps: Array,
        key: Key,
        *,
        trajectory: bool = False,
    ) -> Array:
        """Goes from noise to data.

        Args:
            denoise: `(x_t [B, ...], t []) -> E[x_0 | x_t] [B, ...]`.
            schedule: alpha and sigma of a time, and the time of a log-SNR.
            x: Noise at the first of the timesteps `[B, ...]`.
            timesteps: Times `[n]` in [0, 1], falling.
            key: PRNG key.
            trajectory: Whether to return every state.

        Returns:
            x_0 `[B, ...]`; with `trajectory` all states `[n + 1, B, ...]`, the noise first.

        Raises:
            ValueError: The timesteps do not fall, there is no noise at the first, or an option is
                out of its range.
        """
        ...


Variance: TypeAlias = Callable[[Array, NoiseScale, NoiseScale], Array]
"""`(x_t [B, ...], here, next) -> ` the variance of a step between noise scales: `[]` or
`[B, ...]`."""

Step: TypeAlias = Callable[[Array, Any, NoiseScale, NoiseScale, Key], tuple[Array, Any]]
"""`(x, memory, here, next, key) -> (x, memory)`: a step from one noise scale to the next."""


def linear_timesteps(num: int) -> Array:
    """Even timesteps `[n]`, 1, (n - 1)/n, ..., 1/n: those of a discrete diffusion in n steps.

    Args:
        num: Number of steps n.

    Raises:
        ValueError: `num` is not positive.
    """
    with jax.ensure_compile_time_eval():  # also under jit a sampler can look at them
        return 1.0 - jnp.arange(_positive(num)) / num


def quadratic_timesteps(num: int) -> Array:
    """The squares of even timesteps `[n]`, (1 - i/n)^2: denser at low noise.

    Song et al. 2021, DDIM, arXiv:2010.02502, app. D.2.
    """
    return linear_timesteps(num) ** 2


def karras_timesteps(
    schedule: Schedule,
    num: int,
    *,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
) -> Array:
    """Timesteps `[n]` whose noise-to-signal ratios are Karras et al.'s, whatever the schedule.

    `s_i = (s_max^(1/rho) + i/(n-1) (s_min^(1/rho) - s_max^(1/rho)))^rho`, s = sigma / alpha.

    Args:
        schedule: The schedule.
        num: Number of steps n.
        sigma_min: The lowest s, at the last step; the schedule's lowest where that is higher.
        sigma_max: The highest s; the schedule's highest where that is lower.
        rho: Above 0; the larger, the denser the timesteps at low noise.

    Raises:
        ValueError: There are no steps, the schedule has no noise between `sigma_min` and
            `sigma_max`, or the steps are so many that their times cannot be told apart.

    References:
        Karras et al. 2022, arXiv:2206.00364, eq. 5.
    """
    if not (0 < sigma_min < sigma_max and 0 < rho < np.inf):
        raise ValueError(
            f"the timesteps have sigma_min={sigma_min}, sigma_max={sigma_max} and rho={rho}: give "
            "noise levels that rise from above 0, and a rho above 0"
        )
    i = jnp.arange(_positive(num)) / max(num - 1, 1)
    lowest, highest = jnp.exp(-0.5 * schedule.log_snr(jnp.asarray([0.0, 1.0])))
    bottom, top = jnp.maximum(sigma_min, lowest), jnp.minimum(sigma_max, highest)
    low, high = bottom ** (1 / rho), top ** (1 / rho)
    ratio = (high + i * (low - high)) ** rho
    timesteps = jnp.clip(schedule.time(-2.0 * jnp.log(ratio)), 0.0, 1.0)
    if not isinstance(timesteps, Tracer) and np.any(np.diff(timesteps) >= 0):
        raise ValueError(
            f"{num} steps between the noise-to-signal ratios {float(bottom):.4g} and "
            f"{float(top):.4g} are no falling times of {type(schedule).__name__}: give fewer "
            "steps, or a sigma_min and a sigma_max between which the schedule has noise"
        )
    return timesteps


def check_timesteps(timesteps: Array, schedule: Schedule | None = None) -> Array:
    """The timesteps `[n]`, with rounding errors at the ends of [0, 1] removed.

    Abstract timesteps are not checked.

    Args:
        timesteps: The timesteps of a sampler `[n]`.
        schedule: The schedule, which must have noise at the first of them; None to leave that out.

    Raises:
        ValueError: They do not fall within [0, 1], or there is no noise at the first.
    """
    if not isinstance(timesteps, Tracer):
        t = np.asarray(timesteps, float)
        tiny = np.finfo(np.float32).eps
        # Negated, so that nan is refused.
        if not (t.ndim == 1 and t.size and np.all((t > -tiny) & (t < 1 + 2 * tiny))) or not np.all(
            np.diff(t) < 0
        ):
            shown = np.array2string(t, precision=4, threshold=8, max_line_width=1000)
            raise ValueError(
                f"a sampler's timesteps are {shown}: give timesteps that fall from at most 1 and "
                "stay at 0 or above, such as linear_timesteps(50)"
            )
        if schedule is not None and _has_no_noise(schedule, t[0]):
            raise ValueError(
                f"a sampler's first timestep is {t[0]:g}, where {type(schedule).__name__} has no "
                "noise to begin with: give timesteps that fall from 1, such as linear_timesteps(50)"
            )
        with jax.ensure_compile_time_eval():  # so that they can be looked at again under jit
            return _in_range(jnp.asarray(timesteps))
    return _in_range(timesteps)


def _in_range(timesteps: Array) -> Array:
    timesteps = timesteps.astype(jnp.promote_types(timesteps.dtype, jnp.float32))
    return jnp.where(timesteps < jnp.finfo(timesteps.dtype).eps, 0.0, jnp.minimum(timesteps, 1.0))


def _has_no_noise(schedule: Schedule, t: float) -> bool:
    """Whether sigma is 0 at a time; False where that cannot be known yet."""
    with jax.ensure_compile_time_eval():
        _, sigma = schedule(jnp.asarray(0.0 if t < np.finfo(np.float32).eps else t))
    return not isinstance(sigma, Tracer) and float(sigma) == 0


def _positive(num: int) -> int:
    if num < 1:
        raise ValueError(
            f"the number of sampling steps is {num}: give a whole number of at least 1"
        )
    return num


def initial_noise(schedule: Schedule, shape: tuple[int, ...], timesteps: Array, key: Key) -> Array:
    """Draws the noise `[B, ...]` that a sampler starts from: N(0, sigma^2) at the first timestep.

    Args:
        schedule: The schedule.
        shape: The shape of the noise.
        timesteps: The sampler's timesteps `[n]`.
        key: PRNG key.

    Raises:
        ValueError: The timesteps do not fall, or there is no noise at the first.
    """
    timesteps = check_timesteps(timesteps, schedule)
    return schedule(timesteps[0])[1] * random.normal(key, shape)


def sample_loop(
    step: Step,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    memory: Any = (),
    trajectory: bool = False,
) -> Array:
    """Takes a step from each timestep to the next, and from the last one to no noise.

    Args:
        step: One step; `memory` is what it keeps of the steps before.
        schedule: The schedule.
        x: The state at the first timestep `[B, ...]`.
        timesteps: Times `[n]`, falling; no step is taken from one without noise.
        key: PRNG key, split among the steps.
        memory: The memory that the first step is given.
        trajectory: Whether to return every state.

    Returns:
        x_0 `[B, ...]`; with `trajectory` all states `[n + 1, B, ...]`.

    Raises:
        ValueError: The timesteps do not fall, or there is no noise at the first.
    """
    timesteps = check_timesteps(timesteps, schedule)
    here = NoiseScale(timesteps, *schedule(timesteps))
    end = NoiseScale(*(jnp.full(1, value, timesteps.dtype) for value in (0.0, 1.0, 0.0)))
    after = jax.tree.map(lambda a, e: jnp.concatenate([a[1:], e]), here, end)

    def body(carry: tuple[Array, Any], args: tuple[NoiseScale, NoiseScale, Key]) -> Any:
        at, _, _ = args
        done = lambda x, memory, *_: (x / at.alpha, memory)  # noqa: E731
        x, memory = jax.lax.cond(at.sigma > 0, step, done, *carry, *args)
        return (x, memory), x if trajectory else None

    keys = jax.random.split(key, len(timesteps))
    (x_0, _), path = jax.lax.scan(body, (x, memory), (here, after, keys))
    return jnp.concatenate([x[None], path]) if trajectory else x_0


def predict_x0_eps(denoise: Denoiser, x: Array, scale: NoiseScale) -> tuple[Array, Array]:
    """The denoised x_0 and the eps `[B, ...]` for which x = alpha x_0 + sigma eps."""
    x_0 = denoise(x, scale.t)
    return x_0, (x - scale.alpha * x_0) / scale.sigma


def ddim_step(
    denoise: Denoiser, x: Array, at: NoiseScale, to: NoiseScale, key: Key, eta: float = 1.0
) -> Array:
    """Takes one step of `ddim` `[B, ...]`; at eta = 1 a draw from DDPM's posterior."""
    x_0, eps = predict_x0_eps(denoise, x, at)
    # Never below 0, where rounding would bring a step between nearly equal noise scales.
    variance = eta**2 * to.sigma**2 * jnp.maximum(1.0 - (to.ratio / at.ratio) ** 2, 0.0)
    x = to.alpha * x_0 + jnp.sqrt(jnp.maximum(to.sigma**2 - variance, 0.0)) * eps
    return x + jnp.sqrt(variance) * random.normal(key, x.shape, x.dtype)


def ddim(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    eta: float = 0.0,
    trajectory: bool = False,
) -> Array:
    """DDIM: along the ODE at eta = 0, the ancestral sampler of DDPM (small variance) at eta = 1.

    `x_s = alpha_s x_0 + sqrt(sigma_s^2 - v) eps + sqrt(v) noise`, where
    `v = eta^2 sigma_s^2 (1 - r_s^2 / r_t^2)`. At eta = 0 it is Euler's method in r, and at eta = 1
    Euler's ancestral one.

    It asks the denoiser once a step. `eta`, 0 .. 1, says how much of the noise is new; where it is
    0 the key is not used. All else as in `Sampler`.

    References:
        Song et al. 2021, Denoising diffusion implicit models, arXiv:2010.02502, eq. 12 and 16.
    """
    if not isinstance(eta, Tracer) and not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: give how much of the noise is new, from 0 to 1")

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        return ddim_step(denoise, x, at, to, key, eta), memory

    return sample_loop(step, schedule, x, timesteps, key, trajectory=trajectory)


def fixed_small(x: Array, at: NoiseScale, to: NoiseScale) -> Array:
    """The posterior's variance, `sigma_{t|s}^2 sigma_s^2 / sigma_t^2`: exact for a single x_0."""
    return fixed_large(x, at, to) * (to.sigma / at.sigma) ** 2


def fixed_large(x: Array, at: NoiseScale, to: NoiseScale) -> Array:
    """The forward step's variance, sigma_{t|s}^2: exact for standard normal data.

    `sigma_{t|s}^2 = sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2`, but 0 in the last step.
    """
    del x
    return jnp.where(to.sigma > 0, _added(at, to), 0.0)


def _added(at: NoiseScale, to: NoiseScale) -> Array:
    """The variance of the noise that the forward process adds from `to` to `at`."""
    return jnp.maximum(at.sigma**2 - (at.alpha / to.alpha * to.sigma) ** 2, 0.0)


def ancestral(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    variance: Variance = fixed_small,
    trajectory: bool = False,
) -> Array:
    """DDPM's sampler, which draws from q(x_s | x_t, x_0) with the denoised x_0.

    `mean = (alpha_{t|s} sigma_s^2 x_t + alpha_s sigma_{t|s}^2 x_0) / sigma_t^2`.

    It asks the denoiser once a step. `variance` is that of a step: `fixed_small`, `fixed_large`, or
    a learned one, `Diffusion.variance(params)`. All else as in `Sampler`.

    References:
        Ho et al. 2020, arXiv:2006.11239, eq. 7 and algorithm 2; sec. 3.2 for the fixed variances.
    """

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        alpha_ts = at.alpha / to.alpha
        x_0 = denoise(x, at.t)
        mean = (alpha_ts * to.sigma**2 * x + to.alpha * _added(at, to) * x_0) / at.sigma**2
        scale = jnp.sqrt(variance(x, at, to))
        return mean + scale * random.normal(key, x.shape, x.dtype), memory

    return sample_loop(step, schedule, x, timesteps, key, trajectory=trajectory)


def euler(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    trajectory: bool = False,
) -> Array:
    """Euler's method in t: `x_s = x_t + (s - t) (alpha'(t) x_0 + sigma'(t) eps)`.

    The usual sampler of flow matching, on whose straight lines it is DDIM. The last step, to no
    noise, ends at x_0. It asks the denoiser once a step; the key is not used. All else as in
    `Sampler`.
    """

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        x_0, eps = predict_x0_eps(denoise, x, at)
        _, (d_alpha, d_sigma) = jax.jvp(schedule, (at.t,), (jnp.ones_like(at.t),))
        moved = x + (to.t - at.t) * (d_alpha * x_0 + d_sigma * eps)
        return jnp.where(to.sigma > 0, moved, x_0), memory

    return sample_loop(step, schedule, x, timesteps, key, trajectory=trajectory)


def heun(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    churn: float = 0.0,
    churn_range: tuple[float, float] = (0.0, float("inf")),
    churn_noise: float = 1.0,
    trajectory: bool = False,
) -> Array:
    """Heun's method in r, of second order; with churn, noise is added and taken away again.

    Args:
        denoise: As in `Sampler`, like all that is not named below; it is asked twice a step, once
            in the last.
        schedule: The schedule.
        x: The noise.
        timesteps: The timesteps.
        key: PRNG key of the churn.
        churn: S_churn: r rises by the factor 1 + min(S_churn / n, sqrt(2) - 1) before each of n
            steps, also above that of t = 1 where the schedule's formula goes on there.
        churn_range: S_tmin and S_tmax: the r between which it does.
        churn_noise: S_noise: the standard deviation of the noise added.
        trajectory: Whether to return every state.

    Raises:
        ValueError: The timesteps do not fall, or an option of the churn is out of its range.

    References:
        Karras et al. 2022, arXiv:2206.00364, algorithm 2.
    """
    low, high = churn_range
    if not (0 <= churn < math.inf and 0 <= churn_noise < math.inf and 0 <= low <= high):
        raise ValueError(
            f"heun is given churn={churn}, churn_noise={churn_noise} and churn_range={churn_range}"
            ": give numbers of at least 0, and the lower end of the range first"
        )
    timesteps = check_timesteps(timesteps, schedule)
    num_steps = jnp.sum(schedule(timesteps)[1] > 0)
    growth = 1.0 + jnp.minimum(churn / num_steps, 2.0**0.5 - 1.0)

    def churned(x: Array, at: NoiseScale, key: Key) -> tuple[Array, NoiseScale]:
        inside = (at.ratio >= low) & (at.ratio <= high)
        t = jnp.maximum(schedule.time(-2.0 * jnp.log(at.ratio * growth)), at.t)
        # Where all is noise the noise scale stays, and the noise is mixed.
        t = jnp.where(inside & ~at.is_noise, t, at.t)
        above = NoiseScale(t, *schedule(t))
        # By how much r has grown at the time as rounded; in units of sigma nothing is infinite.
        factor = jnp.where(at.is_noise, growth, above.ratio / at.ratio)
        added = jnp.sqrt(jnp.maximum(factor**2 - 1.0, 0.0)) * churn_noise
        unit = (x / at.sigma + added * random.normal(key, x.shape, x.dtype)) / factor
        return jnp.where(inside, above.sigma * unit, x), above

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        if churn > 0:
            x, at = churned(x, at, key)
        x_0, eps = predict_x0_eps(denoise, x, at)
        first = to.alpha * x_0 + to.sigma * eps
        # A second look, where there is noise left and r is more than a rounding error.
        second = (to.sigma > 0) & ~at.is_noise

        def corrected(first: Array) -> Array:
            _, eps_s = predict_x0_eps(denoise, first, to)
            return first + 0.5 * (to.sigma - to.alpha * at.ratio) * (eps_s - eps)

        return jax.lax.cond(second, corrected, lambda first: first, first), memory

    return sample_loop(step, schedule, x, timesteps, key, trajectory=trajectory)


def _solved(x: Array, at: NoiseScale, to: NoiseScale, constant: Array) -> Array:
    """The state at the next noise scale if the denoiser returned a constant on the way."""
    kept = to.sigma / at.sigma
    return kept * x + (to.alpha - kept * at.alpha) * constant


def dpm_solver_2m(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    trajectory: bool = False,
) -> Array:
    """DPM-Solver++(2M), of second order, by one look a step and the memory of the one before.

    `D = x_0 + (h / 2 h_before) (x_0 - x_0 before)`. It asks the denoiser once a step; the key is
    not used. All else as in `Sampler`.

    References:
        Lu et al. 2022, arXiv:2211.01095, algorithm 2.
    """

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        x_0_before, ratio_before = memory
        x_0 = denoise(x, at.t)
        h, h_before = jnp.log(at.ratio / to.ratio), jnp.log(ratio_before / at.ratio)
        # h_before is infinite in the first step: nothing is remembered, and the weight is 0.
        remembered = (to.sigma > 0) & jnp.isfinite(h_before) & (h_before > 0)
        weight = jnp.where(remembered, 0.5 * h / h_before, 0.0)
        return _solved(x, at, to, x_0 + weight * (x_0 - x_0_before)), (x_0, at.ratio)

    dtype = jnp.result_type(timesteps, jnp.float32)
    memory = jnp.zeros_like(x), jnp.asarray(jnp.inf, dtype)
    return sample_loop(step, schedule, x, timesteps, key, memory=memory, trajectory=trajectory)


def dpm_solver_2s(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    trajectory: bool = False,
) -> Array:
    """DPM-Solver++(2S), of second order, by two looks a step, the second halfway in lambda.

    It asks the denoiser twice a step, once in the last; the key is not used. All else as in
    `Sampler`.

    References:
        Lu et al. 2022, arXiv:2211.01095, algorithm 1, with its r_i = 1/2.
    """

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        x_0 = denoise(x, at.t)

        def halfway(x_0: Array) -> Array:
            t = jnp.clip(schedule.time(-jnp.log(at.ratio) - jnp.log(to.ratio)), to.t, at.t)
            middle = NoiseScale(t, *schedule(t))
            return denoise(_solved(x, at, middle, x_0), t)

        # Halfway is nowhere if one end has no noise, or nothing else.
        second = (to.sigma > 0) & ~at.is_noise
        return _solved(x, at, to, jax.lax.cond(second, halfway, lambda x_0: x_0, x_0)), memory

    return sample_loop(step, schedule, x, timesteps, key, trajectory=trajectory)


def predictor_corrector(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    corrections: int = 1,
    snr: float = 0.16,
    trajectory: bool = False,
) -> Array:
    """Takes ancestral steps, each followed by Langevin steps at the new noise scale.

    A correction is `x + e g + sqrt(2 e) z` with the score g, noise z and the step size
    `e = 2 alpha^2 (snr |z| / |g|)^2`, from the norms' means over the examples.

    Args:
        denoise: As in `Sampler`, like all that is not named below; it is asked 1 + corrections
            times a step.
        schedule: The schedule.
        x: The noise.
        timesteps: The timesteps.
        key: PRNG key.
        corrections: Number of Langevin steps after each ancestral step; none after the last.
        snr: Signal-to-noise ratio of a Langevin step.
        trajectory: Whether to return every state.

    Raises:
        ValueError: `corrections` or `snr` is negative.

    References:
        Song et al. 2021, arXiv:2011.13456, algorithms 1, 4 and 5.
    """
    if corrections < 0 or not 0 <= snr < math.inf:
        raise ValueError(
            f"the predictor-corrector is given corrections={corrections} and snr={snr}: give "
            "numbers of at least 0"
        )

    def correct(i: int, x: Array, to: NoiseScale, key: Key) -> Array:
        z = random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        _, eps = predict_x0_eps(denoise, x, to)
        score = -eps / to.sigma
        norms = (jnp.sqrt(sum_entries(a**2)) for a in (z, score))
        noise, slope = (jnp.mean(random.all_examples(norm)) for norm in norms)
        slope = jnp.where(slope > 0, slope, jnp.inf)  # nowhere to go: no step
        size = 2.0 * to.alpha**2 * (snr * noise / slope) ** 2
        return x + size * score + jnp.sqrt(2.0 * size) * z

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        key_predictor, key_corrector = jax.random.split(key)
        x = ddim_step(denoise, x, at, to, key_predictor)

        def corrected(x: Array) -> Array:
            body = lambda i, x: correct(i, x, to, key_corrector)  # noqa: E731
            return jax.lax.fori_loop(0, corrections, body, x)

        return jax.lax.cond(to.sigma > 0, corrected, lambda x: x, x), memory

    return sample_loop(step, schedule, x, timesteps, key, trajectory=trajectory)
