"""What a diffusion's network is shown beside x_t: labels, part of the data, its own estimate."""

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
from genjax_models.diffusion.inverse import downsampled

Observe: TypeAlias = Callable[[Array], Array]
"""Data `[B, ..., C]` in [-1, 1] -> what is known of them, `[B, ..., C']`: see `low_resolution`."""


class Shown(NamedTuple):
    """A condition, ready for the network; it is the same at all times.

    Attributes:
        context: One-hot labels, zero where there is none `[B, num_classes]`; None without classes.
        observed: What is known of the data `[B, ..., C']`; None if nothing is.
    """

    context: Array | None = None
    observed: Array | None = None


def context_of(
    label: Array | None, num_classes: int | None, optional: bool, num: int
) -> Array | None:
    """Labels as the network's context `[num, num_classes]`; without them zeros, if they may lack.

    Args:
        label: Labels `[num]`, or None.
        num_classes: Number of labels; None for an unconditional model.
        optional: Whether the model was trained without labels too.
        num: Number of examples.

    Raises:
        ValueError: There must be a label, or one is out of the range.
    """
    if num_classes is not None and label is None and optional:
        return jnp.zeros((num, num_classes))
    return label_context(label, num_classes)


def check_guidance(guidance: Array | float, num_classes: int | None, drop_label: float) -> None:
    """Raise unless guidance is one finite number, and 1 of a model that cannot be guided.

    Raises:
        TypeError: It is no single number.
        ValueError: It is not finite, or is asked of a model never trained without its labels.
    """
    if not isinstance(guidance, Tracer):
        number = np.asarray(guidance)
        if number.shape or number.dtype.kind not in "iuf":
            raise TypeError(f"guidance is {guidance!r}: give one number for all examples")
        if not np.isfinite(number):
            raise ValueError(f"guidance is {guidance}: give a finite number")
    unchanged = not isinstance(guidance, Tracer) and guidance == 1
    if not unchanged and (num_classes is None or drop_label == 0.0):
        raise ValueError(
            f"guidance {guidance} was asked of a model that was not trained for it: build it with "
            "num_classes and drop_label=0.1, and train it"
        )


def hide_some(a: Array, key: Key | None, probability: float) -> Array:
    """`a` `[B, ...]` with zeros in place of some examples' values; of none if there is no key."""
    if key is None or probability == 0.0:
        return a
    kept = random.uniform(key, (a.shape[0],)) >= probability
    return a * kept.reshape(-1, *(1,) * (a.ndim - 1))


def network_input(x: Array, shown: Shown, estimate: Array | None) -> Array:
    """x_t and whatever else is an image, one after the other on the channels `[B, ..., C]`."""
    more = [a for a in (estimate, shown.observed) if a is not None]
    return jnp.concatenate([x, *more], axis=-1) if more else x


def split_variance(out: Array, shape: tuple[int, ...], learned: bool) -> tuple[Array, Array | None]:
    """The network's output as the prediction and, where it is learned, the variance's place.

    Args:
        out: The output `[B, ..., C]` or, with a variance, `[B, ..., 2 C]`.
        shape: The data's shape `[B, ..., C]`.
        learned: Whether the network says the variance.

    Returns:
        The prediction, and v: 0 at the smaller of the fixed variances, 1 at the larger.

    Raises:
        ValueError: The output has another shape.
    """
    wanted = (*shape[:-1], shape[-1] * (2 if learned else 1))
    if out.shape != wanted:
        raise ValueError(
            f"the network returns {out.shape[1:]} for examples of shape {shape[1:]}, and must "
            f"return {wanted[1:]}{': the prediction and the variance' if learned else ''}"
        )
    if not learned:
        return out, None
    prediction, v = jnp.split(out, 2, axis=-1)
    return prediction, 0.5 * (v + 1.0)


def low_resolution(factor: int) -> Observe:
    """What a super-resolution model knows: means over squares of that size, at the full size.

    The small image is brought back to the full size by cubic interpolation, as SR3 does it (Saharia
    et al. 2021, arXiv:2104.07636, sec. 2).

    Args:
        factor: Side of a square.
    """
    shrunk = downsampled(factor)
    return lambda x: enlarged(shrunk(x), factor)


def enlarged(x: Array, factor: int) -> Array:
    """Cubic interpolation: `[B, H, W, C] -> [B, H factor, W factor, C]`."""
    num, height, width, channels = x.shape
    return jax.image.resize(x, (num, height * factor, width * factor, channels), "cubic")
