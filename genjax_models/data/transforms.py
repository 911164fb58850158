"""Datasets made of others: chosen by label, cut, scaled, turned round, or set side by side."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data.arrays import positive_int
from genjax_models.data.dataset import Dataset, Source

_CHUNK = 512
"""Images that are resized at a time."""


def only_labels(data: Dataset, labels: Sequence[int]) -> Dataset:
    """The examples that have one of these labels, in order; labels keep their numbers.

    Args:
        data: A set in memory, with labels.
        labels: Those to keep.

    Raises:
        ValueError: The set streams or has no labels, or no example has one of those.
    """
    return _chosen(data, labels, True)


def without_labels(data: Dataset, labels: Sequence[int]) -> Dataset:
    """The examples that have none of these labels, in order; labels keep their numbers.

    Args:
        data: A set in memory, with labels.
        labels: Those to leave out.

    Raises:
        ValueError: The set streams or has no labels, or nothing is left of it.
    """
    return _chosen(data, labels, False)


def _chosen(data: Dataset, labels: Sequence[int], keep: bool) -> Dataset:
    if data.arrays is None or "label" not in data.arrays or data.spec.num_classes is None:
        raise ValueError(
            f"{data.spec.name}[{data.split}] "
            f"{'streams' if data.arrays is None else 'has no labels'}: examples are chosen by the "
            "labels of a set in memory"
        )
    wrong = [label for label in labels if not 0 <= label < data.spec.num_classes]
    if wrong:
        raise ValueError(
            f"{data.spec.name} has no label {wrong[0]}: it has 0 .. {data.spec.num_classes - 1}"
        )
    chosen = np.isin(data.arrays["label"], list(labels)) == keep
    if not chosen.any():
        raise ValueError(
            f"no example of {data.spec.name}[{data.split}] has a label "
            f"{'in' if keep else 'outside'} {', '.join(map(data.spec.class_name, labels))}"
        )
    return dataclasses.replace(data, arrays={k: a[chosen] for k, a in data.arrays.items()})


def divided(data: Dataset) -> dict[str, Dataset]:
    """Splits of a dataset that has none: a tenth of every class each for validation and test.

    Which examples those are is decided by the hash of their values, so that it is always the same
    ones, in whatever order they come. A class of fewer than three examples gives none.

    Args:
        data: A dataset in memory.

    Returns:
        `train`, `validation` and `test`, in the order of the data; `train` alone where no class has
        three examples.
    """
    assert data.arrays is not None
    x = data.arrays["x"]
    label = data.arrays.get("label", np.zeros(len(x), np.int32))
    ranks = np.array([hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest() for row in x])
    parts = np.zeros(len(x), np.int32)
    for each in np.unique(label):
        (of_class,) = np.nonzero(label == each)
        ranked = of_class[np.argsort(ranks[of_class], kind="stable")]
        num = max(1, round(len(ranked) / 10)) if len(ranked) >= 3 else 0
        parts[ranked[:num]], parts[ranked[num : 2 * num]] = 2, 1
    return {
        name: dataclasses.replace(
            data, split=name, arrays={k: a[parts == i] for k, a in data.arrays.items()}
        )
        for i, name in enumerate(("train", "validation", "test"))
        if (parts == i).any()
    }


def relabelled(data: Dataset, spec: DataSpec) -> Dataset:
    """The same examples with their labels as another set numbers the classes of those names.

    Args:
        data: A set in memory; one without labels stays as it is.
        spec: Description that numbers the classes.

    Raises:
        ValueError: It has no class of some name.
    """
    if data.arrays is None or "label" not in data.arrays or data.spec.num_classes is None:
        return data
    there, where = np.unique(data.arrays["label"], return_inverse=True)
    numbers = np.array([spec.label_of(data.spec.class_name(label)) for label in there], np.int32)
    mine = {"num_classes": spec.num_classes, "class_names": spec.class_names}
    arrays = {**data.arrays, "label": numbers[where]}
    return dataclasses.replace(data, spec=dataclasses.replace(data.spec, **mine), arrays=arrays)


def alike(data: Dataset, spec: DataSpec, num: int, seed: int = 0) -> Dataset:
    """Some images of a set in the size and the levels of another one, to be compared with it.

    Args:
        data: Images of as many channels as `spec`.
        spec: Description of the result.
        num: Number of examples, drawn without replacement, in order; all if there are fewer.
        seed: Seed of the draw.

    Returns:
        A set in memory of `x` and, where there are some, `label`.

    Raises:
        ValueError: The examples are not images, or of another number of channels.
    """
    if (
        len(data.spec.shape) != 3
        or data.spec.shape[2:] != spec.shape[2:]
        or spec.num_levels is None
    ):
        raise ValueError(
            f"{data.spec.name} has examples of shape {data.spec.shape}, which cannot be made like "
            f"{spec.name}'s, {spec.shape}: give images of as many channels"
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(data))[:num])
    few = resized(Dataset(data.spec, data.split, data.rows(rows)), *spec.shape[:2])
    arrays = dict(few.arrays or {})
    top, top_here = (data.spec.num_levels or 2) - 1, spec.num_levels - 1
    x = np.round(arrays["x"].astype(np.float32) / top * top_here)
    arrays["x"] = x.astype(np.uint8 if spec.num_levels <= 256 else np.int32)
    shape = dataclasses.replace(few.spec, num_levels=spec.num_levels)
    return Dataset(shape, data.split, arrays)


def unpaired(a: Dataset, b: Dataset, *, labels: bool = False, seed: int = 0) -> Dataset:
    """Combines examples `x` of one set with examples `y` of another, unpaired.

    Every example of the longer set comes once, in that set's order if it is `a`; those of the
    shorter one are repeated as evenly as possible. `y` is shuffled, so that no pairing of the two
    sets remains. An example depends on its number and the seed alone.

    The sets may differ in shape and size: `resized` brings images to one size.

    Args:
        a: Source of `x`.
        b: Source of `y`.
        labels: If True, keeps the labels, for evaluation: `label` of x and `label_y` of y.
        seed: Seed of the order of `y`.

    Returns:
        The data set, with the description of `x`.

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
        ValueError: The set has no such entry.
    """
    if data.source is not None:
        row = data.rows([0])
        if name not in row:
            raise ValueError(f"{data.spec.name}[{data.split}] has {', '.join(row)} and no {name!r}")
        spec = dataclasses.replace(data.spec, shape=row[name].shape[1:])
        return dataclasses.replace(data, spec=spec, source=_Swapped(data.source, name))
    x, other = _array(data, "x"), _array(data, name)
    arrays = {**(data.arrays or {}), "x": other, name: x}
    spec = dataclasses.replace(data.spec, shape=other.shape[1:])
    return dataclasses.replace(data, spec=spec, arrays=arrays)


@dataclasses.dataclass(frozen=True)
class _Swapped:
    """The records of a source with `x` and another entry exchanged."""

    source: Source
    name: str

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        records = self.source.__getitems__(record_keys)
        return [{**r, "x": r[self.name], self.name: r["x"]} for r in records]


def resized(data: Dataset, height: int, width: int | None = None) -> Dataset:
    """The same set with all its images of another size, `x` and what stands beside it.

    A pixel of a smaller image is a weighted mean of those that it covers, rounded to a level.

    Args:
        data: A set of images.
        height: Pixels.
        width: Pixels; None for as many.

    Raises:
        ValueError: The set streams, its examples are not images, or the size is not positive.
    """
    width = height if width is None else width
    positive_int(height, "height")
    positive_int(width, "width")
    return _each_image(data, lambda images: _resize(images, height, width, data.spec))


def cropped(data: Dataset, margin: int) -> Dataset:
    """The same set with that many pixels cut off every side of its images.

    Args:
        data: A set of images.
        margin: Pixels; 0 for none.

    Raises:
        ValueError: The set streams, its examples are not images, or nothing would be left of them.
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
    if len(shape) != 3 or data.spec.num_levels is None:
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
    top = (spec.num_levels or 1) - 1

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
