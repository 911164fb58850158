"""Inverse problems: data given a measurement of them, by a denoiser that was trained without any.

A measurement is `y = A(x_0) + noise`, where A is any function that is linear in x_0 and measures
each example by itself. `posterior` guides a denoiser to x_0 given y, for any sampler. For parts of
x_0 that are given exactly there is also `repaint`, a sampler that puts them back at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from genjax_models.core import random
from genjax_models.core.types import Array, Key
from genjax_models.core.values import value
from genjax_models.diffusion.guidance import shift_per_score
from genjax_models.diffusion.samplers import Denoiser, ddim_step, sample_loop
from genjax_models.diffusion.schedules import NoiseScale, Schedule
from genjax_models.networks.conv import average_pool, conv2d

Operator: TypeAlias = Callable[[Array], Array]
"""`x_0 [B, ...] -> A(x_0) [B, ...]`, linear."""
Covariance: TypeAlias = Callable[[Array, Operator, Schedule, Array], Array]
"""`(v [B, ...], J^T, schedule, t []) -> C v [B, ...]`, with C the assumed covariance of x_0 given
x_t and J the denoiser's Jacobian at x_t."""


def masked(mask: Array) -> Operator:
    """Measures the entries where `mask`, bool `[*shape]` or `[B, *shape]`, is True; 0 elsewhere."""
    return lambda x: jnp.where(mask, x, 0.0)


@value
class Downsampled:
    """Measures images `[B, H, W, C]` by the means of squares of pixels, `[B, H/f, W/f, C]`.

    Attributes:
        factor: f, the side of a square.

    Raises:
        ValueError: The factor is not positive, or (when measuring) the size of the images is no
            multiple of it.
    """

    factor: int

    def __post_init__(self) -> None:
        """Refuses squares without pixels."""
        if self.factor < 1:
            raise ValueError(f"images cannot be downsampled by {self.factor}: give 1 or more")

    def __call__(self, x: Array) -> Array:
        """The means of the squares."""
        _, height, width, _ = x.shape
        if height % self.factor or width % self.factor:
            raise ValueError(
                f"images of {height}x{width} cannot be downsampled by {self.factor}: give a factor "
                "of both"
            )
        return average_pool(x, self.factor)


@value
class LowResolution:
    """Images downsampled, at the full size again: the condition of a super-resolution model.

    They are brought back to the full size by cubic interpolation, as in SR3 (Saharia et al. 2021,
    arXiv:2104.07636, sec. 2).

    Attributes:
        factor: The side of a square of pixels that becomes one.
    """

    factor: int

    def __post_init__(self) -> None:
        """Refuses squares without pixels."""
        Downsampled(self.factor)

    def __call__(self, x: Array) -> Array:
        """The condition `[B, H, W, C]` of images `[B, H, W, C]`."""
        return jax.image.resize(Downsampled(self.factor)(x), x.shape, "cubic")


def blurred(kernel: Array) -> Operator:
    """Measures images `[B, H, W, C]` convolved with a kernel `[k, k]`, k odd; zeros at the edges.

    Raises:
        ValueError: The kernel is not of that shape.
    """
    size = np.shape(kernel)
    if len(size) != 2 or size[0] != size[1] or size[0] % 2 == 0:
        raise ValueError(f"the kernel's shape is {size}: give [k, k] with k odd")
    taps = jnp.asarray(kernel, jnp.float32)[::-1, ::-1, None, None]  # conv2d does not turn it

    def measure(x: Array) -> Array:
        num, height, width, channels = x.shape
        planes = jnp.moveaxis(x, -1, 1).reshape(num * channels, height, width, 1)
        planes = conv2d(planes, taps.astype(x.dtype))  # every channel by itself
        return jnp.moveaxis(planes.reshape(num, channels, height, width), 1, -1)

    return measure


@value
class Isotropic:
    """The covariance `v I` with `v = r^2 s^2 / (r^2 + s^2)`, r = sigma / alpha: of N(m, s^2 I).

    Attributes:
        std: s, the standard deviation of the data.

    References:
        Song et al. 2023, Pseudoinverse-guided diffusion models for inverse problems, whose s is 1.
    """

    std: float = 1.0

    def __call__(self, v: Array, vjp: Operator, schedule: Schedule, t: Array) -> Array:
        """The covariance times a vector."""
        alpha, sigma = schedule(t)
        return (sigma * self.std) ** 2 / (sigma**2 + (alpha * self.std) ** 2) * v


