"""Terms of diffusion's losses: `Outputs -> [B]`; and weightings of the noise levels.

A term's mean over examples is an estimate of its integral over the times, whatever the times were
drawn from (`times.Times`). `weighted(min_snr(5.0))` is the term of another weighting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array
from genjax_models.diffusion import bound
from genjax_models.diffusion.outputs import DiffusionOutputs

Weighting: TypeAlias = Callable[[Array], Array]
"""log-SNR `[B]` -> the weight `[B]` of the squared error of the denoised data."""


def mean_entries(a: Array) -> Array:
    """The mean over all axes but the first: `[B, ...] -> [B]`."""
    return jnp.mean(a.reshape(a.shape[0], -1), axis=-1)


def simple(out: DiffusionOutputs) -> Array:
    """The squared error of what the network predicts, the mean over entries `[B]`.

    With `predictions.noise` it is Ho et al. 2020, arXiv:2006.11239, eq. 14; with
    `predictions.flow`, flow matching's (Lipman et al. 2023, arXiv:2210.02747, eq. 23).
    """
    return out.weight * mean_entries((out.prediction - out.target) ** 2)


def weighted(weighting: Weighting) -> Callable[[DiffusionOutputs], Array]:
    """`w(log SNR) |x_0 - denoised|^2`, the mean over entries, with times uniform in t."""

    def term(out: DiffusionOutputs) -> Array:
        return out.weight * weighting(out.log_snr) * mean_entries((out.x_0 - out.denoised) ** 2)

    return term


def weighted_by_log_snr(weighting: Weighting) -> Callable[[DiffusionOutputs], Array]:
    """The same with noise levels uniform in the log-SNR, so that no schedule enters.

    `integral w(l) |x_0 - denoised|^2 dl` (Kingma & Gao 2023, arXiv:2303.00848, eq. 6).
    """
    uniform = weighted(weighting)
    return lambda out: out.log_snr_rate * uniform(out)


def snr(log_snr: Array) -> Array:
    """The SNR: the squared error of the predicted noise."""
    return jnp.exp(log_snr)


def min_snr(gamma: float = 5.0) -> Weighting:
    """min(SNR, gamma) (Hang et al. 2023, arXiv:2303.09556, sec. 3.4)."""
    return lambda log_snr: jnp.minimum(jnp.exp(log_snr), gamma)


def truncated_snr(log_snr: Array) -> Array:
    """max(SNR, 1) (Salimans & Ho 2022, arXiv:2202.00512, sec. 4)."""
    return jnp.maximum(jnp.exp(log_snr), 1.0)


def sigmoid(bias: float = -1.0) -> Weighting:
    """The SNR times a sigmoid of bias - log SNR.

    Kingma & Gao 2023, arXiv:2303.00848, app. D; Hoogeboom et al. 2024, arXiv:2410.19324, sec. 3.1.
    """
    return lambda log_snr: jnp.exp(log_snr) * jax.nn.sigmoid(bias - log_snr)


def edm(sigma_data: float = 0.5, mean: float = -1.2, std: float = 1.2) -> Weighting:
    """EDM's loss weight times its density of noise levels, for `weighted_by_log_snr`.

    With s = exp(-log SNR / 2): (s^2 + s_d^2) / (s s_d)^2, and log s ~ N(mean, std^2).

    Karras et al. 2022, arXiv:2206.00364, table 1.
    """

    def weighting(log_snr: Array) -> Array:
        density = jax.scipy.stats.norm.pdf(-0.5 * log_snr, mean, std) * 0.5
        return density * (jnp.exp(log_snr) + 1.0 / sigma_data**2)

    return weighting


def vlb(out: DiffusionOutputs) -> Array:
    """An estimate of a bound of -log p(x), in nats `[B]` (`bound` has its parts)."""
    return out.prior + out.reconstruction + diffusion(out)


def diffusion(out: DiffusionOutputs) -> Array:
    """The bound's part that the network is asked for, in nats `[B]`.

    `0.5 integral -SNR'(t) |x_0 - denoised|^2 dt`, or the sum over T steps; with a learned
    variance, the KL divergences of these steps.

    Kingma et al. 2021, arXiv:2107.00630, eq. 13 and 15.
    """
    return out.weight * _divergence(out, out.denoised)


def variance(out: DiffusionOutputs) -> Array:
    """The same in bits per dimension, from which only the learned variance learns.

    L_hybrid = simple + 0.001 variance (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 16), whose
    bound is in bits per dimension, so that its share does not grow with the data's size. At first,
    in 0.1.0, this term was in nats an example, D ln 2 times as much for D entries: give it the
    weight 0.001 D ln 2 to train as before.
    """
    nats = _divergence(out, jax.lax.stop_gradient(out.denoised))
    return out.weight * nats / (math.prod(out.x_0.shape[1:]) * math.log(2.0))


def _divergence(out: DiffusionOutputs, denoised: Array) -> Array:
    """What one time adds to the bound, per unit of u `[B]`."""
    if out.v is None or out.steps is None:
        # Where there is nothing of x_0 in x_t, nothing is said of it, and denoised may be nan.
        told = out.snr_rate.reshape(-1, *(1,) * (denoised.ndim - 1)) > 0
        error = jnp.where(told, out.x_0 - jnp.where(told, denoised, 0.0), 0.0)
        return 0.5 * out.snr_rate * sum_entries(error**2)
    kl = bound.step_kl(out.x_0, denoised, out.v, out.at, out.to)
    return jnp.where(out.snr_rate > 0, out.steps * kl, 0.0)  # from z_0 there is no step
