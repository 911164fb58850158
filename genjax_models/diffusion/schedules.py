"""The diffusion process x_t = alpha(t) x_0 + sigma(t) eps, for t from 0 (data) to 1 (noise).

- `Schedule`: alpha and sigma at each time, and the log-SNR, log(alpha^2 / sigma^2), which falls in
  t and by which every schedule can be brought to every other (Kingma et al. 2021,
  arXiv:2107.00630). A diffusion in T discrete steps is a schedule looked at at t = i / T.
- `NoiseScale`: a time with its alpha and sigma.
- `Prediction`: what a network predicts of x_t, and how E[x_0 | x_t] follows from it. All
  predictions are linear in x_0 and eps; with exact networks they are the same denoiser.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from genjax_models.core.types import Array, Key
from genjax_models.core.values import value
from genjax_models.networks.noise_embedding import LOWEST


class Schedule(Protocol):
    """Pure functions of the time; all take and give arrays of any one shape."""

    def __call__(self, t: Array) -> tuple[Array, Array]:
        """`(alpha, sigma)` at times in [0, 1]."""
        ...

    def log_snr(self, t: Array) -> Array:
        """log(alpha^2 / sigma^2); infinite where sigma is 0."""
        ...

    def time(self, log_snr: Array) -> Array:
        """The inverse of `log_snr`: the times at which it has these values."""
        ...


@runtime_checkable
class TrainableSchedule(Protocol):
    """A schedule with parameters, which a model trains as `params["schedule"]`."""

    def init(self, key: Key) -> Any:
        """Fresh parameters."""
        ...

    def bind(self, params: Any) -> Schedule:
        """The schedule of these parameters."""
        ...


class NoiseScale(NamedTuple):
    """A time, and how much of the data and of the noise there is.

    Attributes:
        t: The time, in [0, 1].
        alpha: The factor of the data.
        sigma: The factor of the noise.
    """

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


def noise_scale(schedule: Schedule, t: Array, ndim: int) -> NoiseScale:
    """The noise scale at times `[B]`, in arrays `[B, 1, ...]` of `ndim` axes."""
    return NoiseScale(*(a.reshape(-1, *(1,) * (ndim - 1)) for a in (t, *schedule(t))))


def of_log_snr(log_snr: Array) -> tuple[Array, Array]:
    """`(alpha, sigma)` of the variance-preserving process, alpha^2 + sigma^2 = 1."""
    return jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))


def _log_alpha(log_snr: Array) -> Array:
    """Logarithm of alpha of the variance-preserving process."""
    return 0.5 * jax.nn.log_sigmoid(log_snr)


def _log_snr(log_alpha: Array) -> Array:
    """The log-SNR of the variance-preserving process with this log alpha."""
    return 2.0 * log_alpha - jnp.log(-jnp.expm1(2.0 * log_alpha))


def _check_sigmas(sigma_min: float, sigma_max: float, allowed: bool) -> None:
    if not (allowed and sigma_min < sigma_max < math.inf):
        raise ValueError(
            f"the noise levels sigma_min={sigma_min} and sigma_max={sigma_max} do not rise from "
            "above 0: give sigma_min=0.01 and sigma_max=50, for example"
        )


@value
class LinearBeta:
    """DDPM's: noise is added at a rate that rises linearly, beta(t) = b_0 + t (b_1 - b_0).

    `alpha(t) = exp(-integral_0^t beta(s) ds / 2)`, and alpha^2 + sigma^2 = 1. With T steps the
    paper's beta_i is about beta(i / T) / T: its 1e-4 and 0.02 of T = 1000 are b_0 = 0.1, b_1 = 20.

    Attributes:
        beta_min: b_0.
        beta_max: b_1.

    References:
        Ho et al. 2020, arXiv:2006.11239; Song et al. 2021, arXiv:2011.13456, eq. 32-33.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        """Refuses rates that take noise away, or that add none."""
        if not (self.beta_min >= 0 and self.beta_max >= 0 and self.beta_min + self.beta_max > 0):
            raise ValueError(
                f"the rates beta_min={self.beta_min} and beta_max={self.beta_max} must not be "
                "negative, nor both 0: give beta_min=0.1 and beta_max=20, for example"
            )

    def _log_alpha(self, t: Array) -> Array:
        return -0.5 * t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def __call__(self, t: Array) -> tuple[Array, Array]:
        """`(alpha, sigma)`."""
        log_alpha = self._log_alpha(t)
        return jnp.exp(log_alpha), jnp.sqrt(-jnp.expm1(2.0 * log_alpha))

    def log_snr(self, t: Array) -> Array:
        """log(alpha^2 / sigma^2)."""
        return _log_snr(self._log_alpha(t))

    def time(self, log_snr: Array) -> Array:
        """The time of a log-SNR: the positive root of a quadratic."""
        slope, c = self.beta_max - self.beta_min, -2.0 * _log_alpha(log_snr)
        c = jnp.clip(c, 1e-30, 1e30)  # so that no end is 0 / 0: both are far outside (0, 1)
        # The root in the form that loses no digits where c is small.
        root = jnp.sqrt(jnp.maximum(self.beta_min**2 + 2.0 * slope * c, 0.0))
        return 2.0 * c / (self.beta_min + root)


