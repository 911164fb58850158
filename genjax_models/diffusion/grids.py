"""Time grids: at which times a sampler asks its denoiser.

A grid is n times `[n]` that fall from 1; a sampler takes a step from each to the next, and from the
last one to no noise at all (alpha = 1, sigma = 0). If there is no noise at the last time either, as
at 0 on most schedules, that is the end already.
"""

from __future__ import annotations

import jax
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
    with jax.ensure_compile_time_eval():  # also under jit a sampler can look at them
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
        sigma_min: The lowest s, at the last step; the schedule's own where that is higher.
        sigma_max: The highest s; the schedule's own where that is lower.
        rho: How much denser the grid is at low noise, above 0.

    Raises:
        ValueError: There are no steps, the schedule has no noise between these levels, or so many
            steps that the schedule's times cannot be told apart.

    References:
        Karras et al. 2022, arXiv:2206.00364, eq. 5.
    """
    if not (0 < sigma_min < sigma_max and 0 < rho < np.inf):
        raise ValueError(
            f"the grid has sigma_min={sigma_min}, sigma_max={sigma_max} and rho={rho}: give noise "
            "levels that rise from above 0, and a rho above 0"
        )
    i = jnp.arange(_positive(num)) / max(num - 1, 1)
    lowest, highest = jnp.exp(-0.5 * schedule.log_snr(jnp.asarray([0.0, 1.0])))
    bottom, top = jnp.maximum(sigma_min, lowest), jnp.minimum(sigma_max, highest)
    low, high = bottom ** (1 / rho), top ** (1 / rho)
    ratio = (high + i * (low - high)) ** rho
    times = jnp.clip(schedule.time(-2.0 * jnp.log(ratio)), 0.0, 1.0)
    if not isinstance(times, Tracer) and np.any(np.diff(times) >= 0):
        raise ValueError(
            f"{num} steps between the noise-to-signal ratios {float(bottom):.4g} and "
            f"{float(top):.4g} are no falling times of {type(schedule).__name__}: give fewer "
            "steps, or a sigma_min and a sigma_max between which the schedule has noise"
        )
    return times


def check_times(times: Array, schedule: Schedule | None = None) -> Array:
    """The times, brought into [0, 1] and to 0 where rounding alone keeps them from it.

    Abstract times are not checked.

    Args:
        times: The times of a sampler `[n]`.
        schedule: Theirs: at the first of them it must have noise. None leaves that out.

    Raises:
        ValueError: They do not fall within [0, 1], or there is no noise to begin with.
    """
    if not isinstance(times, Tracer):
        t = np.asarray(times, float)
        tiny = np.finfo(np.float32).eps
        # Negated, so that nan is refused.
        if not (t.ndim == 1 and t.size and np.all((t > -tiny) & (t < 1 + 2 * tiny))) or not np.all(
            np.diff(t) < 0
        ):
            shown = np.array2string(t, precision=4, threshold=8, max_line_width=1000)
            raise ValueError(
                f"a sampler's times are {shown}: give times that fall from at most 1 and stay at "
                "0 or above, such as grids.linear(50)"
            )
        if schedule is not None and _has_no_noise(schedule, t[0]):
            raise ValueError(
                f"a sampler's first time is {t[0]:g}, where {type(schedule).__name__} has no "
                "noise to begin with: give times that fall from 1, such as grids.linear(50)"
            )
        with jax.ensure_compile_time_eval():  # so that they can be looked at again under jit
            return _in_range(jnp.asarray(times))
    return _in_range(times)


def _in_range(times: Array) -> Array:
    times = times.astype(jnp.promote_types(times.dtype, jnp.float32))
    return jnp.where(times < jnp.finfo(times.dtype).eps, 0.0, jnp.minimum(times, 1.0))


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
