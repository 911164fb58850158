"""What each entry of a code does, seen on one example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genjax_models.core import walks
from genjax_models.core.protocols import Representation
from genjax_models.core.types import Array, Params


def traverse(
    model: Representation,
    params: Params,
    x: Array,
    values: Sequence[float] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0),
    **kwargs: Any,
) -> Array:
    """One example's code with one entry at a time set to each of some values.

    Args:
        model: A model with codes `[B, d]` of real numbers.
        params: Its parameters.
        x: One example `[1, *shape]`.
        values: What each entry is set to.
        **kwargs: Handed to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[d, len(values), *shape]`, in the data's units.

    Raises:
        ValueError: There is not one example, or its code is not a vector of real numbers.
    """
    if len(x) != 1:
        raise ValueError(
            f"traverse walks from the code of one example, but got {len(x)}: give x[:1], or use "
            "applications.editing.traverse"
        )
    return walks.traverse(model, params, x, values, **kwargs)[0]
