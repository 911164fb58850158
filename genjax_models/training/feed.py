"""What a dispatch is fed: data on the device, and which of them each step takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from genjax_models.core.types import Array, Batch, DataSpec
from genjax_models.training.order import batch_indices

IN_MEMORY_STEPS = 256
"""The most steps of one dispatch, where the data lie on the device."""
STREAMED_STEPS = 8
"""The most steps of one dispatch, where each dispatch is handed its own data."""


class Data(Protocol):
    """What training asks of a data set (`data.Dataset` is one)."""

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        ...

    @property
    def arrays(self) -> Any:
        """All examples in memory, or None where they are read when asked for."""
        ...

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def rows(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples of those numbers, on the host."""
        ...

    def gather(self, arrays: Any, indices: Array) -> Batch:
        """The examples of those numbers, from `arrays` on the device; pure."""
        ...


class Portion(NamedTuple):
    """What one dispatch takes.

    Attributes:
        arrays: Data on the devices.
        indices: The rows that each step takes `[K, B]`; those beyond `num` are not looked at.
        num: Number of steps.
    """

    arrays: Any
    indices: np.ndarray
    num: int


class Feed(NamedTuple):
    """Where a run's data come from.

    Attributes:
        gather: `(arrays, indices [B]) -> batch`, pure.
        portion: `(step, most) -> Portion` for the steps from `step` on, `most` of them at most.
    """

    gather: Callable[[Any, Array], Batch]
    portion: Callable[[int, int], Portion]


def make_feed(
    data: Data,
    put: Callable[[Any], Any],
    check: Callable[[Mapping[str, np.ndarray]], None],
    seed: int,
    batch_size: int,
    start: int,
    steps: int,
) -> Feed:
    """The feed of a run: from the device where the data are in memory, else read ahead by Grain.

    Args:
        data: The data set.
        put: Places arrays on the devices.
        check: Refuses a batch on the host; asked of each that is streamed.
        seed: What the order is a function of, with the step.
        batch_size: Examples a step.
        start: The first step to come.
        steps: The run's last step.
    """
    if data.arrays is None:
        return _streamed(data, put, check, seed, batch_size, start, steps)
    arrays = put(data.arrays)

    def portion(step: int, most: int) -> Portion:
        num = min(most, IN_MEMORY_STEPS)
        indices = np.zeros((IN_MEMORY_STEPS, batch_size), np.int32)
        for i in range(num):
            indices[i] = batch_indices(seed, step + i, len(data), batch_size)
        return Portion(arrays, indices, num)

    return Feed(data.gather, portion)


def _streamed(
    data: Data,
    put: Callable[[Any], Any],
    check: Callable[[Mapping[str, np.ndarray]], None],
    seed: int,
    batch_size: int,
    start: int,
    steps: int,
) -> Feed:
    batches = _read_ahead(data, seed, batch_size, start, steps)
    every_row = np.arange(STREAMED_STEPS * batch_size, dtype=np.int32)
    indices = every_row.reshape(STREAMED_STEPS, batch_size)

    def portion(step: int, most: int) -> Portion:
        del step  # the batches come in order
        num = min(most, STREAMED_STEPS)
        taken = [next(batches) for _ in range(num)]
        for batch in taken:
            check(batch)
        taken += [taken[0]] * (STREAMED_STEPS - num)  # the shape stays, so nothing recompiles
        arrays = jax.tree.map(lambda *parts: np.concatenate(parts), *taken)
        return Portion(put(arrays), indices, num)

    return Feed(_take_rows, portion)


def _take_rows(arrays: Any, indices: Array) -> Batch:
    return jax.tree.map(lambda a: a[indices], arrays)


def _read_ahead(
    data: Data, seed: int, batch_size: int, start: int, steps: int
) -> Iterator[dict[str, np.ndarray]]:
    """The batches of the steps from `start` on, read by threads before they are asked for."""
    import grain  # two seconds of importing, for those who stream

    def read(step: int) -> dict[str, np.ndarray]:
        return data.rows(batch_indices(seed, int(step), len(data), batch_size))

    ahead = grain.MapDataset.range(start, steps).map(read)
    options = grain.ReadOptions(num_threads=4, prefetch_buffer_size=2 * STREAMED_STEPS)
    return iter(ahead.to_iter_dataset(options))
