"""Walks through the space of codes, decoded: for any model with `encode` and `decode`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core.protocols import Representation
from genjax_models.core.types import Array, Params


def interpolate(
    model: Representation, params: Params, x_0: Array, x_1: Array, num: int = 8, **kwargs: Any
) -> Array:
    """Examples along the straight line between two codes.

    Args:
        model: A model with real-valued codes.
        params: Its parameters.
        x_0: Where the lines start `[B, *shape]`.
        x_1: Where they end `[B, *shape]`.
        num: Number of points, both ends included; at least 2.
        **kwargs: Handed to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, num, *shape]`, in the data's units.

    Raises:
        ValueError: `num` is below 2, or the codes are integers.
    """
    if num < 2:
        raise ValueError(f"num is {num}, but a line has two ends: give at least 2")
    z_0, z_1 = (real_codes(model, params, x, **kwargs) for x in (x_0, x_1))
    at = jax.vmap(lambda t: model.decode(params, (1 - t) * z_0 + t * z_1, **kwargs), out_axes=1)
    return at(jnp.linspace(0.0, 1.0, num))


def traverse(
    model: Representation, params: Params, x: Array, values: Sequence[float], **kwargs: Any
) -> Array:
    """Each example's code with one entry at a time set to each of some values.

    Args:
        model: A model with codes `[B, d]` of real numbers.
        params: Its parameters.
        x: Examples `[B, *shape]`.
        values: What each entry is set to.
        **kwargs: Handed to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, d, len(values), *shape]`, in the data's units.

    Raises:
        ValueError: The codes are no vectors of real numbers.
    """
    z = real_codes(model, params, x, **kwargs)
    if z.ndim != 2:
        raise ValueError(
            f"the codes have shape {z.shape}: traverse walks along the entries of vectors [B, d]"
        )
    one_value = jax.vmap(
        lambda j, v: model.decode(params, z.at[:, j].set(v), **kwargs), (None, 0), out_axes=1
    )
    every_entry = jax.vmap(one_value, (0, None), out_axes=1)
    return every_entry(jnp.arange(z.shape[1]), jnp.asarray(values, z.dtype))


def real_codes(model: Representation, params: Params, x: Array, **kwargs: Any) -> Array:
    """The codes of examples, between which there is something.

    Raises:
        ValueError: They are integers.
    """
    z = model.encode(params, x, **kwargs)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise ValueError(
            f"the codes are {z.dtype}, between which there is nothing: walk through the codes of "
            "a model that has real-valued ones"
        )
    return z
