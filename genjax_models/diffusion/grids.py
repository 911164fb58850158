"""Time grids: at which times a sampler asks its denoiser.

A grid is n times `[n]` that fall from 1; a sampler takes a step from each to the next, and from the
last one to no noise at all (alpha = 1, sigma = 0).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from genjax_models.core.types import Array
from genjax_models.diffusion.schedules import Schedule


def linear(num: int) -> Array:
    """1, (n - 1)/n, ..., 1/n: the times of a discrete diffusion in n steps.

    Args:
        num: Number of steps n.

    Raises:
        ValueError: It is not positive.
    """
    return 1.0 - jnp.arange(_positive(num)) / num


def quadratic(num: int) -> Array:
    """The squares of `linear`'s times, (1 - i/n)^2: denser at low noise.

    Song et al. 2021, DDIM, arXiv:2010.02502, app. D.2.
    """
    return linear(num) ** 2


def karras(
    schedule: Schedule,
    num: int,
    *,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
) -> Array:
    """Times whose noise-to-signal ratios are Karras et al.'s grid, whatever the schedule.

    `s_i = (s_max^(1/rho) + i/(n-1) (s_min^(1/rho) - s_max^(1/rho)))^rho`, s = sigma / alpha.

    Args:
        schedule: The schedule whose times are wanted.
        num: Number of steps n.
        sigma_min: The lowest s, at the last step.
        sigma_max: The highest s, brought down to the schedule's own where that is lower.
        rho: How much denser the grid is at low noise.

    References:
        Karras et al. 2022, arXiv:2206.00364, eq. 5.
    """
    i = jnp.arange(_positive(num)) / max(num - 1, 1)
    highest = jnp.exp(-0.5 * schedule.log_snr(jnp.asarray(1.0)))
    low, high = sigma_min ** (1 / rho), jnp.minimum(sigma_max, highest) ** (1 / rho)
    ratio = (high + i * (low - high)) ** rho
    return jnp.clip(schedule.time(-2.0 * jnp.log(ratio)), 0.0, 1.0)


def check_times(times: Array) -> None:
    """Raise unless the times fall, within [0, 1]; abstract ones cannot be checked.

    Raises:
        ValueError: They do not.
    """
    if isinstance(times, Tracer):
        return
    t = np.asarray(times)
    if t.ndim != 1 or t.size == 0 or t.min() < 0 or t.max() > 1 or np.any(np.diff(t) >= 0):
        raise ValueError(
            f"a sampler's times are {t}: give times that fall from at most 1 and stay at 0 or "
            "above, such as grids.linear(50)"
        )


def _positive(num: int) -> int:
    if num < 1:
        raise ValueError(
            f"the number of sampling steps is {num}: give a whole number of at least 1"
        )
    return num
