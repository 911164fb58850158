"""Checks of the arguments of `fit`: what cannot be right is refused in one line."""

from __future__ import annotations

import json
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from genjax_models.core.conditions import check_batch_labels, check_values
from genjax_models.core.types import DataSpec


def check_positive(**values: int) -> None:
    """Raises unless each value is a whole number of at least 1.

    Raises:
        TypeError: A value is not an integer.
        ValueError: A value is below 1.
    """
    for name, value in values.items():
        _check_integer(name, value, at_least=1)


def check_not_negative(**values: int) -> None:
    """Raises unless each value is a whole number of at least 0.

    Raises:
        TypeError: A value is not an integer.
        ValueError: A value is below 0.
    """
    for name, value in values.items():
        _check_integer(name, value, at_least=0)


def check_seed(seed: int) -> None:
    """Raises unless the seed is a whole number of 32 bits.

    Raises:
        TypeError: The seed is not an integer.
        ValueError: The seed is negative, or has more than 32 bits.
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


def check_model(model: Any) -> None:
    """Raises unless it is a model, and not a class or a network.

    Raises:
        TypeError: It is not a model.
    """
    if isinstance(model, type):
        raise TypeError(
            f"the model is the class {model.__name__}: build one, {model.__name__}(...)"
        )
    if not hasattr(model, "players") or not hasattr(model, "init"):
        raise TypeError(
            f"the model is a {type(model).__name__}, which has no players: give a model of this "
            "library, such as gm.VAE(...), or one that has the methods of core.protocols.Model"
        )


def check_dataset(data: Any) -> None:
    """Raises unless it is a dataset.

    Raises:
        TypeError: It is not a dataset.
    """
    if hasattr(data, "spec") and hasattr(data, "rows"):
        return
    given = (
        f"an array of shape {data.shape}" if hasattr(data, "shape") else f"{type(data).__name__}"
    )
    made = 'gm.load("digits") or gm.load("folder")'
    made = made if isinstance(data, str) else "gm.Dataset.from_arrays(x)"
    raise TypeError(f"the data are {given}, and no dataset: give {made}")


def check_losses(losses: Any, players: Sequence[str]) -> None:
    """Raises unless losses are given by the names of players.

    Raises:
        TypeError: `losses` is not a mapping, or a value is not a loss.
    """
    if losses is None:
        return
    example = f'give losses={{"{players[0]}": loss}}'
    if not isinstance(losses, Mapping):
        raise TypeError(
            f"losses is a {type(losses).__name__}, and should say which player each loss is of: "
            f"{example} (the players are {', '.join(players)})"
        )
    for name, loss in losses.items():
        # A name that is no player's is refused where losses and players meet.
        if name in players and (not callable(loss) or not hasattr(loss, "terms")):
            raise TypeError(
                f"the loss of {name!r} is a {type(loss).__name__}: give a Loss, such as "
                f"model.loss.weigh(...); terms of your own are added by model.loss.add(name=term)"
            )


def check_spec(given: DataSpec, wanted: DataSpec) -> None:
    """Raises unless a model's `spec` describes the data.

    Raises:
        ValueError: The shapes or the levels differ.
    """
    if (given.shape, given.num_levels) != (wanted.shape, wanted.num_levels):
        raise ValueError(
            f"{given.name} has examples of shape {given.shape} with {given.num_levels} levels, but "
            f"the model is of {wanted.name}, shape {wanted.shape} with {wanted.num_levels} levels: "
            "give such data (gm.data.alike), or build the model with spec=data.spec"
        )


def check_arrays(model: Any, arrays: Mapping[str, Any]) -> None:
    """Raises unless data in memory have the model's levels and classes, which no step checks.

    Raises:
        ValueError: A value or a label is out of range.
    """
    check_values(arrays["x"], model.spec, "x")
    check_batch_labels(model, arrays)


def check_batch_size(batch_size: int, num_examples: int, num_devices: int, accumulate: int) -> None:
    """Raises unless there are as many examples, and the batch can be split evenly.

    Raises:
        ValueError: The batch is larger than the dataset, or does not split evenly.
    """
    if batch_size > num_examples:
        raise ValueError(
            f"batch_size={batch_size} is more than the dataset's {num_examples} examples: give at"
            f" most {num_examples}"
        )
    parts = num_devices * accumulate
    if batch_size % parts:
        raise ValueError(
            f"batch_size={batch_size} is no multiple of {parts}, {num_devices} devices times"
            f" accumulate={accumulate}: give one"
        )


def check_ema(ema: float) -> None:
    """Raises unless the decay of the average is in [0, 1).

    Raises:
        TypeError: The decay is not a number.
        ValueError: The decay is out of range.
    """
    wanted = "give a decay in [0, 1); 0 keeps no average"
    if not isinstance(ema, numbers.Real) or isinstance(ema, bool):
        raise TypeError(f"ema is {ema!r}, a {type(ema).__name__}: {wanted}")
    if not 0.0 <= ema < 1.0:
        raise ValueError(f"ema is {ema}: {wanted}")


def check_hooks(hooks: Sequence[Any]) -> None:
    """Raises unless hooks are a sequence of functions.

    Raises:
        TypeError: They are not, or the period of one is not a whole number.
        ValueError: The period of one is below 1.
    """
    if callable(hooks) or not all(callable(hook) for hook in hooks):
        raise TypeError(f"hooks are {hooks!r}: give a list of functions (state, metrics) -> None")
    for hook in hooks:
        check_positive(every=getattr(hook, "every", 1))


def check_config(config: Mapping[str, Any] | None) -> None:
    """Raises unless the configuration can be written as JSON.

    Raises:
        TypeError: It cannot be written as JSON.
    """
    try:
        json.dumps(config)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"config cannot be stored with checkpoints ({error}): give numbers, texts, lists and "
            "mappings from texts"
        ) from None
