"""What `fit` refuses, in one line each."""

from __future__ import annotations

from genjax_models.core.types import DataSpec


def check_positive(**values: int) -> None:
    """Raise unless every value is a whole number of at least 1.

    Raises:
        TypeError: A value is not an integer.
        ValueError: A value is below 1.
    """
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(
                f"{name} is {value!r}, a {type(value).__name__}: give a whole number of at least 1"
            )
        if value < 1:
            raise ValueError(f"{name} is {value}: give a whole number of at least 1")


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
        ValueError: It is not.
    """
    if not 0.0 <= ema < 1.0:
        raise ValueError(f"ema is {ema}: give a decay in [0, 1); 0 keeps no average")
