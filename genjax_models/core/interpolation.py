"""Interpolation and traversal of codes, decoded: for any model with `encode` and `decode`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.core.protocols import Representation
from genjax_models.core.types import Array, Params

Path: TypeAlias = Callable[[Array, Array, Array | float], Array]
"""`(z_0 [..., D], z_1 [..., D], t) -> [..., D]`: a point between two vectors, for t in [0, 1]."""


def lerp(z_0: Array, z_1: Array, t: Array | float) -> Array:
    """Linear interpolation, (1 - t) z_0 + t z_1.

    Args:
        z_0: Where the path starts `[...]`.
        z_1: Where it ends `[...]`.
        t: Position along it, 0 to 1; broadcast with the ends.
    """
    return (1 - t) * z_0 + t * z_1


def slerp(z_0: Array, z_1: Array, t: Array | float) -> Array:
    """Spherical linear interpolation between vectors.

    slerp(z_0, z_1; t) = sin((1 - t) theta) / sin(theta) z_0 + sin(t theta) / sin(theta) z_1, with
    theta the angle between them. Vectors of high-dimensional normal noise lie near a sphere, and so
    does this path; the straight one passes through points that a generator has never been given.

    Args:
        z_0: Where the path starts `[..., D]`.
        z_1: Where it ends `[..., D]`.
        t: Position along it, 0 to 1; broadcast with the ends (`jnp.linspace(0, 1, num)[:, None]`
            for `num` points between two vectors `[D]`).

    References:
        White 2016, Sampling Generative Networks, arXiv:1609.04468, sec. 2.1.
    """
    lengths = jnp.linalg.norm(z_0, axis=-1) * jnp.linalg.norm(z_1, axis=-1)
    cosine = jnp.sum(z_0 * z_1, axis=-1) / lengths
    theta = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))[..., None]
    sine = jnp.sin(theta)
    # For parallel vectors the path is the straight one, which the quotients only tend to.
    straight = sine < 1e-4
    safe = jnp.where(straight, 1.0, sine)
    a = jnp.where(straight, 1.0 - t, jnp.sin((1.0 - t) * theta) / safe)
    b = jnp.where(straight, t, jnp.sin(t * theta) / safe)
    return a * z_0 + b * z_1


def interpolate(
    model: Representation,
    params: Params,
    x_0: Array,
    x_1: Array,
    num: int = 8,
    *,
    path: Path = lerp,
    **kwargs: Any,
) -> Array:
    """Decodes points of a path from the codes of some examples to the codes of others.

    Args:
        model: A model with real-valued codes.
        params: Its parameters.
        x_0: Examples where the paths start `[B, *shape]`.
        x_1: Examples where they end `[B, *shape]`.
        num: Number of points, both ends included; at least 2.
        path: `lerp`, or `slerp` for codes that are normal noise.
        **kwargs: Passed on to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, num, *shape]`, in the data's units.

    Raises:
        ValueError: `num` is below 2, or the codes are integers.
    """
    if num < 2:
        raise ValueError(f"num is {num}, but a path has two ends: give at least 2")
    z_0, z_1 = (real_codes(model, params, x, **kwargs) for x in (x_0, x_1))

    def decode(t: Array | float) -> Array:
        z = path(z_0.reshape(len(z_0), -1), z_1.reshape(len(z_1), -1), t)
        return model.decode(params, z.reshape(z_0.shape), **kwargs)

    return jax.vmap(decode, out_axes=1)(jnp.linspace(0.0, 1.0, num))


def traverse(
    model: Representation,
    params: Params,
    x: Array,
    values: Sequence[float] = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0),
    **kwargs: Any,
) -> Array:
    """Decodes each example's code with one entry at a time set to each of some values.

    Args:
        model: A model with codes `[B, d]` of real numbers.
        params: Its parameters.
        x: Examples `[B, *shape]`.
        values: Values that each entry is set to.
        **kwargs: Passed on to `encode` and `decode` (`state`, `label`).

    Returns:
        Decoded means `[B, d, len(values), *shape]`, in the data's units.

    Raises:
        ValueError: The codes are not vectors of real numbers.
    """
    z = real_codes(model, params, x, **kwargs)
    if z.ndim != 2:
        raise ValueError(f"the codes have shape {z.shape}: traverse needs vectors [B, d]")
    one_value = jax.vmap(
        lambda j, v: model.decode(params, z.at[:, j].set(v), **kwargs), (None, 0), out_axes=1
    )
    every_entry = jax.vmap(one_value, (0, None), out_axes=1)
    return every_entry(jnp.arange(z.shape[1]), jnp.asarray(values, z.dtype))


def real_codes(model: Representation, params: Params, x: Array, **kwargs: Any) -> Array:
    """Encodes examples `[B, *shape]` to real-valued codes `[B, ...]`.

    Raises:
        ValueError: The codes are integers.
    """
    z = model.encode(params, x, **kwargs)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise ValueError(
            f"the codes are {z.dtype}, between which there is nothing: use a model whose codes are "
            "real numbers"
        )
    return z