def tweedie(v: Array, vjp: Operator, schedule: Schedule, t: Array) -> Array:
    """The covariance `sigma^2 / alpha J`: that of x_0 given x_t for any data.

    The Jacobian of an exact denoiser is symmetric, so that `J^T v` gives its products.

    Boys et al. 2023, arXiv:2310.06721; Rozet et al. 2024, arXiv:2405.13712, sec. 4.
    """
    return shift_per_score(schedule, t) * vjp(v)


def posterior(
    denoise: Denoiser,
    schedule: Schedule,
    measure: Operator,
    y: Array,
    noise: float,
    *,
    covariance: Covariance = tweedie,
    iterations: int = 5,
) -> Denoiser:
    r"""The denoiser of x_0 given its measurement, `E[x_0 | x_t, y]`.

    `x_0 + sigma^2 / alpha J^T A^T (A C A^T + noise^2 I)^{-1} (y - A x_0)`, as if x_0 given x_t were
    normal with the denoised mean and the covariance C. With `tweedie` that is exact for normal data
    of any covariance, and with `Isotropic` for those with an isotropic one; for other data it is an
    approximation, best at low noise. The linear system is solved by conjugate gradients.

    Args:
        denoise: The denoiser of all data.
        schedule: Its schedule.
        measure: A.
        y: Measurements, in a shape that broadcasts to `[B, ...]`, in the units of A. Where A does
            not depend on x_0, as `masked` where its mask is False, they may be anything, nan too.
        noise: Standard deviation of the noise in y. With 0 the problem is ill-posed if entries of
            y measure the same of x_0.
        covariance: C, `tweedie` (moment matching) or `Isotropic` (PiGDM, whose solves are cheap).
        iterations: Number of conjugate gradient steps: as many as A C A^T has distinct eigenvalues
            for an exact solution, a few in practice. With `tweedie` each goes back through the
            network.

    Returns:
        The guided denoiser. Where alpha is 0 it is the unguided one.

    Raises:
        ValueError: There are no iterations, or the noise is negative; (when denoising) y has
            another shape than A(x_0), or is not finite where A depends on x_0.

    References:
        Song et al. 2023, Pseudoinverse-guided diffusion models for inverse problems (PiGDM); Rozet
        et al. 2024, arXiv:2405.13712, sec. 4 (moment matching); Chung et al. 2023, arXiv:2209.14687
        (DPS), which takes C = 0.
    """
    if iterations < 1 or not 0 <= noise < math.inf:
        raise ValueError(
            f"posterior guidance has {iterations} iterations and noise {noise}: give at least 1 "
            "iteration, and noise of at least 0"
        )

    def check(sees: Array) -> None:
        if not _fits(y, sees):
            raise ValueError(
                f"the measurements' shape is {jnp.shape(y)}, but A(x_0) has {sees.shape}: give "
                "measurements of that shape"
            )
        if not isinstance(y, Tracer) and not isinstance(sees, Tracer):
            if np.any(~np.isfinite(y) & np.asarray(sees)):
                raise ValueError(
                    "the measurements have nan or infinite entries that A sees: give finite ones, "
                    "or an A that does not see them (inverse.masked(jnp.isfinite(y)))"
                )

    def guided(x_t: Array, t: Array) -> Array:
        x_0, back = jax.vjp(lambda x: denoise(x, t), x_t)
        seen, transpose = jax.vjp(measure, x_0)
        sees = _sees(measure, x_0, seen)
        check(sees)
        # Before the difference too, so that nan leaves no trace in gradients.
        residual = jnp.where(sees, jnp.where(sees, y, 0.0) - seen, 0.0)
        jacobian_t: Operator = lambda v: back(v)[0]  # noqa: E731
        transposed: Operator = lambda u: transpose(u)[0]  # noqa: E731

        def system(u: Array) -> Array:
            return measure(covariance(transposed(u), jacobian_t, schedule, t)) + noise**2 * u

        solved = _conjugate_gradients(system, residual, iterations)
        return x_0 + shift_per_score(schedule, t) * jacobian_t(transposed(solved))

    return guided


def _sees(measure: Operator, x_0: Array, seen: Array) -> Array:
    """Which entries of a measurement depend on x_0 at all, bool `[B, ...]`.

    An entry does not if it is 0 whatever x_0 is; of random x_0 no other one is.
    """
    with jax.ensure_compile_time_eval():
        probe = jax.random.normal(jax.random.key(0), x_0.shape, x_0.dtype)
        return jnp.broadcast_to(measure(probe) != 0, seen.shape)


def _fits(a: Any, b: Array) -> bool:
    """Whether `a` broadcasts to the shape of b."""
    try:
        return np.broadcast_shapes(jnp.shape(a), b.shape) == b.shape
    except ValueError:
        return False


