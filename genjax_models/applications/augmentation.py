"""Data augmentation: a few labelled examples, and samples of a conditional model of them."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import numpy as np

from genjax_models.core.types import Array, DataSpec, Key, Params, State
from genjax_models.data.dataset import Dataset
from genjax_models.metrics.figure import Figure
from genjax_models.metrics.map_dataset import round_up_to_devices
from genjax_models.training.devices import sampler

_AT_ONCE = 1_000
"""Number of examples that are drawn at a time."""


class ConditionalSampler(Protocol):
    """A model of p(x | label) with a sampler."""

    @property
    def spec(self) -> DataSpec:
        """Specification of one example."""
        ...

    def sample(
        self, params: Params, key: Key, num: int, *, state: State | None = None, label: Any = None
    ) -> Array:
        """Draws `num` examples `[num, *shape]` of the labels `[num]`."""
        ...


def few_per_class(data: Dataset, num: int, seed: int = 0) -> Dataset:
    """Draws the same number of examples of each class, without replacement.

    Args:
        data: A dataset in memory, with labels.
        num: Number of examples of each class.
        seed: Seed of the choice.

    Raises:
        ValueError: The dataset streams or has no labels, or a class has fewer examples.
    """
    if data.arrays is None or data.spec.num_classes is None or "label" not in data.arrays:
        raise ValueError(
            f"{data.spec.name} is not a labelled set in memory: load one with in_memory=True"
        )
    order = np.random.default_rng(seed).permutation(len(data))
    label = data.arrays["label"][order]
    rows = [order[label == k][:num] for k in range(data.spec.num_classes)]
    fewest = min(map(len, rows))
    if num < 1 or fewest < num:
        raise ValueError(
            f"{num} examples of each label are requested, but the rarest label of "
            f"{data.spec.name}[{data.split}] has {fewest}: give 1 .. {fewest}"
        )
    chosen = np.sort(np.concatenate(rows))
    return dataclasses.replace(data, arrays={k: a[chosen] for k, a in data.arrays.items()})


def sample_dataset(
    model: ConditionalSampler,
    params: Params,
    key: Key,
    num: int,
    *,
    state: State | None = None,
    devices: int | None = None,
    **options: Any,
) -> Dataset:
    """Draws a labelled dataset from a model, with the same number of examples of each class.

    Args:
        model: A model of p(x | label).
        params: Its parameters.
        key: PRNG key.
        num: Number of examples of each class.
        state: The model's state.
        devices: Number of devices; None for all.
        **options: Options of the model's `sample`, such as `temperature` or `guidance`.

    Returns:
        Examples in the data's units, the classes in turn.

    Raises:
        ValueError: The model's data have no labels, or `num` is below 1.
    """
    classes = model.spec.num_classes
    if classes is None:
        raise ValueError(f"the model is of {model.spec.name}, which has no labels to draw by")
    if num < 1:
        raise ValueError(f"{num} examples of each label are requested: give at least 1")
    total = num * classes
    block = round_up_to_devices(min(total, _AT_ONCE), devices)

    def sample(learned: Any, key: Key) -> Array:
        params, state, label = learned
        return model.sample(params, key, block, label=label, state=state, **options)

    draw = sampler(sample, devices)
    label = np.arange(-(-total // block) * block) % classes
    x = [
        np.asarray(draw((params, state or {}, label[i : i + block]), jax.random.fold_in(key, i)))
        for i in range(0, total, block)
    ]
    arrays = {"x": np.concatenate(x)[:total], "label": label[:total].astype(np.int32)}
    return Dataset(model.spec, "drawn", arrays)


def augment(data: Dataset, more: Dataset, share: float = 0.5) -> Dataset:
    """Adds examples to a dataset, which is repeated until the added ones have a given share.

    Args:
        data: The real examples, `x` and `label`, in memory.
        more: The examples to add, all of them (`sample_dataset`).
        share: Share of `more` in the result, above 0 and below 1, as nearly as whole repetitions
            allow.

    Raises:
        ValueError: The datasets do not fit together, or the share is out of range.
    """
    there = [{} if part.arrays is None else part.arrays for part in (data, more)]
    alike = (data.spec.shape, data.spec.num_levels) == (more.spec.shape, more.spec.num_levels)
    if not alike or not all("label" in arrays for arrays in there):
        raise ValueError(
            f"{data.spec.name}, {data.spec.shape} and {data.spec.num_levels} levels, and "
            f"{more.spec.name}, {more.spec.shape} and {more.spec.num_levels} levels, do not go "
            "together: give sets in memory, with labels, of the same shape and levels"
        )
    if not 0.0 < share < 1.0:
        raise ValueError(f"share is {share}: give a number above 0 and below 1")
    times = max(1, round(len(more) * (1.0 - share) / share / len(data)))
    arrays = {
        name: np.concatenate([*[there[0][name]] * times, there[1][name]]) for name in ("x", "label")
    }
    return dataclasses.replace(data, arrays=arrays)


def paired_gain(before: Any, after: Any) -> Figure:
    """Mean difference between pairs, such as accuracies of one seed without a change and with it.

    Args:
        before: `[N]`, at least 2.
        after: `[N]`, in the same order.

    Returns:
        The mean of after - before, with Student's interval for pairs drawn anew; `num` is N.

    Raises:
        ValueError: The arrays are not pairs, or there are fewer than 2.
    """
    a, b = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ValueError(f"pairs are [N] and [N], N at least 2, got {a.shape} and {b.shape}")
    from scipy.stats import t

    gain = b - a
    width = t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
    mean = float(gain.mean())
    interval = (mean - float(width), mean + float(width))
    return Figure(mean, interval, len(gain))
