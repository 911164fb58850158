"""Which examples a step sees: a pure function of the seed and the step."""

from __future__ import annotations

import functools

import numpy as np


def batch_indices(seed: int, step: int, num_examples: int, batch_size: int) -> np.ndarray:
    """Indices of the examples of one step's batch.

    An epoch visits its examples in an order of its own; what is left over at its end, too few for
    a batch, is left out of that epoch.

    Args:
        seed: The run's seed.
        step: The step, from 0.
        num_examples: Size of the data set.
        batch_size: At most `num_examples`.

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
    order.flags.writeable = False  # the cache hands out the same array
    return order
