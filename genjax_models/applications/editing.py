"""Editing: examples changed by a trained model, each edit called as `edit(model, params, x, key)`.

Walks in the space of codes ask for `encode` and `decode` (`core.protocols.Representation`):
`interpolate`, `traverse`, `shift`. What fills in the unknown stands in `restoring`: `complete` and
`super_resolve`. All take what the model is conditioned on, and its `state`, by keyword, and give
examples in the data's units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from genjax_models.core import walks
from genjax_models.core.protocols import Representation
from genjax_models.core.types import Array, Key, Params


def interpolate(
    model: Representation,
    params: Params,
    x: Array,
    key: Key | None = None,
    *,
    to: Array,
    num: int = 8,
    **condition: Any,
) -> Array:
    """Examples along the straight line between two codes.

    Args:
        model: A model with real-valued codes.
        params: Its parameters.
        x: Where the lines start `[B, *shape]`.
        key: Of no account: nothing is drawn.
        to: Where they end `[B, *shape]`.
        num: Number of points, both ends included; at least 2.
        **condition: Handed to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, num, *shape]`.

    Raises:
        ValueError: `num` is below 2, or the codes are integers.
    """
    del key
    return walks.interpolate(model, params, x, to, num, **condition)


def traverse(
    model: Representation,
    params: Params,
    x: Array,
    key: Key | None = None,
    *,
    values: Sequence[float] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0),
    **condition: Any,
) -> Array:
    """Each example's code with one entry at a time set to each of some values.

    Args:
        model: A model with codes `[B, d]` of real numbers.
        params: Its parameters.
        x: Examples `[B, *shape]`.
        key: Of no account: nothing is drawn.
        values: What each entry is set to.
        **condition: Handed to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, d, len(values), *shape]`.

    Raises:
        ValueError: The codes are no vectors of real numbers.
    """
    del key
    return walks.traverse(model, params, x, values, **condition)


def attribute(
    model: Representation, params: Params, x: Array, without: Array, **condition: Any
) -> Array:
    """The direction of an attribute: the mean code of examples with it, less that of those without.

    Args:
        model: A model with real-valued codes.
        params: Its parameters.
        x: Examples with the attribute `[N, *shape]`.
        without: Examples without it `[M, *shape]`, alike in all else.
        **condition: Handed to `encode` (`state`).

    Returns:
        A difference of codes, of the shape of one.

    Raises:
        ValueError: The codes are integers.

    References:
        Larsen et al. 2016, Autoencoding beyond pixels using a learned similarity metric,
        arXiv:1512.09300, sec. 4.1.
    """
    z, other = (walks.real_codes(model, params, a, **condition) for a in (x, without))
    return jnp.mean(z, axis=0) - jnp.mean(other, axis=0)


def shift(
    model: Representation,
    params: Params,
    x: Array,
    key: Key | None = None,
    *,
    direction: Array,
    strength: float = 1.0,
    **condition: Any,
) -> Array:
    """Examples whose codes were moved along a direction: given an attribute, or taken one.

    Args:
        model: A model with real-valued codes.
        params: Its parameters.
        x: Examples `[B, *shape]`.
        key: Of no account: nothing is drawn.
        direction: What is added to each code (`attribute`).
        strength: How many times; below 0 takes it away.
        **condition: Handed to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, *shape]`.

    Raises:
        ValueError: The codes are integers.
    """
    del key
    z = walks.real_codes(model, params, x, **condition)
    return model.decode(params, z + strength * direction, **condition)