def _conjugate_gradients(system: Operator, b: Array, iterations: int) -> Array:
    """Solves system(x) = b for each example `[B, ...]` by itself, from x = 0.

    Where the residual is no more than rounding, the solution stays as it is.
    """
    axes = tuple(range(1, b.ndim))
    dot = lambda u, v: jnp.sum(u * v, axes, keepdims=True)  # noqa: E731
    rounding = (4.0 * jnp.finfo(b.dtype).eps) ** 2 * dot(b, b)

    def step(_: int, carry: Any) -> Any:
        x, residual, direction = carry
        along = system(direction)
        norm, curve = dot(residual, residual), dot(direction, along)
        # Asked so that nan goes on, rather than end the iterations in silence.
        done = (norm <= rounding) | (curve <= 0)
        size = jnp.where(done, 0.0, norm / jnp.where(done, 1.0, curve))
        x, residual = x + size * direction, residual - size * along
        turn = jnp.where(done, 0.0, dot(residual, residual) / jnp.where(done, 1.0, norm))
        return x, residual, residual + turn * direction

    return jax.lax.fori_loop(0, iterations, step, (jnp.zeros_like(b), b, b))[0]


def repaint(
    denoise: Denoiser,
    schedule: Schedule,
    x: Array,
    timesteps: Array,
    key: Key,
    *,
    given: Array,
    mask: Array,
    resamplings: int = 10,
    trajectory: bool = False,
) -> Array:
    """Inpaints by ancestral steps, each repeated, with the given part put back at its noise scale.

    A step draws the whole at the next noise scale and replaces what is given by a noisy copy of it.
    The rest was drawn without that copy; so the step goes back, by the forward process, and is
    drawn again. With one resampling it is plain replacement, whose parts fit together badly.

    Args:
        denoise: As in `Sampler`, like all that is not named below; it is asked `resamplings` times
            a step, once in the last.
        schedule: The schedule.
        x: The noise.
        timesteps: The timesteps.
        key: PRNG key.
        given: x_0 where it is given, in a shape that broadcasts to `[B, ...]`; anything elsewhere.
        mask: True for given entries, bool `[*shape]` or `[B, *shape]`.
        resamplings: Number of times that each step is drawn; the paper's r.
        trajectory: Whether to return every state.

    Returns:
        x_0 `[B, ...]`, with the given part as it was.

    Raises:
        ValueError: There are no resamplings, the timesteps do not fall, or the given part has
            another shape than x, or is not finite.

    References:
        Lugmayr et al. 2022, RePaint, arXiv:2201.09865, algorithm 1 (jump length 1); replacement:
        Song et al. 2021, arXiv:2011.13456, app. I.2.
    """
    if resamplings < 1:
        raise ValueError(f"the number of resamplings is {resamplings}: give at least 1")
    if not (_fits(given, x) and _fits(mask, x)):
        raise ValueError(
            f"the given part's shape is {jnp.shape(given)} and the mask's {jnp.shape(mask)}: give "
            f"shapes that broadcast to {x.shape}"
        )
    if not isinstance(given, Tracer) and not isinstance(mask, Tracer):
        if np.any(~np.isfinite(given) & np.asarray(mask, bool)):
            raise ValueError(
                "given has nan or infinite entries where the mask is True: give finite ones, or a "
                "mask without them (mask & jnp.isfinite(given))"
            )
    given = jnp.where(mask, given, 0.0)  # nan elsewhere leaves no trace, in gradients either

    def draw(x: Array, at: NoiseScale, to: NoiseScale, key: Key) -> Array:
        key_step, key_given = jax.random.split(key)
        x = ddim_step(denoise, x, at, to, key_step)
        noisy = to.alpha * given + to.sigma * random.normal(key_given, x.shape, x.dtype)
        return jnp.where(mask, noisy, x)

    def back(x: Array, at: NoiseScale, to: NoiseScale, key: Key) -> Array:
        """From the next noise scale to this one again, by the forward process."""
        kept = at.alpha / to.alpha
        grown = jnp.sqrt(jnp.maximum(at.sigma**2 - (kept * to.sigma) ** 2, 0.0))
        return kept * x + grown * random.normal(key, x.shape, x.dtype)

    def step(x: Array, memory: Any, at: NoiseScale, to: NoiseScale, key: Key) -> tuple[Array, Any]:
        def again(i: Array, x: Array) -> Array:
            key_draw, key_back = jax.random.split(jax.random.fold_in(key, i))
            return draw(back(x, at, to, key_back), at, to, key_draw)

        # From the end of the last step, which has no noise, there is no way back.
        num = jnp.where(to.sigma > 0, resamplings, 1)
        return jax.lax.fori_loop(1, num, again, draw(x, at, to, key)), memory

    return sample_loop(step, schedule, x, timesteps, key, trajectory=trajectory)
