"""Checks of the images to translate, shared by the two models of image translation."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from genjax_models.core.types import Array, Batch, DataSpec


def check_source(batch: Batch, name: str, spec: DataSpec, model: str, mend: str) -> None:
    """Checks an entry of the batch for examples `[B, *spec.shape]`.

    Args:
        batch: The batch.
        name: The entry's name.
        spec: Description of one of its examples.
        model: The model's name, to begin the message.
        mend: Remedy for a batch without the entry, to end the message.

    Raises:
        ValueError: The entry is missing, or its examples have another shape.
    """
    if name not in batch:
        raise ValueError(
            f"{model} needs a batch with x and {name}, but it has {', '.join(batch)}: {mend}"
        )
    if batch[name].shape[1:] != spec.shape:
        raise ValueError(
            f"{model} is built for {name} of shape {spec.shape}, but it was given "
            f"{batch[name].shape[1:]}: build it with a spec of that shape, or resize the data"
        )


def broadcast_source(source: Any, num: int, spec: DataSpec, name: str) -> Array:
    """Broadcasts the examples to translate to `[num, *spec.shape]`.

    Args:
        source: `num` examples, or one for all.
        num: Number of samples.
        spec: Description of one example.
        name: The keyword argument's name, for messages.

    Raises:
        ValueError: No examples are given, or their number or shape is wrong.
    """
    if source is None:
        raise ValueError(
            f"the model translates examples, and none were given: pass {name}=... of shape "
            f"{(num, *spec.shape)}"
        )
    source = jnp.asarray(source)
    if source.shape not in (spec.shape, (num, *spec.shape)):
        raise ValueError(
            f"{num} samples are asked for, but {name} has shape {source.shape}: give "
            f"{(num, *spec.shape)}, or {spec.shape} for all"
        )
    return jnp.broadcast_to(source, (num, *spec.shape))
