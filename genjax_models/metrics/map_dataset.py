"""`map_dataset`: a function of single examples over a whole dataset, in order, on all devices."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np

from genjax_models.core import random
from genjax_models.core.conditions import check_batch
from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State
from genjax_models.training.checks import check_spec
from genjax_models.training.devices import over_examples

ExampleFn: TypeAlias = Callable[[Any, Batch], Mapping[str, Array]]
"""`((constants, key), batch) -> name -> [B, ...]`: a function of each example alone, with noise
that is keyed by example (`core.random`)."""

Metric: TypeAlias = Callable[[Params, State, Batch, Key], Array]
"""`(params, state, batch, key) -> [B]`: one number an example."""


class Examples(Protocol):
    """The part of a dataset that is read here (`data.Dataset` has it)."""

    @property
    def spec(self) -> DataSpec:
        """Specification of one example."""
        ...

    def batches(self, batch_size: int) -> Iterator[Mapping[str, np.ndarray]]:
        """All examples in order; the last batch may be short."""
        ...


def map_dataset(
    model: Any,
    fn: ExampleFn,
    *,
    batch_size: int = 256,
    devices: int | None = None,
    on_batch: Callable[[Mapping[str, np.ndarray]], None] = lambda batch: None,
) -> Callable[[Any, Key, Examples], dict[str, np.ndarray]]:
    """Maps a pure function over every example of a dataset, in order.

    Noise depends on the key and the example's number in the dataset alone: for any batch size and
    number of devices, an example's result is the same up to rounding.

    Args:
        model: A model of the examples.
        fn: `((constants, key), batch) -> name -> [B, ...]`. The constants are the same for every
            batch, such as parameters and state; the key is the batch's own.
        batch_size: Number of examples at a time.
        devices: Number of devices; None for all.
        on_batch: Called with each batch when it is done, without its padding.

    Returns:
        `apply(constants, key, data) -> name -> [N, ...]`, compiled at its first call for all
        others. It raises a ValueError if there is no example, if the dataset is not of the model's
        spec in what it declares or holds, or if `fn` does not return a row for each example.
    """
    batch_size = round_up_to_devices(batch_size, devices)
    over = over_examples(_from_row(fn), devices)

    def apply(constants: Any, key: Key, data: Examples) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {}
        check_spec(data.spec, model.spec)
        row = 0
        for batch in data.batches(batch_size):
            num = len(batch["x"])
            if num == 0:
                continue
            check_batch(model, batch)
            # A short last batch is padded, so that nothing is compiled for it.
            rows = np.minimum(np.arange(batch_size), num - 1)
            padded = {name: np.asarray(a)[rows] for name, a in batch.items()}
            for name, values in over((constants, key, np.int32(row)), padded).items():
                if values.shape[:1] != (batch_size,):
                    raise ValueError(
                        f"the metric {name} gave an array of shape {values.shape} for a batch of "
                        f"{batch_size} examples: let it give a number for each of them [B]"
                    )
                parts.setdefault(name, []).append(np.asarray(values)[:num])
            on_batch(batch)
            row += num
        if not row:
            raise ValueError(f"{data.spec.name} has no example: give a data set of at least one")
        return {name: np.concatenate(values) for name, values in parts.items()}

    return apply


def combine(metrics: Mapping[str, Metric]) -> ExampleFn:
    """Combines metrics into one function of examples; its constants are `(params, state)`.

    Equal metrics give the same function, which JAX need not compile again.
    """
    return _combine(*metrics.items())


@functools.lru_cache(maxsize=64)
def _combine(*metrics: tuple[str, Metric]) -> ExampleFn:
    def fn(constants: tuple[tuple[Params, State], Key], batch: Batch) -> dict[str, Array]:
        (params, state), key = constants
        return {name: metric(params, state, batch, key) for name, metric in metrics}

    return fn


def round_up_to_devices(batch_size: int, devices: int | None) -> int:
    """The batch size, rounded up to a multiple of the number of devices."""
    size = devices or jax.device_count()
    return -(-batch_size // size) * size


@functools.lru_cache(maxsize=64)
def _from_row(fn: ExampleFn) -> Callable[..., Mapping[str, Array]]:
    def shifted(constants: tuple[Any, Key, Array], batch: Batch) -> Mapping[str, Array]:
        everywhere, key, row = constants
        return fn((everywhere, random.from_row(key, row)), batch)

    return shifted


@contextlib.contextmanager
def progress(total: int | None, description: str) -> Iterator[Callable[..., None]]:
    """Shows a progress bar while the context lasts, if there is a terminal.

    `with progress(9, "evaluating") as advance: ...`, where `advance()` is called nine times, or
    `advance(3)` three times.

    Args:
        total: Number of steps; None if unknown.
        description: Text beside the bar.
    """
    if jax.process_index() != 0 or not sys.stderr.isatty():
        yield lambda num=1: None
        return
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(bar_width=32))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(description, total=total)
    with contextlib.ExitStack() as stack:
        # No bar inside another one, such as that of the training.
        with contextlib.suppress(LiveError):
            stack.enter_context(bar)
        yield lambda num=1: bar.advance(task, num)
