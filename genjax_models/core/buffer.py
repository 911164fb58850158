"""Examples that training keeps from step to step: replay buffers, pools of generated images.

A buffer lies in a model's state. Each position of the batch owns as many slots as there are, reads
them alone and writes them alone: there is nothing to agree on between examples, so a buffer is
split over devices just as the batch is (`training.devices` sees to it), and code that uses one is
the same where it sees the whole batch and where it sees a device's part.
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
        values: The slots `[N, ...]`, those of one position of the batch after those of another.
    """

    values: Array


def slots(buffer: Buffer, num: int) -> Array:
    """The slots of each position: `[num, S, ...]` with S = N / num.

    Args:
        buffer: The buffer.
        num: Number of positions: the examples of the batch.

    Raises:
        ValueError: The buffer is smaller than the batch, or no multiple of it.
    """
    size = buffer.values.shape[0]
    if size < num or size % num:
        raise ValueError(
            f"the buffer has {size} slots for a batch of {num}, each example of which owns as many "
            f"as the others: give it a multiple of {num}"
        )
    return buffer.values.reshape(num, size // num, *buffer.values.shape[1:])


def draw(key: Key, buffer: Buffer, num: int) -> tuple[Array, Array]:
    """One slot of each position, all of its own equally likely.

    Args:
        key: What the choice is drawn from.
        buffer: The buffer.
        num: Number of positions.

    Returns:
        The slot that each position chose among its own `[num]`, int32, and its value `[num, ...]`.
    """
    own = slots(buffer, num)
    chosen = jnp.floor(random.uniform(key, (num,)) * own.shape[1]).astype(jnp.int32)
    return chosen, own[jnp.arange(num), chosen]


def put(buffer: Buffer, chosen: Array, values: Array) -> Buffer:
    """The buffer with other values `[num, ...]` in the slots that `draw` chose."""
    num = values.shape[0]
    own = slots(buffer, num)
    values = jax.lax.stop_gradient(values).astype(own.dtype)
    return Buffer(own.at[jnp.arange(num), chosen].set(values).reshape(buffer.values.shape))
