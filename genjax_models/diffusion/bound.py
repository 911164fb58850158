r"""The parts of the variational lower bound, log p(x) >= -(prior + reconstruction + diffusion).

`prior = KL(q(z_1 | x) || p(z_1))`, `reconstruction = E[-log p(x | z_0)]`, and
`diffusion = sum_t E[KL(q(z_s | z_t, x) || p(z_s | z_t))]`; all in nats, `[B]`. z_0 still has a
little noise: a discrete x is read from it exactly by Bayes' rule, so no network is needed there.

Kingma et al. 2021, Variational diffusion models, arXiv:2107.00630, sec. 3 and app. E; Ho et al.
2020, arXiv:2006.11239, eq. 5.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from genjax_models.core.distributions import Normal, as_levels, sum_entries
from genjax_models.core.preprocess import to_unit_range
from genjax_models.core.types import Array, DataSpec
from genjax_models.diffusion.samplers import Level
from genjax_models.diffusion.schedules import Schedule


def first_time(schedule: Schedule, max_log_snr: float | None, steps: int | None) -> Array:
    """The time t_0 of z_0: 1 / T in T steps; else where the log-SNR is that high, or 0."""
    if steps is not None:
        return jnp.asarray(1.0 / steps)
    if max_log_snr is None:
        return jnp.zeros(())
    return schedule.time(jnp.minimum(schedule.log_snr(jnp.zeros(())), max_log_snr))


def times_of(u: Array, start: Array, steps: int | None) -> tuple[Array, Array]:
    """The times t of u in (0, 1] and the times s of the step before `[B]`.

    In continuous time t = t_0 + (1 - t_0) u, and s = t. In T steps t is the next multiple of 1 / T
    and s the one before it. From t = 1 / T there is no step, as z_0 lies there: any s below does.

    Args:
        u: Uniform in (0, 1] `[B]`.
        start: t_0.
        steps: T; None for continuous time.
    """
    if steps is None:
        t = start + (1.0 - start) * u
        return t, t
    t = jnp.ceil(u * steps) / steps
    return t, jnp.where(t < 1.5 / steps, 0.5 / steps, t - 1.0 / steps)


def snr_rate(schedule: Schedule, t: Array, s: Array, start: Array, steps: int | None) -> Array:
    """How fast the SNR falls `[B]`: -dSNR/du, or T (SNR(s) - SNR(t)) in T steps.

    Args:
        schedule: The schedule.
        t: Times `[B]`.
        s: The times of the steps before `[B]`.
        start: t_0; no step leads below it.
        steps: T; None for continuous time.
    """

    def snr(t: Array) -> Array:
        alpha, sigma = schedule(t)
        return (alpha / sigma) ** 2

    if steps is not None:  # from t = 1 / T, s is below t_0 (`times_of`)
        return jnp.where(s < 0.75 * start, 0.0, steps * (snr(s) - snr(t)))
    return -jax.jvp(snr, (t,), (jnp.full_like(t, 1.0) - start,))[1]


def log_snr_rate(schedule: Schedule, t: Array, start: Array) -> tuple[Array, Array]:
    """The log-SNR at times `[B]`, and how fast it falls in u `[B]`."""
    log_snr, slope = jax.jvp(schedule.log_snr, (t,), (jnp.ones_like(t) - start,))
    return log_snr, -slope


def prior(schedule: Schedule, x_0: Array) -> Array:
    """KL(q(z_1 | x_0) || N(0, sigma_1^2)) `[B]`: alpha_1^2 |x_0|^2 / (2 sigma_1^2)."""
    alpha, sigma = schedule(jnp.ones(()))
    return 0.5 * (alpha / sigma) ** 2 * sum_entries(x_0**2)


def reconstruction(
    schedule: Schedule, start: Array, x: Array, noise: Array, spec: DataSpec
) -> Array:
    """-log p(x | z_0) `[B]`, with z_0 = alpha_0 x_0 + sigma_0 noise.

    Of discrete data, `p(x_i | z_0)` is the softmax over levels v of
    `-(z_0 - alpha_0 v)^2 / (2 sigma_0^2)`; of real-valued data, the density
    N(x; z_0 / alpha_0, (sigma_0 / alpha_0)^2).

    Args:
        schedule: The schedule.
        start: t_0.
        x: The data `[B, ...]`.
        noise: Standard normal `[B, ...]`.
        spec: What the data are.
    """
    alpha, sigma = schedule(start)
    ratio = sigma / alpha
    z = to_unit_range(x, spec) + ratio * noise
    if spec.num_levels is None:
        return -Normal(z, jnp.full_like(z, jnp.log(ratio))).log_prob(x)
    values = to_unit_range(jnp.arange(spec.num_levels), spec)
    log_p = jax.nn.log_softmax(-0.5 * ((z[..., None] - values) / ratio) ** 2)
    level, outside = as_levels(x, spec.num_levels)
    one = jnp.take_along_axis(log_p, level[..., None], axis=-1)[..., 0]
    return -sum_entries(one + outside)


def step_kl(x_0: Array, denoised: Array, v: Array, at: Level, to: Level) -> Array:
    """KL(q(z_s | z_t, x_0) || p(z_s | z_t)) `[B]` with a learned variance.

    `log variance = v log sigma_{t|s}^2 + (1 - v) log (sigma_{t|s}^2 sigma_s^2 / sigma_t^2)`.

    Args:
        x_0: The data `[B, ...]`.
        denoised: What the model makes of z_t `[B, ...]`.
        v: The interpolation, in [0, 1] where it stays between the two `[B, ...]`.
        at: The level of t `[B, 1, ...]`.
        to: The level of s, the time before.

    References:
        Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15.
    """
    kept = _kept(at, to)
    mean = to.alpha * (1.0 - kept) * (x_0 - denoised)
    log_q = jnp.log1p(-kept) + 2.0 * jnp.log(to.sigma)
    log_p = log_variance(v, at, to)
    kl = 0.5 * (log_p - log_q - 1.0 + jnp.exp(log_q - log_p) + mean**2 * jnp.exp(-log_p))
    return sum_entries(kl)


def log_variance(v: Array, at: Level, to: Level) -> Array:
    """The logarithm of a learned variance `[B, ...]`, between those of the two fixed ones."""
    small = jnp.log1p(-_kept(at, to)) + 2.0 * jnp.log(to.sigma)
    return small + 2.0 * v * (jnp.log(at.sigma) - jnp.log(to.sigma))


def _kept(at: Level, to: Level) -> Array:
    """1 - sigma_{t|s}^2 / sigma_t^2; below 1, as it is but for rounding in tiny steps."""
    kept = (at.alpha / to.alpha * to.sigma / at.sigma) ** 2
    return jnp.minimum(kept, 1.0 - jnp.finfo(kept.dtype).epsneg)
