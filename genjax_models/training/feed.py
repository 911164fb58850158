"""Feeding the steps: the order of the examples, and the chunk of data that a dispatch takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, cast

import jax
import numpy as np

from genjax_models.core.types import Array, Batch, DataSpec

IN_MEMORY_STEPS = 256
"""Most steps of one dispatch where the data lie on the device."""
STREAMED_STEPS = 8
"""Most steps of one dispatch where each dispatch brings its own data."""


class Data(Protocol):
    """Interface of a dataset that models are trained on; `data.Dataset` is one."""

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        ...

    @property
    def arrays(self) -> Any:
        """All examples in memory, or None where they are read on demand."""
        ...

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def rows(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the examples of these indices, on the host."""
        ...

    def gather(self, arrays: Any, indices: Array) -> Batch:
        """Returns the examples of these indices from `arrays` on the device; pure."""
        ...


def batch_at(data: Data, seed: int, step: int, batch_size: int) -> dict[str, np.ndarray]:
    """Returns the batch of a step on the host: a function of the data, the seed and the step.

    Data with an attribute `augment` that is not None (`data.Dataset`) are asked for their
    `training_rows(indices, seed, step)`.
    """
    indices = batch_indices(seed, step, len(data), batch_size)
    if is_augmented(data):
        return cast(Any, data).training_rows(indices, seed, step)
    return data.rows(indices)


def is_augmented(data: Data) -> bool:
    """Whether training changes the examples by chance, which is done on the host."""
    return getattr(data, "augment", None) is not None


def batch_indices(seed: int, step: int, num_examples: int, batch_size: int) -> np.ndarray:
    """Returns the indices of one step's batch: a pure function of the seed and the step.

    Each epoch visits the examples in an order of its own. The examples left at its end, too few
    for a batch, are left out of that epoch.

    Args:
        seed: Seed of the run.
        step: Step, from 0.
        num_examples: Number of examples of the dataset.
        batch_size: Number of examples a step, at most `num_examples`.

    Returns:
        int32 `[batch_size]`, without repetition.
    """
    epoch, batch = divmod(step, num_examples // batch_size)
    first = batch * batch_size
    return _epoch_order(seed, epoch, num_examples)[first : first + batch_size]


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(num_examples)
    order = order.astype(np.int32)
    order.flags.writeable = False  # the cache returns the same array each time
    return order


class StepChunk(NamedTuple):
    """A chunk of steps: what one dispatch takes.

    Attributes:
        arrays: Data on the devices.
        indices: Rows of `arrays` for each step `[K, B]`; those beyond `num` steps are not read.
        num: Number of steps.
    """

    arrays: Any
    indices: np.ndarray
    num: int


class Feed(NamedTuple):
    """Source of the chunks of a run.

    Attributes:
        gather: `(arrays, indices [B]) -> batch`, pure.
        next_chunk: `(step, most) -> StepChunk` with at most `most` steps, the first being `step`.
    """

    gather: Callable[[Any, Array], Batch]
    next_chunk: Callable[[int, int], StepChunk]


def make_feed(
    data: Data,
    put: Callable[[Any], Any],
    check: Callable[[Mapping[str, np.ndarray]], None],
    seed: int,
    batch_size: int,
    start: int,
    steps: int,
    workers: int,
) -> Feed:
    """Returns the feed of a run: from the device if the data are in memory as they are trained on.

    Else, if they are read on demand or augmented, through Grain.

    Args:
        data: Dataset.
        put: Places arrays on the devices.
        check: Raises for a bad batch on the host; called for each batch that is streamed.
        seed: Seed of the order of the examples.
        batch_size: Number of examples a step.
        start: First step to come.
        steps: Number of steps of the whole run.
        workers: Number of threads that form batches ahead of time; 0 forms each when it is due.
    """
    if data.arrays is None or is_augmented(data):
        return _streamed(data, put, check, seed, batch_size, start, steps, workers)
    arrays = put(data.arrays)

    def next_chunk(step: int, most: int) -> StepChunk:
        num = min(most, IN_MEMORY_STEPS)
        indices = np.zeros((IN_MEMORY_STEPS, batch_size), np.int32)
        for i in range(num):
            indices[i] = batch_indices(seed, step + i, len(data), batch_size)
        return StepChunk(arrays, indices, num)

    return Feed(data.gather, next_chunk)


def _streamed(
    data: Data,
    put: Callable[[Any], Any],
    check: Callable[[Mapping[str, np.ndarray]], None],
    seed: int,
    batch_size: int,
    start: int,
    steps: int,
    workers: int,
) -> Feed:
    batches = _read_ahead(data, seed, batch_size, start, steps, workers)
    every_row = np.arange(STREAMED_STEPS * batch_size, dtype=np.int32)
    indices = every_row.reshape(STREAMED_STEPS, batch_size)

    def next_chunk(step: int, most: int) -> StepChunk:
        del step  # the batches come in order
        num = min(most, STREAMED_STEPS)
        taken = [next(batches) for _ in range(num)]
        for batch in taken:
            check(batch)
        taken += [taken[0]] * (STREAMED_STEPS - num)  # the shape stays, so nothing recompiles
        arrays = jax.tree.map(lambda *parts: np.concatenate(parts), *taken)
        return StepChunk(put(arrays), indices, num)

    return Feed(_take_rows, next_chunk)


def _take_rows(arrays: Any, indices: Array) -> Batch:
    return jax.tree.map(lambda a: a[indices], arrays)


def _read_ahead(
    data: Data, seed: int, batch_size: int, start: int, steps: int, workers: int
) -> Iterator[dict[str, np.ndarray]]:
    """Iterates over the batches from step `start` on; threads read them ahead of time."""
    import grain  # two seconds of importing, for those who stream

    def read(step: int) -> dict[str, np.ndarray]:
        return batch_at(data, seed, int(step), batch_size)

    ahead = grain.MapDataset.range(start, steps).map(read)
    buffered = 2 * STREAMED_STEPS if workers else 0
    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=buffered)
    return iter(ahead.to_iter_dataset(options))
