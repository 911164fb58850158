"""What examples are conditioned on: checks, and labels to vectors."""

from __future__ import annotations

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