@value
class Cosine:
    """The cosine schedule, `alpha(t) = cos(pi/2 (t + s)/(1 + s)) / cos(pi/2 s/(1 + s))`.

    The log-SNR is held above `min_log_snr`, as the paper holds beta below 1, so that alpha(1) > 0.

    Attributes:
        s: A small offset, so that the first steps are not too small.
        min_log_snr: The lowest log-SNR, -80 .. 20; that of the paper's last step but one.

    References:
        Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17.
    """

    s: float = 0.008
    min_log_snr: float = -13.0

    def __post_init__(self) -> None:
        """Refuses an offset that would not start at alpha = 1, and an end that float32 lacks."""
        if not 0 <= self.s < math.inf:
            raise ValueError(f"the cosine schedule's offset s is {self.s}: give 0 or more")
        if not -80 <= self.min_log_snr <= 20:
            raise ValueError(
                f"the cosine schedule's min_log_snr is {self.min_log_snr}: give a log-SNR of "
                "-80 .. 20, which float32 can hold"
            )

    @property
    def _start(self) -> float:
        """The angle at t = 0."""
        return 0.5 * math.pi * self.s / (1.0 + self.s)

    @property
    def _rest(self) -> float:
        """What the angle at t = 1 lacks of pi/2; its alpha is the one of the lowest log-SNR."""
        alpha = math.sqrt(1.0 / (1.0 + math.exp(-self.min_log_snr)))
        return math.asin(alpha * math.cos(self._start))

    @property
    def _end(self) -> float:
        """The angle at t = 1."""
        return 0.5 * math.pi - self._rest

    def _angle(self, t: Array) -> Array:
        return self._start + t * (self._end - self._start)

    def __call__(self, t: Array) -> tuple[Array, Array]:
        """`(alpha, sigma)`."""
        # Near the end by the sine of what is left of pi/2, which loses no digits there.
        left = self._rest + (1.0 - t) * (self._end - self._start)
        cosine = jnp.where(t > 0.5, jnp.sin(left), jnp.cos(self._angle(t)))
        return cosine / math.cos(self._start), jnp.sqrt(self._variance(t))

    def _variance(self, t: Array) -> Array:
        """1 - alpha^2, as a difference of sines, which loses no digits near t = 0."""
        angle, start = self._angle(t), self._start
        difference = jnp.sin(angle - start) * jnp.sin(angle + start)  # sin^2 angle - sin^2 start
        return difference / math.cos(start) ** 2

    def log_snr(self, t: Array) -> Array:
        """log(alpha^2 / sigma^2)."""
        alpha, _ = self(t)
        return 2.0 * jnp.log(alpha) - jnp.log(self._variance(t))

    def time(self, log_snr: Array) -> Array:
        """The time of a log-SNR."""
        # sin^2(angle) = sigma^2 cos^2(start) + sin^2(start), accurate at both ends by atan2.
        alpha, sigma = of_log_snr(log_snr)
        cosine = alpha * math.cos(self._start)
        sine = jnp.sqrt((sigma * math.cos(self._start)) ** 2 + math.sin(self._start) ** 2)
        return (jnp.arctan2(sine, cosine) - self._start) / (self._end - self._start)


