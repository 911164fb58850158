"""A pool of generated images: a discriminator is shown some that are older than the last step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core import buffer, random
from genjax_models.core.buffer import Buffer
from genjax_models.core.types import Array, Key


@struct.dataclass
class ImagePool:
    """Images that a generator made at earlier steps.

    Attributes:
        images: As many slots for each position of the batch as for the others.
        filled: How many slots of each position hold an image, int32 `[]`.
    """

    images: Buffer
    filled: Array


def empty(size: int, shape: tuple[int, ...]) -> ImagePool:
    """A pool without images.

    Args:
        size: Slots in all: a multiple of the batch.
        shape: Of one image.
    """
    return ImagePool(Buffer(jnp.zeros((size, *shape))), jnp.zeros((), jnp.int32))


def exchange(key: Key, pool: ImagePool, new: Array) -> tuple[Array, ImagePool]:
    """What the discriminator is shown in the place of new images, and the pool after it.

    Each position of the batch has slots of its own. While they are not full, the new image is kept
    and shown. Afterwards, with probability 1/2, one of the old images, all equally likely, is shown
    and the new one takes its slot; else the new one is shown and not kept.

    Args:
        key: What the choices are drawn from.
        pool: The pool.
        new: Images `[B, ...]`.

    Returns:
        Images `[B, ...]`, which no gradient follows, and the pool.

    Raises:
        ValueError: The pool is smaller than the batch, or no multiple of it.

    References:
        Shrivastava et al. 2017, Learning from Simulated and Unsupervised Images through Adversarial
        Training, arXiv:1612.07828, sec. 2.3; Zhu et al. 2017, arXiv:1703.10593, sec. 4.
    """
    new = jax.lax.stop_gradient(new)
    num, key_slot, key_coin = new.shape[0], *jax.random.split(key)
    size = buffer.slots(pool.images, num).shape[1]
    slot, old = buffer.draw(key_slot, pool.images, num)
    filling = pool.filled < size
    swap = random.uniform(key_coin, (num,)) < 0.5
    as_images = (num, *[1] * (new.ndim - 1))
    kept = jnp.where((filling | swap).reshape(as_images), new, old)
    shown = jnp.where((~filling & swap).reshape(as_images), old, new)
    images = buffer.put(pool.images, jnp.where(filling, pool.filled, slot), kept)
    return shown, ImagePool(images, jnp.minimum(pool.filled + 1, size))
