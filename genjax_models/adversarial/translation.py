"""Checks of what models of image translation are given."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from genjax_models.core.types import Array, Batch, DataSpec


def check_source(batch: Batch, name: str, spec: DataSpec, model: str, mend: str) -> None:
    """Raise unless the batch has examples `[B, *spec.shape]` under that name.

    Args:
        batch: The batch.
        name: The entry.
        spec: What one of its examples is.
        model: Who needs it, to begin a sentence.
        mend: What to do where there is none.

    Raises:
        ValueError: The entry lacks, or its examples have another shape.
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
    """The examples to translate, `[num, *spec.shape]`.

    Args:
        source: As many examples as are asked for, or one for all.
        num: Number of samples.
        spec: Spec of one of them.
        name: The keyword under which they are given.

    Raises:
        ValueError: None are given, or not so many, or of another shape.
    """
    if source is None:
        raise ValueError(
            f"the model translates what it is given, and nothing was: pass {name}=... of shape "
            f"{(num, *spec.shape)}"
        )
    source = jnp.asarray(source)
    if source.shape not in (spec.shape, (num, *spec.shape)):
        raise ValueError(
            f"{num} samples are asked for, but {name} has shape {source.shape}: give "
            f"{(num, *spec.shape)}, or {spec.shape} for all"
        )
    return jnp.broadcast_to(source, (num, *spec.shape))
