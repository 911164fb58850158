"""Editing: examples changed along a direction of their codes.

The model needs `encode` and `decode` (`core.protocols.Representation`). Paths between codes are
`core.interpolation`'s; `restoring` fills in what is unknown. Conditions and the model's `state` are
keyword arguments, and results are in the data's units.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from genjax_models.core.interpolation import real_codes
from genjax_models.core.protocols import Representation
from genjax_models.core.types import Array, Key, Params


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
    z, other = (real_codes(model, params, a, **condition) for a in (x, without))
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
    z = real_codes(model, params, x, **condition)
    return model.decode(params, z + strength * direction, **condition)
