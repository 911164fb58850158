r"""Terms of diffusion's losses, `DiffusionOutputs -> [B]`, and weightings of the noise levels.

The mean of a term over examples estimates its integral over the times, however the times were drawn
(`time_sampler`). `Weighted(MinSNR(5.0))` is the term of another weighting.

The variational lower bound is log p(x) >= -(prior + reconstruction + diffusion), all in nats:
`prior = KL(q(z_1 | x) || p(z_1))`, `reconstruction = E[-log p(x | z_0)]`, and
`diffusion = sum_t E[KL(q(z_s | z_t, x) || p(z_s | z_t))]`. z_0 still has a little noise: a discrete
x is read from it exactly by Bayes' rule, so no network is needed there (Kingma et al. 2021,
Variational diffusion models, arXiv:2107.00630, sec. 3 and app. E; Ho et al. 2020, arXiv:2006.11239,
eq. 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core.distributions import Normal, as_levels, sum_entries
from genjax_models.core.preprocess import to_unit_range
from genjax_models.core.types import Array, DataSpec
from genjax_models.core.values import value
from genjax_models.diffusion.schedules import NoiseScale, Schedule

Weighting: TypeAlias = Callable[[Array], Array]
"""log-SNR `[B]` -> the weight `[B]` of the squared error of the denoised data."""


@struct.dataclass
class BoundParts:
    """Quantities of the variational bound, beside the denoised data (`bound_parts`).

    Attributes:
        prior: KL(q(z_1 | x) || p(z_1)) `[B]`, in nats.
        reconstruction: -log p(x | z_0) `[B]`, in nats.
        snr_rate: Rate at which the SNR falls: -dSNR/du, or in T steps T times its difference `[B]`.
        v: Place of a learned variance between the fixed ones `[B, ...]`; None if it is not learned.
        at: Noise scale at t, which broadcasts against the data.
        to: Noise scale at the time s of the step before; the same as `at` in continuous time.
        steps: T; None in continuous time.
    """

    prior: Array
    reconstruction: Array
    snr_rate: Array
    v: Array | None
    at: NoiseScale
    to: NoiseScale
    steps: int | None = struct.field(pytree_node=False)


@struct.dataclass
class DiffusionOutputs:
    """Outputs of a forward pass; the first axis of every array is the examples.

    Attributes:
        x_0: Data, in [-1, 1] if they are discrete `[B, ...]`.
        x_t: alpha x_0 + sigma noise `[B, ...]`.
        t: Times `[B]`: t = t_0 + (1 - t_0) u with u in (0, 1], or the next of T steps.
        noise: Standard normal noise `[B, ...]`.
        prediction: The network's prediction `[B, ...]`.
        target: Target of the prediction `[B, ...]`.
        denoised: E[x_0 | x_t], given the prediction `[B, ...]`.
        weight: 1 over the density of u `[B]`.
        log_snr: log(alpha^2 / sigma^2) `[B]`.
        log_snr_rate: Rate at which the log-SNR falls in u `[B]`.
        bound: Quantities that the variational bound alone reads.
    """

    x_0: Array
    x_t: Array
    t: Array
    noise: Array
    prediction: Array
    target: Array
    denoised: Array
    weight: Array
    log_snr: Array
    log_snr_rate: Array
    bound: BoundParts


def mean_entries(a: Array) -> Array:
    """The mean over all axes but the first: `[B, ...] -> [B]`."""
    return jnp.mean(a.reshape(a.shape[0], -1), axis=-1)


def simple(out: DiffusionOutputs) -> Array:
    """The squared error of the prediction, the mean over entries `[B]`.

    With a `NoisePrediction` it is Ho et al. 2020, arXiv:2006.11239, eq. 14; with a
    `FlowPrediction`, the loss of flow matching (Lipman et al. 2023, arXiv:2210.02747, eq. 23).
    """
    return out.weight * mean_entries((out.prediction - out.target) ** 2)


@value
class Weighted:
    """The term `w(log SNR) |x_0 - denoised|^2`, the mean over entries, with times uniform in t.

    Attributes:
        weighting: w.
    """

    weighting: Weighting

    def __call__(self, out: DiffusionOutputs) -> Array:
        """The term `[B]`."""
        error = mean_entries((out.x_0 - out.denoised) ** 2)
        return out.weight * self.weighting(out.log_snr) * error


@value
class WeightedByLogSNR:
    """The term of `Weighted` with times uniform in the log-SNR, so that no schedule enters.

    `integral w(l) |x_0 - denoised|^2 dl` (Kingma & Gao 2023, arXiv:2303.00848, eq. 6).

    Attributes:
        weighting: w.
    """

    weighting: Weighting

    def __call__(self, out: DiffusionOutputs) -> Array:
        """The term `[B]`."""
        return out.log_snr_rate * Weighted(self.weighting)(out)


def snr(log_snr: Array) -> Array:
    """The SNR, which makes the term the squared error of the predicted noise."""
    return jnp.exp(log_snr)


def truncated_snr(log_snr: Array) -> Array:
    """max(SNR, 1) (Salimans & Ho 2022, arXiv:2202.00512, sec. 4)."""
    return jnp.maximum(jnp.exp(log_snr), 1.0)


@value
class MinSNR:
    """The weighting min(SNR, gamma) (Hang et al. 2023, arXiv:2303.09556, sec. 3.4).

    Attributes:
        gamma: The largest weight.
    """

    gamma: float = 5.0

    def __call__(self, log_snr: Array) -> Array:
        """The weights."""
        return jnp.minimum(jnp.exp(log_snr), self.gamma)


@value
class SigmoidWeighting:
    """The weighting SNR sigmoid(bias - log SNR).

    Attributes:
        bias: The log-SNR around which the weight of the noise's error falls to 0.

    References:
        Kingma & Gao 2023, arXiv:2303.00848, app. D; Hoogeboom et al. 2024, arXiv:2410.19324,
        sec. 3.1.
    """

    bias: float = -1.0

    def __call__(self, log_snr: Array) -> Array:
        """The weights."""
        return jnp.exp(log_snr) * jax.nn.sigmoid(self.bias - log_snr)


@value
class EDMWeighting:
    """EDM's loss weight times its density of noise levels, for `WeightedByLogSNR`.

    With s = exp(-log SNR / 2): (s^2 + s_d^2) / (s s_d)^2, and log s ~ N(mean, std^2).

    Attributes:
        sigma_data: s_d, the standard deviation of the data.
        mean: Mean of log s.
        std: Standard deviation of log s.

    References:
        Karras et al. 2022, arXiv:2206.00364, table 1.
    """

    sigma_data: float = 0.5
    mean: float = -1.2
    std: float = 1.2

    def __call__(self, log_snr: Array) -> Array:
        """The weights."""
        density = jax.scipy.stats.norm.pdf(-0.5 * log_snr, self.mean, self.std) * 0.5
        return density * (jnp.exp(log_snr) + 1.0 / self.sigma_data**2)


def vlb(out: DiffusionOutputs) -> Array:
    """An unbiased estimate of the bound of -log p(x) `[B]`, in nats."""
    return out.bound.prior + out.bound.reconstruction + diffusion(out)


def diffusion(out: DiffusionOutputs) -> Array:
    """The part of the bound that the network decides `[B]`, in nats.

    `0.5 integral -SNR'(t) |x_0 - denoised|^2 dt`, or the sum over T steps; with a learned
    variance, the KL divergences of these steps.

    References:
        Kingma et al. 2021, arXiv:2107.00630, eq. 13 and 15.
    """
    return out.weight * _divergence(out, out.denoised)


def variance(out: DiffusionOutputs) -> Array:
    """The same in bits per dimension, from which only the learned variance learns.

    L_hybrid = simple + 0.001 variance (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 16), whose
    bound is in bits per dimension, so that its share does not grow with the size of the data.
    """
    nats = _divergence(out, jax.lax.stop_gradient(out.denoised))
    return out.weight * nats / (math.prod(out.x_0.shape[1:]) * math.log(2.0))


def _divergence(out: DiffusionOutputs, denoised: Array) -> Array:
    """Contribution of one time to the bound, per unit of u `[B]`."""
    parts = out.bound
    if parts.v is None or parts.steps is None:
        # Where there is nothing of x_0 in x_t, nothing is said of it, and denoised may be nan.
        told = parts.snr_rate.reshape(-1, *(1,) * (denoised.ndim - 1)) > 0
        error = jnp.where(told, out.x_0 - jnp.where(told, denoised, 0.0), 0.0)
        return 0.5 * parts.snr_rate * sum_entries(error**2)
    kl = step_kl(out.x_0, denoised, parts.v, parts.at, parts.to)
    return jnp.where(parts.snr_rate > 0, parts.steps * kl, 0.0)  # from z_0 there is no step


def first_time(schedule: Schedule, max_log_snr: float | None, steps: int | None) -> Array:
    """The time t_0 of z_0: 1 / T in T steps; else where the log-SNR is `max_log_snr`, or 0."""
    if steps is not None:
        return jnp.asarray(1.0 / steps)
    if max_log_snr is None:
        return jnp.zeros(())
    return schedule.time(jnp.minimum(schedule.log_snr(jnp.zeros(())), max_log_snr))


def step_times(u: Array, t_0: Array, steps: int | None) -> tuple[Array, Array]:
    """The times t of u in (0, 1] and the times s of the step before `[B]`.

    In continuous time t = t_0 + (1 - t_0) u, and s = t. In T steps t is the next multiple of 1 / T
    and s the one before it. From t = 1 / T there is no step, as z_0 lies there: any s below does.

    Args:
        u: Uniform in (0, 1] `[B]`.
        t_0: The time of z_0.
        steps: T; None for continuous time.
    """
    if steps is None:
        t = t_0 + (1.0 - t_0) * u
        return t, t
    t = jnp.ceil(u * steps) / steps
    return t, jnp.where(t < 1.5 / steps, 0.5 / steps, t - 1.0 / steps)


def log_snr_rate(schedule: Schedule, t: Array, t_0: Array) -> tuple[Array, Array]:
    """The log-SNR at times `[B]`, and how fast it falls in u `[B]`."""
    log_snr, slope = jax.jvp(schedule.log_snr, (t,), (jnp.ones_like(t) - t_0,))
    return log_snr, -slope


def bound_parts(
    schedule: Schedule,
    spec: DataSpec,
    x: Array,
    z_noise: Array,
    at: NoiseScale,
    to: NoiseScale,
    t_0: Array,
    steps: int | None,
    v: Array | None,
) -> BoundParts:
    """Computes what the bound of -log p(x) needs beside the denoised data, at `step_times`.

    Args:
        schedule: The schedule.
        spec: Description of the data.
        x: Data `[B, ...]`.
        z_noise: Standard normal noise of z_0 `[B, ...]`.
        at: Noise scale at the times t.
        to: Noise scale at the times s of the steps before.
        t_0: The time of z_0.
        steps: T; None for continuous time.
        v: Place of a learned variance between the fixed ones; None if it is not learned.
    """
    return BoundParts(
        prior=_prior(schedule, to_unit_range(x, spec)),
        reconstruction=_reconstruction(schedule, t_0, x, z_noise, spec),
        snr_rate=_snr_rate(schedule, at.t.reshape(-1), to.t.reshape(-1), t_0, steps),
        v=v,
        at=at,
        to=to,
        steps=steps,
    )


def _snr_rate(schedule: Schedule, t: Array, s: Array, t_0: Array, steps: int | None) -> Array:
    """Rate at which the SNR falls `[B]`: -dSNR/du, or T (SNR(s) - SNR(t)) in T steps."""

    def snr(t: Array) -> Array:
        alpha, sigma = schedule(t)
        return (alpha / sigma) ** 2

    if steps is not None:  # from t = 1 / T, s is below t_0 (`step_times`)
        return jnp.where(s < 0.75 * t_0, 0.0, steps * (snr(s) - snr(t)))
    return -jax.jvp(snr, (t,), (jnp.full_like(t, 1.0) - t_0,))[1]


def _prior(schedule: Schedule, x_0: Array) -> Array:
    """KL(q(z_1 | x_0) || N(0, sigma_1^2)) `[B]`: alpha_1^2 |x_0|^2 / (2 sigma_1^2)."""
    alpha, sigma = schedule(jnp.ones(()))
    return 0.5 * (alpha / sigma) ** 2 * sum_entries(x_0**2)


def _reconstruction(
    schedule: Schedule, t_0: Array, x: Array, noise: Array, spec: DataSpec
) -> Array:
    """-log p(x | z_0) `[B]`, with z_0 = alpha_0 x_0 + sigma_0 noise.

    Of discrete data, `p(x_i | z_0)` is the softmax over levels v of
    `-(z_0 - alpha_0 v)^2 / (2 sigma_0^2)`; of real-valued data, the density
    N(x; z_0 / alpha_0, (sigma_0 / alpha_0)^2).
    """
    alpha, sigma = schedule(t_0)
    ratio = sigma / alpha
    z = to_unit_range(x, spec) + ratio * noise
    if spec.num_levels is None:
        return -Normal(z, jnp.full_like(z, jnp.log(ratio))).log_prob(x)
    values = to_unit_range(jnp.arange(spec.num_levels), spec)
    log_p = jax.nn.log_softmax(-0.5 * ((z[..., None] - values) / ratio) ** 2)
    level, outside = as_levels(x, spec.num_levels)
    one = jnp.take_along_axis(log_p, level[..., None], axis=-1)[..., 0]
    return -sum_entries(one + outside)


def step_kl(x_0: Array, denoised: Array, v: Array, at: NoiseScale, to: NoiseScale) -> Array:
    """KL(q(z_s | z_t, x_0) || p(z_s | z_t)) `[B]` with a learned variance.

    `log variance = v log sigma_{t|s}^2 + (1 - v) log (sigma_{t|s}^2 sigma_s^2 / sigma_t^2)`.

    Args:
        x_0: Data `[B, ...]`.
        denoised: The model's x_0 given z_t `[B, ...]`.
        v: The interpolation `[B, ...]`, in [0, 1] where the variance is between the two.
        at: Noise scale at t `[B, 1, ...]`.
        to: Noise scale at s, the time before.

    References:
        Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15.
    """
    kept = _kept(at, to)
    mean = to.alpha * (1.0 - kept) * (x_0 - denoised)
    log_q = jnp.log1p(-kept) + 2.0 * jnp.log(to.sigma)
    log_p = log_variance(v, at, to)
    kl = 0.5 * (log_p - log_q - 1.0 + jnp.exp(log_q - log_p) + mean**2 * jnp.exp(-log_p))
    return sum_entries(kl)


def log_variance(v: Array, at: NoiseScale, to: NoiseScale) -> Array:
    """The logarithm of a learned variance `[B, ...]`, between those of the two fixed ones."""
    small = jnp.log1p(-_kept(at, to)) + 2.0 * jnp.log(to.sigma)
    return small + 2.0 * v * (jnp.log(at.sigma) - jnp.log(to.sigma))


def _kept(at: NoiseScale, to: NoiseScale) -> Array:
    """1 - sigma_{t|s}^2 / sigma_t^2; below 1, but for rounding in tiny steps."""
    kept = (at.alpha / to.alpha * to.sigma / at.sigma) ** 2
    return jnp.minimum(kept, 1.0 - jnp.finfo(kept.dtype).epsneg)
