"""A noise schedule that is learned with the network: a monotone function of the time."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core.types import Array, Key
from genjax_models.diffusion.schedules import Schedule, of_log_snr


@dataclasses.dataclass(frozen=True)
class Learned:
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

    def bind(self, params: Any) -> BoundSchedule:
        """The schedule of these parameters."""
        return BoundSchedule(**params)


@struct.dataclass
class BoundSchedule:
    """A `Learned` schedule with its parameters: a `Schedule`."""

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


def bind(schedule: Schedule | Learned, params: Any) -> Schedule:
    """The schedule to use: a learned one with its parameters, any other as it is."""
    return schedule.bind(params["schedule"]) if isinstance(schedule, Learned) else schedule
