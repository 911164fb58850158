"""DPM-Solver++ and the predictor-corrector: samplers of few steps, and of many looks a step.

With lambda = log(alpha / sigma) and h = lambda_s - lambda_t, the ODE's solution over a step is
`x_s = (sigma_s / sigma_t) x_t + (alpha_s - sigma_s alpha_t / sigma_t) D`, if the denoiser were a
constant D; the solvers differ in what they take for D. In the last step h is infinite, and they
take x_0, which is exact there.

Lu et al. 2022, DPM-Solver++, arXiv:2211.01095.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array, Key
from genjax_models.diffusion.samplers import Denoiser, Level, ddim_step, read, walk
from genjax_models.diffusion.schedules import Schedule


def _solved(x: Array, at: Level, to: Level, constant: Array) -> Array:
    """The state at the next level if the denoiser returned a constant on the way."""
    kept = to.sigma / at.sigma
    return kept * x + (to.alpha - kept * at.alpha) * constant


def dpm_solver_2m(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    trajectory: bool = False,
) -> Array:
    """DPM-Solver++(2M): second order, by one look a step and the memory of the one before.

    `D = x_0 + (h / 2 h_before) (x_0 - x_0 before)`.

    Takes and returns what `samplers.heun` does, but no churn, and asks the denoiser once a step.
    The key is of no consequence.

    References:
        Lu et al. 2022, arXiv:2211.01095, algorithm 2.
    """

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        x_0_before, ratio_before = memory
        x_0 = denoise(x, at.t)
        h, h_before = jnp.log(at.ratio / to.ratio), jnp.log(ratio_before / at.ratio)
        # h_before is infinite in the first step: nothing is remembered, and the weight is 0.
        remembered = (to.sigma > 0) & jnp.isfinite(h_before) & (h_before > 0)
        weight = jnp.where(remembered, 0.5 * h / h_before, 0.0)
        return _solved(x, at, to, x_0 + weight * (x_0 - x_0_before)), (x_0, at.ratio)

    dtype = jnp.result_type(times, jnp.float32)
    memory = jnp.zeros_like(x), jnp.asarray(jnp.inf, dtype)
    return walk(step, schedule, x, times, key, memory=memory, trajectory=trajectory)


def dpm_solver_2s(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    trajectory: bool = False,
) -> Array:
    """DPM-Solver++(2S): second order, by two looks a step, the second halfway in lambda.

    Takes and returns what `samplers.heun` does, but no churn, and asks the denoiser twice a step,
    once in the last. The key is of no consequence.

    References:
        Lu et al. 2022, arXiv:2211.01095, algorithm 1, with its r_i = 1/2.
    """

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        x_0 = denoise(x, at.t)

        def halfway(x_0: Array) -> Array:
            t = jnp.clip(schedule.time(-jnp.log(at.ratio) - jnp.log(to.ratio)), to.t, at.t)
            middle = Level(t, *schedule(t))
            return denoise(_solved(x, at, middle, x_0), t)

        # Halfway is nowhere if one end has no noise, or nothing else.
        second = (to.sigma > 0) & ~at.is_noise
        return _solved(x, at, to, jax.lax.cond(second, halfway, lambda x_0: x_0, x_0)), memory

    return walk(step, schedule, x, times, key, trajectory=trajectory)


def predictor_corrector(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    times: Array,
    key: Key,
    *,
    corrections: int = 1,
    snr: float = 0.16,
    trajectory: bool = False,
) -> Array:
    """Ancestral steps, each followed by Langevin steps at the new level.

    A correction is `x + e g + sqrt(2 e) z` with the score g, noise z and the step size
    `e = 2 alpha^2 (snr |z| / |g|)^2`, from the norms' means over the examples.

    Args:
        denoise: The denoiser; it is asked 1 + corrections times a step.
        schedule: The schedule.
        x: Noise at the first time `[B, ...]`.
        times: The grid `[n]`, falling.
        key: What the noise is a function of.
        corrections: Langevin steps after each ancestral step; none after the last.
        snr: The signal-to-noise ratio of a Langevin step.
        trajectory: Whether to return every state.

    Raises:
        ValueError: There are fewer than no corrections, or the signal-to-noise ratio is negative.

    References:
        Song et al. 2021, arXiv:2011.13456, algorithms 1, 4 and 5.
    """
    if corrections < 0 or not 0 <= snr < math.inf:
        raise ValueError(
            f"the predictor-corrector is given corrections={corrections} and snr={snr}: give "
            "numbers of at least 0"
        )

    def correct(i: int, x: Array, to: Level, key: Key) -> Array:
        z = random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        _, eps = read(denoise, x, to)
        score = -eps / to.sigma
        norms = (jnp.sqrt(sum_entries(a**2)) for a in (z, score))
        noise, slope = (jnp.mean(random.all_examples(norm)) for norm in norms)
        slope = jnp.where(slope > 0, slope, jnp.inf)  # nowhere to go: no step
        size = 2.0 * to.alpha**2 * (snr * noise / slope) ** 2
        return x + size * score + jnp.sqrt(2.0 * size) * z

    def step(x: Array, memory: Any, at: Level, to: Level, key: Key) -> tuple[Array, Any]:
        key_predictor, key_corrector = jax.random.split(key)
        x = ddim_step(denoise, x, at, to, key_predictor)

        def corrected(x: Array) -> Array:
            body = lambda i, x: correct(i, x, to, key_corrector)  # noqa: E731
            return jax.lax.fori_loop(0, corrections, body, x)

        return jax.lax.cond(to.sigma > 0, corrected, lambda x: x, x), memory

    return walk(step, schedule, x, times, key, trajectory=trajectory)