@value
class VarianceExploding:
    """alpha = 1, `sigma(t) = sigma_min (sigma_max / sigma_min)^t`.

    Attributes:
        sigma_min: The lowest noise level; samplers take their last step from there to none.
        sigma_max: The highest.

    References:
        Song et al. 2021, arXiv:2011.13456, eq. 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        """Refuses noise levels that do not rise."""
        _check_sigmas(self.sigma_min, self.sigma_max, self.sigma_min > 0)

    def __call__(self, t: Array) -> tuple[Array, Array]:
        """`(alpha, sigma)`."""
        return jnp.ones_like(t), self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def log_snr(self, t: Array) -> Array:
        """log(alpha^2 / sigma^2)."""
        return -2.0 * (math.log(self.sigma_min) + t * math.log(self.sigma_max / self.sigma_min))

    def time(self, log_snr: Array) -> Array:
        """The time of a log-SNR."""
        log_ratio = math.log(self.sigma_max / self.sigma_min)
        return (-0.5 * log_snr - math.log(self.sigma_min)) / log_ratio


@value
class EDM:
    """alpha = 1, and noise levels between which even times are Karras et al.'s sampling grid.

    `sigma(t) = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho`.

    Attributes:
        sigma_min: The lowest noise level; samplers take their last step from there to none.
        sigma_max: The highest.
        rho: The larger, the denser the grid at low noise.

    References:
        Karras et al. 2022, arXiv:2206.00364, eq. 5 and table 1.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        """Refuses noise levels that do not rise, and an exponent that has no root."""
        _check_sigmas(self.sigma_min, self.sigma_max, self.sigma_min >= 0)
        if not 0 < self.rho < math.inf:
            raise ValueError(f"rho is {self.rho}: give one above 0, such as 7")

    def __call__(self, t: Array) -> tuple[Array, Array]:
        """`(alpha, sigma)`."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return jnp.ones_like(t), (low + t * (high - low)) ** self.rho

    def log_snr(self, t: Array) -> Array:
        """log(alpha^2 / sigma^2)."""
        return -2.0 * jnp.log(self(t)[1])

    def time(self, log_snr: Array) -> Array:
        """The time of a log-SNR."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (jnp.exp(-0.5 * log_snr / self.rho) - low) / (high - low)


@value
class RectifiedFlow:
    """Straight lines from data to noise: alpha = 1 - t, sigma = t.

    References:
        Liu et al. 2023, arXiv:2209.03003; Lipman et al. 2023, arXiv:2210.02747.
    """

    def __call__(self, t: Array) -> tuple[Array, Array]:
        """`(alpha, sigma)`."""
        return 1.0 - t, t

    def log_snr(self, t: Array) -> Array:
        """log(alpha^2 / sigma^2)."""
        return 2.0 * (jnp.log1p(-t) - jnp.log(t))

    def time(self, log_snr: Array) -> Array:
        """The time of a log-SNR."""
        return jax.nn.sigmoid(-0.5 * log_snr)


@value
class LearnedSchedule:
    """VDM's: the log-SNR falls from one learned end to the other along a monotone network.

    `log SNR(t) = high - (high - low) (g(t) - g(0)) / (g(1) - g(0))` with
    `g(t) = t + sum_i softplus(a_i) sigmoid(softplus(b_i) t + c_i)`, alpha^2 + sigma^2 = 1. With
    continuous times the bound depends on the ends alone, and what the shape changes is how noisy
    its estimate is.

    Attributes:
        width: Number of sigmoids.
        low: The log-SNR at t = 1 to start from.
        high: That at t = 0.

    References:
        Kingma et al. 2021, arXiv:2107.00630, app. H.
    """

    width: int = 64
    low: float = -10.0
    high: float = 13.3

    def init(self, key: Key) -> dict[str, Array]:
        """Fresh parameters, of a schedule that is nearly linear in the log-SNR."""
        places = jax.random.uniform(key, (self.width,))
        slope = jnp.full(self.width, 5.0)
        return {
            "ends": jnp.array([self.low, self.high]),
            "weight": jnp.full(self.width, -5.0),
            "slope": slope,
            "offset": -places * jax.nn.softplus(slope),
        }

    def bind(self, params: Any) -> MonotoneSchedule:
        """The schedule of these parameters."""
        return MonotoneSchedule(**params)


