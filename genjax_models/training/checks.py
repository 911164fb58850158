"""What `fit` refuses, in one line each."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from genjax_models.core.types import DataSpec


def check_positive(**values: int) -> None:
    """Raise unless every value is a whole number of at least 1.

    Raises:
        TypeError: A value is not an integer.
        ValueError: A value is below 1.
    """
    for name, value in values.items():
        _check_integer(name, value, at_least=1)


def check_seed(seed: int) -> None:
    """Raise unless the seed is one that keys and data orders can be made of.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is negative, or has more than 32 bits.
    """
    _check_integer("seed", seed, at_least=0)
    if seed >= 2**32:
        raise ValueError(f"seed is {seed}: give a whole number below 2**32")


def _check_integer(name: str, value: int, at_least: int) -> None:
    wanted = f"give a whole number of at least {at_least}"
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, a {type(value).__name__}: {wanted}")
    if value < at_least:
        raise ValueError(f"{name} is {value}: {wanted}")


def check_spec(given: DataSpec, wanted: DataSpec) -> None:
    """Raise unless a model's `spec` describes the data.

    Raises:
        ValueError: The shapes or the levels differ.
    """
    if (given.shape, given.levels) != (wanted.shape, wanted.levels):
        raise ValueError(
            f"{given.name} has examples of shape {given.shape} with {given.levels} levels, but the "
            f"model is of {wanted.name}, shape {wanted.shape} with {wanted.levels} levels: build "
            "the model with spec=data.spec"
        )


def check_batch_size(batch_size: int, num_examples: int, num_devices: int, accumulate: int) -> None:
    """Raise unless batches of this size can be had and split.

    Raises:
        ValueError: The batch is larger than the data set, or does not split evenly.
    """
    if batch_size > num_examples:
        raise ValueError(
            f"batch_size is {batch_size}, but the data set has {num_examples} examples: give at "
            f"most {num_examples}"
        )
    parts = num_devices * accumulate
    if batch_size % parts:
        raise ValueError(
            f"batch_size is {batch_size}, which {num_devices} devices times accumulate="
            f"{accumulate} do not divide: give a multiple of {parts}"
        )


def check_ema(ema: float) -> None:
    """Raise unless the average's decay is in [0, 1).

    Raises:
        TypeError: It is no number.
        ValueError: It is out of the range.
    """
    wanted = "give a decay in [0, 1); 0 keeps no average"
    if not isinstance(ema, numbers.Real) or isinstance(ema, bool):
        raise TypeError(f"ema is {ema!r}, a {type(ema).__name__}: {wanted}")
    if not 0.0 <= ema < 1.0:
        raise ValueError(f"ema is {ema}: {wanted}")


def check_hooks(hooks: Sequence[Any]) -> None:
    """Raise unless hooks are a sequence of functions.

    Raises:
        TypeError: They are not.
    """
    if callable(hooks) or not all(callable(hook) for hook in hooks):
        raise TypeError(f"hooks are {hooks!r}: give a list of functions (state, metrics) -> None")
    for hook in hooks:
        check_positive(every=getattr(hook, "every", 1))


def check_config(config: Mapping[str, Any] | None) -> None:
    """Raise unless the configuration can be written as JSON.

    Raises:
        TypeError: It cannot.
    """
    try:
        json.dumps(config)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"config cannot be stored with checkpoints ({error}): give numbers, texts, lists and "
            "mappings from texts"
        ) from None
