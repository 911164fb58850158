"""What a coupling does to a network, so that its outputs can say how entries are changed."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array, Key

START = 0.1
"""The gain at the start: small, so that every coupling starts near the identity; not 0, as with a
last layer of zeros, since then no gradient would reach the network in the first step. In fits of
a ring by 2,000 steps, it ended no worse than a last layer that starts small in its place."""


def init_conditioner(
    network: nn.Module, key: Key, kept: Array, changed: Array, context: Array | None, count: int
) -> dict[str, Any]:
    """Fresh parameters: the network's, and the gain of each of its outputs, which is learned too.

    Args:
        network: `network(kept, context)`, a function of its parameters alone.
        key: For the network's parameters.
        kept: What the network sees `[B, ...]`.
        changed: The entries that it says something about `[B, ..., C]`.
        context: What it is conditioned on besides `[B, D]`.
        count: How many numbers it returns for each of them, K.

    Returns:
        `network`, and `gain` `[C, K]`.

    Raises:
        TypeError: The network keeps arrays beside its parameters.
    """
    variables = network.init(key, kept, context)
    others = sorted(set(variables) - {"params"})
    if others:
        raise TypeError(
            f"{type(network).__name__} keeps {', '.join(others)} beside its parameters, and the "
            "network of a bijector must be a function of its parameters alone: leave out what is "
            "updated in training, as batch normalisation is"
        )
    gain = jnp.full((changed.shape[-1], count), START, changed.dtype)
    return {"network": variables.get("params", {}), "gain": gain}


def conditioner(
    network: nn.Module, params: Any, kept: Array, changed: Array, context: Array | None, count: int
) -> Array:
    """The network's numbers for each entry that is changed, times their gain `[B, ..., C, K]`.

    Raises:
        ValueError: The network does not return K numbers for each of these entries.
    """
    raw: Any = network.apply({"params": params["network"]}, kept, context)
    shape = (*changed.shape, count)
    if raw.size != math.prod(shape):
        raise ValueError(
            f"{type(network).__name__} returned {raw.shape[1:]} for an example of which a bijector "
            f"changes {changed.shape[1:]} entries, and must return {count} numbers for each: "
            f"{math.prod(shape[1:])} outputs of a vector, {count * changed.shape[-1]} channels of "
            "an image"
        )
    return raw.reshape(shape).astype(changed.dtype) * params["gain"]