@struct.dataclass
class MonotoneSchedule:
    """A `LearnedSchedule` with its parameters: a `Schedule`."""

    ends: Array
    weight: Array
    slope: Array
    offset: Array

    def _g(self, t: Array) -> Array:
        sigmoids = jax.nn.sigmoid(jax.nn.softplus(self.slope) * t[..., None] + self.offset)
        return t + jnp.sum(jax.nn.softplus(self.weight) * sigmoids, axis=-1)

    def __call__(self, t: Array) -> tuple[Array, Array]:
        """`(alpha, sigma)`."""
        return of_log_snr(self.log_snr(t))

    def log_snr(self, t: Array) -> Array:
        """log(alpha^2 / sigma^2)."""
        first, last = self._g(jnp.zeros(())), self._g(jnp.ones(()))
        low, high = self.ends
        return high - (high - low) * (self._g(t) - first) / (last - first)

    def time(self, log_snr: Array) -> Array:
        """The time of a log-SNR, by bisection; its ends for values beyond them."""

        def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            middle = 0.5 * (low + high)
            later = self.log_snr(middle) > log_snr
            return jnp.where(later, middle, low), jnp.where(later, high, middle)

        start = jnp.zeros_like(log_snr), jnp.ones_like(log_snr)
        low, high = jax.lax.fori_loop(0, 26, halve, start)
        return 0.5 * (low + high)


def bind(schedule: Schedule | TrainableSchedule, params: Any) -> Schedule:
    """The schedule to use: a trainable one with its parameters, any other as it is."""
    if isinstance(schedule, TrainableSchedule):
        return schedule.bind(params["schedule"])
    return schedule


class Prediction(Protocol):
    """The quantity that a network predicts; alpha and sigma broadcast against `[B, ...]`."""

    needs_signal: ClassVar[bool]
    """Whether x_0 follows from the prediction only where x_t has some of x_0 in it."""

    def target(self, x_0: Array, eps: Array, alpha: Array, sigma: Array) -> Array:
        """What the network is to predict `[B, ...]`."""
        ...

    def denoised(self, prediction: Array, x_t: Array, alpha: Array, sigma: Array) -> Array:
        """E[x_0 | x_t] `[B, ...]`, given the prediction."""
        ...

    def input_scale(self, alpha: Array, sigma: Array) -> Array:
        """The factor of x_t at the network's input."""
        ...


@value
class NoisePrediction:
    """eps (Ho et al. 2020, arXiv:2006.11239, eq. 11). Where alpha is 0 it does not tell x_0."""

    needs_signal: ClassVar[bool] = True

    def target(self, x_0: Array, eps: Array, alpha: Array, sigma: Array) -> Array:
        """The noise."""
        return eps

    def denoised(self, prediction: Array, x_t: Array, alpha: Array, sigma: Array) -> Array:
        """(x_t - sigma eps) / alpha."""
        return (x_t - sigma * prediction) / alpha

    def input_scale(self, alpha: Array, sigma: Array) -> Array:
        """1."""
        return jnp.ones_like(alpha)


@value
class DataPrediction:
    """x_0 itself."""

    needs_signal: ClassVar[bool] = False

    def target(self, x_0: Array, eps: Array, alpha: Array, sigma: Array) -> Array:
        """The data."""
        return x_0

    def denoised(self, prediction: Array, x_t: Array, alpha: Array, sigma: Array) -> Array:
        """The prediction."""
        return prediction

    def input_scale(self, alpha: Array, sigma: Array) -> Array:
        """1."""
        return jnp.ones_like(alpha)


@value
class VelocityPrediction:
    """v = alpha eps - sigma x_0 (Salimans & Ho 2022, arXiv:2202.00512, app. D)."""

    needs_signal: ClassVar[bool] = False

    def target(self, x_0: Array, eps: Array, alpha: Array, sigma: Array) -> Array:
        """The velocity v."""
        return alpha * eps - sigma * x_0

    def denoised(self, prediction: Array, x_t: Array, alpha: Array, sigma: Array) -> Array:
        """(alpha x_t - sigma v) / (alpha^2 + sigma^2)."""
        return (alpha * x_t - sigma * prediction) / (alpha**2 + sigma**2)

    def input_scale(self, alpha: Array, sigma: Array) -> Array:
        """1."""
        return jnp.ones_like(alpha)


