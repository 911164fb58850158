"""Two data sets as one whose examples are no pairs; images cut and scaled, pairs turned round."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data import checks
from genjax_models.data.dataset import Dataset

_CHUNK = 512
"""Images that are resized at a time."""


def unpaired(a: Dataset, b: Dataset, *, labels: bool = False, seed: int = 0) -> Dataset:
    """Examples `x` of one set beside examples `y` of another, none of which belong together.

    Every example of the longer set comes once, in that set's order if it is `a`; those of the
    shorter one come as often as it takes, as evenly as can be. `y` is shuffled, so that of pairs
    that lie side by side in two sets nothing is left but chance. What an example is depends on its
    number and the seed alone.

    The sets may differ in shape and size: images that are to be of one size are `resized` first,
    once for all.

    Args:
        a: Where `x` comes from.
        b: Where `y` comes from.
        labels: Whether to keep the labels, for evaluation: `label` of x and `label_y` of y.
        seed: Decides the order of `y`.

    Returns:
        The data set, described by what one `x` is.

    Raises:
        ValueError: A set is a text or streams, or has no labels where they are asked for.
    """
    length = max(len(a), len(b))
    rows_a = np.arange(length) % len(a)
    rows_b = _shuffled(length, len(b), seed)
    arrays = {"x": _array(a, "x")[rows_a], "y": _array(b, "x")[rows_b]}
    if labels:
        arrays |= {"label": _array(a, "label")[rows_a], "label_y": _array(b, "label")[rows_b]}
    spec = dataclasses.replace(
        a.spec,
        num_classes=a.spec.num_classes if labels else None,
        name=f"{a.spec.name}|{b.spec.name}",
    )
    return Dataset(spec, a.split, arrays)


def _shuffled(length: int, num: int, seed: int) -> np.ndarray:
    """`length` numbers below `num`, shuffled anew whenever all have come."""
    random = np.random.default_rng(seed)
    rounds = [random.permutation(num) for _ in range(-(-length // num))]
    return np.concatenate(rounds)[:length]


def _array(data: Dataset, name: str) -> np.ndarray:
    if data.arrays is None or data.window is not None:
        what = "streams" if data.window is None else "is a text"
        raise ValueError(
            f"{data.spec.name} {what}: what is put beside another set, or changed, is one in memory"
        )
    if name not in data.arrays:
        raise ValueError(
            f"{data.spec.name}[{data.split}] has {', '.join(data.arrays)} and no {name!r}"
        )
    return np.asarray(data.arrays[name])


def swapped(data: Dataset, name: str) -> Dataset:
    """The same examples the other way round: what stood beside `x` is `x`, and that beside it.

    Args:
        data: Pairs of images, such as `facades` (`x` a photo, `condition` the map of its parts).
        name: The entry that becomes `x`; the former `x` takes its name.

    Raises:
        ValueError: The set streams, or has no such entry.
    """
    x, other = _array(data, "x"), _array(data, name)
    arrays = {**(data.arrays or {}), "x": other, name: x}
    spec = dataclasses.replace(data.spec, shape=other.shape[1:])
    return dataclasses.replace(data, spec=spec, arrays=arrays)


def resized(data: Dataset, height: int, width: int | None = None) -> Dataset:
    """The same set with all its images of another size, `x` and what stands beside it.

    A pixel of a smaller image is a weighted mean of those that it covers, rounded to a level.

    Args:
        data: A set of images.
        height: Pixels.
        width: Pixels; None for as many.

    Raises:
        ValueError: The set streams, its examples are no images, or the size is not positive.
    """
    width = height if width is None else width
    checks.positive_int(height, "height")
    checks.positive_int(width, "width")
    return _each_image(data, lambda images: _resize(images, height, width, data.spec))


def cropped(data: Dataset, margin: int) -> Dataset:
    """The same set with that many pixels cut off every side of its images.

    Args:
        data: A set of images.
        margin: Pixels; 0 for none.

    Raises:
        ValueError: The set streams, its examples are no images, or nothing would be left of them.
    """
    size = min(data.spec.shape[:2])
    if margin < 0 or 2 * margin >= size:
        raise ValueError(
            f"margin is {margin}, but images of {data.spec.name} are {size} pixels high or wide: "
            f"give 0 to {(size - 1) // 2}"
        )
    inner = slice(margin, -margin or None)
    return _each_image(data, lambda images: images[:, inner, inner])


def _each_image(data: Dataset, change: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """The same set with `x`, and the images that stand beside it, changed."""
    shape, x = data.spec.shape, _array(data, "x")
    if len(shape) != 3 or data.spec.levels is None:
        raise ValueError(
            f"{data.spec.name} has examples of shape {shape}: only images [H, W, C] of levels are "
            "cut and scaled"
        )
    arrays = {
        name: change(np.asarray(a)) if a.ndim == x.ndim else a
        for name, a in (data.arrays or {}).items()
    }
    spec = dataclasses.replace(data.spec, shape=arrays["x"].shape[1:])
    return dataclasses.replace(data, spec=spec, arrays=arrays)


def _resize(images: np.ndarray, height: int, width: int, spec: DataSpec) -> np.ndarray:
    if images.shape[1:3] == (height, width):
        return images
    top = (spec.levels or 1) - 1

    @jax.jit
    def resize(part: jax.Array) -> jax.Array:
        shape = (part.shape[0], height, width, part.shape[-1])
        part = jax.image.resize(part.astype(jnp.float32), shape, "linear", antialias=True)
        return jnp.clip(jnp.round(part), 0, top).astype(images.dtype)

    size = min(len(images), _CHUNK)
    parts = []
    for i in range(0, len(images), size):
        part = images[i : i + size]
        filled = np.pad(part, [(0, size - len(part)), (0, 0), (0, 0), (0, 0)])  # one shape: one jit
        parts.append(np.asarray(resize(filled))[: len(part)])
    return np.concatenate(parts)
