"""Parts of a data set by their labels, and a set of images made like those of another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data.dataset import Dataset
from genjax_models.data.unpaired import resized


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


def relabelled(data: Dataset, spec: DataSpec) -> Dataset:
    """The same examples with their labels as another set numbers the classes of those names.

    Args:
        data: A set in memory; one without labels stays as it is.
        spec: What says which number a class has.

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
        spec: What they are made like.
        num: How many, drawn without replacement, in order; all where there are fewer.
        seed: Which.

    Returns:
        A set in memory of `x` and, where there are some, `label`.

    Raises:
        ValueError: The examples are no images, or of another number of channels.
    """
    if len(data.spec.shape) != 3 or data.spec.shape[2:] != spec.shape[2:] or spec.levels is None:
        raise ValueError(
            f"{data.spec.name} has examples of shape {data.spec.shape}, which cannot be made like "
            f"{spec.name}'s, {spec.shape}: give images of as many channels"
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(data))[:num])
    few = resized(Dataset(data.spec, data.split, data.rows(rows)), *spec.shape[:2])
    arrays = dict(few.arrays or {})
    top, top_here = (data.spec.levels or 2) - 1, spec.levels - 1
    x = np.round(arrays["x"].astype(np.float32) / top * top_here)
    arrays["x"] = x.astype(np.uint8 if spec.levels <= 256 else np.int32)
    shape = dataclasses.replace(few.spec, levels=spec.levels)
    return Dataset(shape, data.split, arrays)
