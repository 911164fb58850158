"""Noise schedules: how much of the data and how much noise there is at each time.

x_t = alpha(t) x_0 + sigma(t) eps, for t from 0 (data) to 1 (noise). A schedule is a frozen
dataclass; a diffusion in T discrete steps is the same schedule looked at at t = i / T. Models and
samplers ask for `(alpha, sigma)`, and for the log-SNR, log(alpha^2 / sigma^2), which falls in t and
by which every schedule can be brought to every other (Kingma et al. 2021, arXiv:2107.00630).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import jax
import jax.numpy as jnp

from genjax_models.core.types import Array


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


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
class EDM:
    """alpha = 1, and noise levels between which even times are Karras et al.'s sampling grid.

    `sigma(t) = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho`.

    Attributes:
        sigma_min: The lowest noise level; samplers take their last step from there to none.
        sigma_max: The highest.
        rho: How much denser the grid is at low noise.

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


@dataclasses.dataclass(frozen=True)
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
