"""What a diffusion's network predicts, and how E[x_0 | x_t] is read from it.

Whatever is predicted, the rest of the family sees the denoiser alone. All are linear in x_0 and
eps, and with exact networks they are the same denoiser.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from genjax_models.core.types import Array
from genjax_models.diffusion.schedules import Schedule
from genjax_models.networks.noise_embedding import LOWEST


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One parameterisation; every function broadcasts alpha and sigma against `[B, ...]`.

    Attributes:
        name: For messages.
        target: `(x_0, eps, alpha, sigma) -> ` what the network is to predict.
        denoised: `(prediction, x_t, alpha, sigma) -> E[x_0 | x_t]`.
        scale: `(alpha, sigma) -> ` the factor of x_t at the network's input.
        needs_signal: Whether E[x_0 | x_t] can be read only where x_t has some of x_0 in it.
    """

    name: str
    target: Callable[[Array, Array, Array, Array], Array]
    denoised: Callable[[Array, Array, Array, Array], Array]
    scale: Callable[[Array, Array], Array] = lambda alpha, sigma: jnp.ones_like(alpha)
    needs_signal: bool = False


def check_signal(prediction: Prediction, schedule: Schedule, t: Array | float) -> None:
    """Raise if the denoised data could not be read from the prediction at a time.

    Args:
        prediction: What is predicted.
        schedule: The schedule.
        t: The times that will be asked for, of any shape; abstract ones are not checked.

    Raises:
        ValueError: They could not.
    """
    if not prediction.needs_signal or isinstance(t, Tracer):
        return
    with jax.ensure_compile_time_eval():
        log_snr = schedule.log_snr(jnp.max(jnp.asarray(t, float)))
    if not isinstance(log_snr, Tracer) and float(log_snr) < LOWEST:
        raise ValueError(
            f"the model predicts {prediction.name}, which does not tell x_0 at t = "
            f"{np.max(np.asarray(t)):g}, where {type(schedule).__name__} leaves nothing of it (its "
            f"log-SNR is {float(log_snr):.4g}): build the model with "
            "prediction=predictions.velocity, or sample at times=grids.karras(schedule, 50)"
        )


noise = Prediction(
    "noise",
    lambda x_0, eps, alpha, sigma: eps,
    lambda prediction, x_t, alpha, sigma: (x_t - sigma * prediction) / alpha,
    needs_signal=True,
)
"""eps (Ho et al. 2020, arXiv:2006.11239, eq. 11). Where alpha is 0, it does not tell x_0."""

data = Prediction(
    "data",
    lambda x_0, eps, alpha, sigma: x_0,
    lambda prediction, x_t, alpha, sigma: prediction,
)
"""x_0 itself."""

velocity = Prediction(
    "velocity",
    lambda x_0, eps, alpha, sigma: alpha * eps - sigma * x_0,
    lambda prediction, x_t, alpha, sigma: (
        (alpha * x_t - sigma * prediction) / (alpha**2 + sigma**2)
    ),
)
"""v = alpha eps - sigma x_0 (Salimans & Ho 2022, arXiv:2202.00512, app. D)."""

flow = Prediction(
    "flow",
    lambda x_0, eps, alpha, sigma: eps - x_0,
    lambda prediction, x_t, alpha, sigma: (x_t - sigma * prediction) / (alpha + sigma),
)
"""u = eps - x_0, the velocity of the straight line (Lipman et al. 2023, arXiv:2210.02747)."""


def edm(sigma_data: float = 0.5) -> Prediction:
    """Karras et al.'s preconditioning: input and output of the network have unit variance.

    With s = sigma / alpha and y = x_t / alpha: `E[x_0 | x_t] = c_skip y + c_out F(c_in y)`, where
    c_skip = s_d^2 / (s^2 + s_d^2), c_out = s s_d / sqrt(s^2 + s_d^2), c_in = 1 / sqrt(s^2 + s_d^2).

    Args:
        sigma_data: s_d, the data's standard deviation.

    Raises:
        ValueError: That is not positive.

    References:
        Karras et al. 2022, arXiv:2206.00364, eq. 7 and table 1.
    """
    if not 0 < sigma_data < math.inf:
        raise ValueError(f"sigma_data is {sigma_data}: give the data's standard deviation, above 0")

    def coefficients(alpha: Array, sigma: Array) -> tuple[Array, Array]:
        # Times alpha above and below, so that they are finite where alpha is 0.
        variance = sigma**2 + (alpha * sigma_data) ** 2
        return alpha * sigma_data**2 / variance, sigma * sigma_data / jnp.sqrt(variance)

    def target(x_0: Array, eps: Array, alpha: Array, sigma: Array) -> Array:
        # (x_0 - c_skip y) / c_out, without the division by sigma.
        root = jnp.sqrt(sigma**2 + (alpha * sigma_data) ** 2)
        return (sigma * x_0 / sigma_data - alpha * sigma_data * eps) / root

    def denoised(prediction: Array, x_t: Array, alpha: Array, sigma: Array) -> Array:
        skip, out = coefficients(alpha, sigma)
        return skip * x_t + out * prediction

    def scale(alpha: Array, sigma: Array) -> Array:
        return 1.0 / jnp.sqrt(sigma**2 + (alpha * sigma_data) ** 2)

    return Prediction("edm", target, denoised, scale)
