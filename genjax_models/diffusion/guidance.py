"""Conditions of a network, and guidance: denoisers made of denoisers.

A guided denoiser stands for data that are tilted towards a condition, and samplers ask it like any
other. Its score is that of the data plus a multiple of grad_x log p(y | x_t), and by Tweedie's
formula, E[x_0 | x_t] = (x_t + sigma^2 score) / alpha, a score that is added shifts the denoised x_0
by sigma^2 / alpha times it. Guidance with weight 1 changes nothing, whichever way it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from genjax_models.core import random
from genjax_models.core.conditions import label_context
from genjax_models.core.types import Array, Key
from genjax_models.diffusion.samplers import Denoiser
from genjax_models.diffusion.schedules import Schedule

ConditionFn: TypeAlias = Callable[[Array], Array]
"""Data `[B, ..., C]` in [-1, 1] -> what a network is given of them `[B, ..., C']`, such as
`inverse.LowResolution`."""


class Condition(NamedTuple):
    """Condition of a network; the same at all times.

    Attributes:
        context: One-hot labels `[B, num_classes]`, or zeros `[1, num_classes]` for no label; None
            without classes.
        channels: Result of a `ConditionFn` for the data `[B, ..., C']`; None without one.
    """

    context: Array | None = None
    channels: Array | None = None


def context_of(label: Array | None, num_classes: int | None, optional: bool) -> Array | None:
    """Labels as the context of a network `[B, num_classes]`; zeros `[1, num_classes]` for None.

    Args:
        label: Labels `[B]`, or None.
        num_classes: Number of labels; None for an unconditional model.
        optional: Whether the model was trained without labels too.

    Raises:
        ValueError: There must be a label, or one is out of the range.
    """
    if num_classes is not None and label is None and optional:
        return jnp.zeros((1, num_classes))
    return label_context(label, num_classes)


def drop_condition(a: Array, key: Key | None, probability: float) -> Array:
    """Sets `a` `[B, ...]` to zeros for some of the examples; for none without a key.

    Args:
        a: Contexts, or anything else that a network is to do without at times `[B, ...]`.
        key: PRNG key.
        probability: Probability of dropping, independently for each example.
    """
    if key is None or probability == 0.0:
        return a
    kept = random.uniform(key, (a.shape[0],)) >= probability
    return a * kept.reshape(-1, *(1,) * (a.ndim - 1))


def is_guided(guidance: Array | float, num_classes: int | None, drop_label: float) -> bool:
    """Returns True if guidance by this weight changes a model.

    Args:
        guidance: Weight of classifier-free guidance; 1 changes nothing.
        num_classes: Number of labels; None for an unconditional model.
        drop_label: Probability with which training dropped the label.

    Raises:
        TypeError: The weight is not a single number.
        ValueError: It is not finite, or is asked of a model that was always given its labels.
    """
    if not isinstance(guidance, Tracer):
        number = np.asarray(guidance)
        if number.shape or number.dtype.kind not in "iuf":
            raise TypeError(f"guidance is {guidance!r}: give one number for all examples")
        if not np.isfinite(number):
            raise ValueError(f"guidance is {guidance}: give a finite number")
        if number == 1:
            return False
    if num_classes is None or drop_label == 0.0:
        raise ValueError(
            f"guidance {guidance} was asked of a model that was not trained for it: build it with "
            "num_classes and drop_label=0.1, and train it"
        )
    return True


def classifier_free(
    conditional: Denoiser,
    unconditional: Denoiser,
    weight: float | Array,
    *,
    rescale: float = 0.0,
) -> Denoiser:
    """Classifier-free guidance: `u + w (c - u)`, from two denoisers of the same data.

    Args:
        conditional: c, the denoiser of the data given the condition.
        unconditional: u, the denoiser of all data, or any worse one of the same data (Karras et
            al. 2024, arXiv:2406.02507).
        weight: w: 1 gives the conditional denoiser exactly, more exaggerates the condition. (Ho &
            Salimans' own w is one less.) A scalar, or an array that broadcasts against `[B, ...]`.
        rescale: phi, how far to bring the standard deviation of each example, which large weights
            raise, back to that of c: from 0 (not) to 1 (entirely).

    Returns:
        The guided denoiser, which asks both. Where the weight is the number 1 it is c itself.

    References:
        Ho & Salimans 2022, arXiv:2207.12598, eq. 6; Lin et al. 2023, arXiv:2305.08891, eq. 15-16
        (there of what the network predicts, here of x_0).
    """
    if isinstance(weight, int | float) and weight == 1:
        return conditional

    def denoise(x_t: Array, t: Array) -> Array:
        c, u = conditional(x_t, t), unconditional(x_t, t)
        guided = c + (weight - 1.0) * (c - u)  # in this order it is c bit for bit where weight is 1
        if rescale == 0.0:
            return guided
        axes = tuple(range(1, c.ndim))
        deviation = jnp.std(guided, axes, keepdims=True)
        # Examples of one constant value have no standard deviation to bring back.
        factor = jnp.std(c, axes, keepdims=True) / jnp.where(deviation > 0, deviation, 1.0)
        factor = jnp.where(deviation > 0, factor, 1.0)
        return guided * (1.0 + rescale * (factor - 1.0))

    return denoise


def classifier(
    denoise: Denoiser,
    schedule: Schedule,
    log_prob: Callable[[Array, Array], Array],
    weight: float | Array = 1.0,
) -> Denoiser:
    """Classifier guidance: `x_0 + w sigma^2 / alpha grad_x log p(y | x_t, t)`.

    Args:
        denoise: The denoiser of all data.
        schedule: Its schedule.
        log_prob: `(x_t [B, ...], t []) -> log p(y | x_t, t)` `[B]` in nats, by a classifier of
            noisy data; y is the condition. Each entry depends on the same row of x_t alone.
        weight: w; 1 and an exact classifier give the denoiser of the data given y.

    Returns:
        The guided denoiser. Where alpha is 0, x_t does not depend on y and nothing is added.

    References:
        Dhariwal & Nichol 2021, arXiv:2105.05233, eq. 13-14.
    """

    def guided(x_t: Array, t: Array) -> Array:
        slope = jax.grad(lambda x: jnp.sum(log_prob(x, t)))(x_t)
        return denoise(x_t, t) + weight * shift_per_score(schedule, t) * slope

    return guided


def shift_per_score(schedule: Schedule, t: Array) -> Array:
    """sigma^2 / alpha `[]`, the shift of x_0 per unit of score; 0 where alpha is 0.

    There the gradient of a log-probability given x_t is 0: it is alpha times that given x_0.
    """
    alpha, sigma = schedule(t)
    return jnp.where(alpha > 0, sigma**2 / jnp.where(alpha > 0, alpha, 1.0), 0.0)


def interval(
    guided: Denoiser, plain: Denoiser, schedule: Schedule, low: float, high: float
) -> Denoiser:
    """Guides only while the noise-to-signal ratio sigma / alpha is in (low, high].

    Guidance at high noise costs variety, and at low noise it does nothing. Outside the interval the
    guided denoiser is not computed.

    Args:
        guided: The denoiser in the interval.
        plain: The denoiser elsewhere, usually the conditional model without guidance.
        schedule: Their schedule.
        low: sigma_lo, the lower end of the interval.
        high: sigma_hi, the upper end.

    Raises:
        ValueError: The interval is empty.

    References:
        Kynkaanniemi et al. 2024, arXiv:2404.07724.
    """
    if not low < high:
        raise ValueError(
            f"the guidance interval is ({low}, {high}], which is empty: give the lower "
            "noise-to-signal ratio first"
        )

    def denoise(x_t: Array, t: Array) -> Array:
        alpha, sigma = schedule(t)
        inside = (sigma > low * alpha) & (sigma <= high * alpha)
        return jax.lax.cond(inside, guided, plain, x_t, t)

    return denoise


def clipped(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """Keeps x_0 in the range of the data.

    Ho et al. 2020, arXiv:2006.11239, sec. 3.2 (in their code); static thresholding of Saharia et
    al. 2022, arXiv:2205.11487, sec. 2.3.
    """
    return lambda x_t, t: jnp.clip(denoise(x_t, t), low, high)


def thresholded(denoise: Denoiser, quantile: float = 0.995) -> Denoiser:
    """Dynamic thresholding: keeps x_0 in [-1, 1], and scales it down rather than saturate it.

    `clip(x_0, -s, s) / s`, where s is the quantile of the entries' magnitudes in the example, but
    at least 1.

    Args:
        denoise: The denoiser, of data in [-1, 1].
        quantile: Share of the entries of an example that is not cut off.

    Raises:
        ValueError: The quantile is not in (0, 1].

    References:
        Saharia et al. 2022, arXiv:2205.11487, sec. 2.3 and app. D.2.
    """
    if not 0.0 < quantile <= 1.0:
        raise ValueError(f"the quantile is {quantile}: give one above 0 and at most 1")

    def denoised(x_t: Array, t: Array) -> Array:
        x_0 = denoise(x_t, t)
        axes = tuple(range(1, x_0.ndim))
        s = jnp.maximum(jnp.quantile(jnp.abs(x_0), quantile, axes, keepdims=True), 1.0)
        return jnp.clip(x_0, -s, s) / s

    return denoised
