"""A function of single examples over a whole data set: what evaluation and applications need."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np

from genjax_models.core import random
from genjax_models.core.conditions import check_batch
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State
from genjax_models.training.checks import check_spec
from genjax_models.training.devices import over_examples

Measure: TypeAlias = Callable[[Any, Batch], Mapping[str, Array]]
"""`((whole, key), batch) -> name -> [B, ...]`: arrays whose first axis is the examples, of which
each is of its own example and of noise that is keyed by example (`core.random`) alone."""

Metric: TypeAlias = Callable[[Params, State, Batch, Key], Array]
"""`(params, state, batch, key) -> [B]`: one number an example."""


class Examples(Protocol):
    """What is asked of a data set (`data.Dataset` is one)."""

    @property
    def spec(self) -> DataSpec:
        """What one example is."""
        ...

    def batches(self, batch_size: int) -> Iterator[Mapping[str, np.ndarray]]:
        """All examples in order; the last batch may be short."""
        ...


def together(metrics: Mapping[str, Metric]) -> Measure:
    """All metrics in one pass, with `whole` the parameters and the state.

    Of the same metrics it is the same function, which JAX need not compile again.
    """
    return _together(*metrics.items())


@functools.lru_cache(maxsize=64)
def _together(*metrics: tuple[str, Metric]) -> Measure:
    def measure(whole: tuple[tuple[Params, State], Key], batch: Batch) -> dict[str, Array]:
        (params, state), key = whole
        return {name: metric(params, state, batch, key) for name, metric in metrics}

    return measure


def whole_batches(batch_size: int, devices: int | None) -> int:
    """The batch size, rounded up to a multiple of the devices."""
    size = devices or jax.device_count()
    return -(-batch_size // size) * size


@functools.lru_cache(maxsize=64)
def _from_row(measure: Measure) -> Callable[..., Mapping[str, Array]]:
    def measured(whole: tuple[Any, Key, Array], batch: Batch) -> Mapping[str, Array]:
        everywhere, key, row = whole
        return measure((everywhere, random.from_row(key, row)), batch)

    return measured


def of_examples(
    model: Any,
    measure: Measure,
    *,
    batch_size: int = 256,
    devices: int | None = None,
    seen: Callable[[Mapping[str, np.ndarray]], None] = lambda batch: None,
) -> Callable[[Any, Key, Examples], dict[str, np.ndarray]]:
    """What a pure function says of every example of a data set, in order.

    Its noise is of the key and of the example's number in the data set: whatever the batch size and
    the number of devices, what is said of an example is the same, to rounding.

    Args:
        model: The model whose data the examples are to be.
        measure: `((whole, key), batch) -> name -> [B, ...]`; `whole` is what every batch is
            measured with, parameters and state, say, and `key` the batch's own.
        batch_size: Examples at a time.
        devices: How many devices; all where None.
        seen: Told each batch when it is measured, without what fills it up.

    Returns:
        `(whole, key, data) -> name -> [N, ...]`, compiled at its first call and for all others. It
        raises a ValueError where there is no example, where the data set is not of the model's spec
        in what it says or in what it holds, or `measure` does not give a row for each.
    """
    batch_size = whole_batches(batch_size, devices)
    over = over_examples(_from_row(measure), devices)

    def take(whole: Any, key: Key, data: Examples) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {}
        check_spec(data.spec, model.spec)
        row = 0
        for batch in data.batches(batch_size):
            num = len(batch["x"])
            if num == 0:
                continue
            check_batch(model, batch)
            # A short last batch is filled up, so that nothing is compiled for it.
            rows = np.minimum(np.arange(batch_size), num - 1)
            filled = {name: np.asarray(a)[rows] for name, a in batch.items()}
            for name, values in over((whole, key, np.int32(row)), filled).items():
                if values.shape[:1] != (batch_size,):
                    raise ValueError(
                        f"the metric {name} gave an array of shape {values.shape} for a batch of "
                        f"{batch_size} examples: let it give a number for each of them [B]"
                    )
                parts.setdefault(name, []).append(np.asarray(values)[:num])
            seen(batch)
            row += num
        if not row:
            raise ValueError(f"{data.spec.name} has no example: give a data set of at least one")
        return {name: np.concatenate(values) for name, values in parts.items()}

    return take
