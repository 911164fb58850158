"""Examples that training keeps from step to step: replay buffers, pools of generated images.

A buffer is in a model's state. Each position of the batch owns the same number of slots, and reads
and writes only those. So a buffer is split over devices just as the batch is (`training.devices`
does it), and code that uses one need not know whether it is given the whole batch or a part of it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core import random
from genjax_models.core.types import Array, Key


@struct.dataclass
class Buffer:
    """Kept examples.

    Attributes:
        values: The slots `[N, ...]`, grouped by position of the batch.
    """

    values: Array


def slots(buffer: Buffer, num: int) -> Array:
    """The slots of each position `[num, S, ...]`, with S = N / num.

    Args:
        buffer: The buffer.
        num: Number of positions, the examples of the batch.

    Raises:
        ValueError: The buffer is smaller than the batch, or not a multiple of it.
    """
    size = buffer.values.shape[0]
    if size < num or size % num:
        raise ValueError(
            f"the buffer has {size} slots for a batch of {num}, in which all examples own the same "
            f"number: give it a multiple of {num}"
        )
    return buffer.values.reshape(num, size // num, *buffer.values.shape[1:])


def draw(key: Key, buffer: Buffer, num: int) -> tuple[Array, Array]:
    """Draws one slot of each position, all of its slots being equally likely.

    Args:
        key: PRNG key.
        buffer: The buffer.
        num: Number of positions.

    Returns:
        The number of each position's slot among its own `[num]`, int32, and the values
        `[num, ...]`.
    """
    own = slots(buffer, num)
    chosen = jnp.floor(random.uniform(key, (num,)) * own.shape[1]).astype(jnp.int32)
    return chosen, own[jnp.arange(num), chosen]


def draw_any(key: Key, buffer: Buffer, num: int) -> tuple[Array, Array]:
    """Draws slots of the whole buffer: their numbers `[num]`, int32, and values `[num, ...]`."""
    chosen = jnp.floor(random.uniform(key, (num,)) * buffer.values.shape[0]).astype(jnp.int32)
    return chosen, buffer.values[chosen]


def put(buffer: Buffer, chosen: Array, values: Array) -> Buffer:
    """Puts values `[num, ...]` into the slots that `draw` chose, without gradient."""
    num = values.shape[0]
    own = slots(buffer, num)
    values = jax.lax.stop_gradient(values).astype(own.dtype)
    return Buffer(own.at[jnp.arange(num), chosen].set(values).reshape(buffer.values.shape))
