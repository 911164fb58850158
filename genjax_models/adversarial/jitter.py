"""Changes that leave an image a likely one, for small sets: mirrored, or moved a little.

Each is an `Augment`, `(key, x [B, H, W, C]) -> [B, H, W, C]`, a function of the key and of an
example's position. Unlike those of `augmentation`, they are done to the data before a model sees
them: what it generates looks like the changed data, which look like the data.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from genjax_models.adversarial.augmentation import Augment
from genjax_models.core import random
from genjax_models.core.types import Array, Key


def mirrored(key: Key, x: Array) -> Array:
    """Every other image, at random, with left and right changed."""
    flip = random.uniform(key, (x.shape[0],)) < 0.5
    return jnp.where(flip[:, None, None, None], x[:, :, ::-1], x)


def _moved(key: Key, x: Array, most: int) -> Array:
    height, width = x.shape[1:3]
    corner = jnp.floor(random.uniform(key, (x.shape[0], 2)) * (2 * most + 1)).astype(jnp.int32)
    x = jnp.pad(x, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")

    def cut(image: Array, corner: Array) -> Array:
        size = (height, width, image.shape[-1])
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), size)

    return jax.vmap(cut)(x, corner)


def moved(most: int) -> Augment:
    """Each image moved by up to `most` pixels either way, its edges reflected."""
    return functools.partial(_moved, most=most)