@value
class FlowPrediction:
    """u = eps - x_0, the velocity of the straight line (Lipman et al. 2023, arXiv:2210.02747)."""

    needs_signal: ClassVar[bool] = False

    def target(self, x_0: Array, eps: Array, alpha: Array, sigma: Array) -> Array:
        """The velocity u."""
        return eps - x_0

    def denoised(self, prediction: Array, x_t: Array, alpha: Array, sigma: Array) -> Array:
        """(x_t - sigma u) / (alpha + sigma)."""
        return (x_t - sigma * prediction) / (alpha + sigma)

    def input_scale(self, alpha: Array, sigma: Array) -> Array:
        """1."""
        return jnp.ones_like(alpha)


@value
class EDMPrediction:
    """Karras et al.'s preconditioning: the network's input and output have unit variance.

    With s = sigma / alpha and y = x_t / alpha: `E[x_0 | x_t] = c_skip y + c_out F(c_in y)`, where
    c_skip = s_d^2 / (s^2 + s_d^2), c_out = s s_d / sqrt(s^2 + s_d^2), c_in = 1 / sqrt(s^2 + s_d^2).

    Attributes:
        sigma_data: s_d, the standard deviation of the data.

    References:
        Karras et al. 2022, arXiv:2206.00364, eq. 7 and table 1.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        """Refuses data without spread."""
        if not 0 < self.sigma_data < math.inf:
            raise ValueError(
                f"sigma_data is {self.sigma_data}: give the data's standard deviation, above 0"
            )

    needs_signal: ClassVar[bool] = False

    def target(self, x_0: Array, eps: Array, alpha: Array, sigma: Array) -> Array:
        """(x_0 - c_skip y) / c_out, without the division by sigma."""
        root = jnp.sqrt(self._variance(alpha, sigma))
        return (sigma * x_0 / self.sigma_data - alpha * self.sigma_data * eps) / root

    def denoised(self, prediction: Array, x_t: Array, alpha: Array, sigma: Array) -> Array:
        """c_skip y + c_out F, F the prediction."""
        # Times alpha above and below, so that they are finite where alpha is 0.
        variance = self._variance(alpha, sigma)
        skip = alpha * self.sigma_data**2 / variance
        return skip * x_t + sigma * self.sigma_data / jnp.sqrt(variance) * prediction

    def input_scale(self, alpha: Array, sigma: Array) -> Array:
        """c_in / alpha."""
        return 1.0 / jnp.sqrt(self._variance(alpha, sigma))

    def _variance(self, alpha: Array, sigma: Array) -> Array:
        """The variance of x_t."""
        return sigma**2 + (alpha * self.sigma_data) ** 2


def check_signal(
    prediction: Prediction, schedule: Schedule | TrainableSchedule, t: Array | float
) -> None:
    """Raises unless the denoised data follow from the prediction at all of the times.

    Args:
        prediction: The quantity that is predicted.
        schedule: The schedule; a trainable one is not checked before it has its parameters.
        t: Times, of any shape; abstract ones are not checked.

    Raises:
        ValueError: At one of the times they do not.
    """
    if not prediction.needs_signal or isinstance(t, Tracer):
        return
    if isinstance(schedule, TrainableSchedule):
        return
    with jax.ensure_compile_time_eval():
        log_snr = schedule.log_snr(jnp.max(jnp.asarray(t, float)))
    if not isinstance(log_snr, Tracer) and float(log_snr) < LOWEST:
        raise ValueError(
            f"the model has a {type(prediction).__name__}, which does not tell x_0 at t = "
            f"{np.max(np.asarray(t)):g}, where {type(schedule).__name__} leaves nothing of it (its "
            f"log-SNR is {float(log_snr):.4g}): build the model with "
            "prediction=VelocityPrediction(), or sample at timesteps=karras_timesteps(schedule, 50)"
        )
