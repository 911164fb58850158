"""What examples are conditioned on: checks, and labels to vectors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from genjax_models.core.types import Array, DataSpec, Key


def check_examples(x: Array, spec: DataSpec) -> None:
    """Raise unless `x` is `[B, *spec.shape]`.

    Raises:
        ValueError: The examples have another shape.
    """
    if x.shape[1:] != spec.shape:
        raise ValueError(
            f"the model is of {spec.name}, examples of shape {spec.shape}, but it was given "
            f"{x.shape[1:]}: build the model with spec=data.spec"
        )


def check_labels(label: Array | int, num_classes: int) -> None:
    """Raise unless every label is in 0 .. num_classes - 1.

    Labels that are being traced are taken as they are: a compiled function looks at no values. A
    label out of the range would be no class at all there.

    Raises:
        ValueError: One is out of the range.
    """
    if isinstance(label, Tracer) or not getattr(label, "is_fully_addressable", True):
        return
    labels = np.asarray(label)
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if wrong.size:
        raise ValueError(
            f"label {wrong[0]} is given, but the model is conditional on one of {num_classes} "
            f"labels: give labels in 0 .. {num_classes - 1}"
        )


def label_context(label: Array | None, num_classes: int | None) -> Array | None:
    """Labels as the context of a network.

    Args:
        label: Labels in 0 .. num_classes - 1 `[B]`.
        num_classes: Number of labels; None for an unconditional model, which ignores labels.

    Returns:
        One-hot vectors `[B, num_classes]`, or None for an unconditional model.

    Raises:
        ValueError: A conditional model is given no labels, or one that is out of the range.
    """
    if num_classes is None:
        return None
    if label is None:
        raise ValueError(
            f"the model is conditional on one of {num_classes} labels, and none was given: pass "
            "label=[...], one an example"
        )
    check_labels(label, num_classes)
    return jax.nn.one_hot(label, num_classes)


def labels_to_sample(
    label: Array | int | None, num_classes: int | None, num: int, key: Key
) -> Array | None:
    """The labels `[num]` to sample for: those given, one for all, or uniform ones.

    Raises:
        ValueError: A label is out of the range.
    """
    if num_classes is None:
        return None
    if label is None:
        return jax.random.randint(key, (num,), 0, num_classes)
    check_labels(label, num_classes)
    return jnp.broadcast_to(jnp.asarray(label), (num,))


def given_entries(given: Any, mask: Any, num: int, spec: DataSpec) -> tuple[Array, Array] | None:
    """What is given to `sample`, as whole examples and a mask `[num, *shape]`; None if nothing is.

    Raises:
        ValueError: A prompt longer than the examples, values that are not the data's, wrong shapes.
    """
    if given is None:
        if mask is not None:
            raise ValueError("a mask says which entries are given, but given=... is missing")
        return None
    given = jnp.asarray(given)
    check_values(given, spec, "given")
    if mask is None:
        given, mask = _prompt(given, num, spec)
    for name, a in (("given", given), ("mask", jnp.asarray(mask))):
        if a.shape not in (spec.shape, (num, *spec.shape)):
            raise ValueError(
                f"{name} has shape {a.shape}, but {num} examples of {spec.name} are asked for: it "
                f"must be {spec.shape} or {(num, *spec.shape)}"
            )
    shape = (num, *spec.shape)
    return jnp.broadcast_to(given, shape), jnp.broadcast_to(jnp.asarray(mask, bool), shape)


def _prompt(given: Array, num: int, spec: DataSpec) -> tuple[Array, Array]:
    """Tokens `[num, P]` or `[P]` filled up to examples, and the mask `[T]` of the first P."""
    if len(spec.shape) != 1 or given.ndim not in (1, 2):
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, and given has shape {given.shape}: "
            "say with mask=... which of their entries are given"
        )
    (length,), size = spec.shape, given.shape[-1]
    if size > length:
        raise ValueError(
            f"the prompt has {size} entries, and an example of {spec.name} has {length}: shorten it"
        )
    filled = jnp.pad(given, [(0, 0)] * (given.ndim - 1) + [(0, length - size)])
    return filled, jnp.arange(length) < size


def check_values(given: Any, spec: DataSpec, what: str) -> None:
    """Raise unless every value is one of the data's; those that are being traced are taken.

    Raises:
        ValueError: One is not.
    """
    if spec.levels is None or isinstance(given, Tracer) or given.size == 0:
        return
    low, high = int(np.min(given)), int(np.max(given))
    if low < 0 or high >= spec.levels:
        raise ValueError(
            f"{what} holds {low if low < 0 else high}, but {spec.name} has values 0 .. "
            f"{spec.levels - 1}"
        )
