"""Augmentations of images: of data and generated images alike, or of data alone.

Each is `(key, x [B, H, W, C]) -> [B, H, W, C]` for images in [-1, 1]. An image's random numbers
depend on the key and its position in the batch. All are differentiable, so that the
generator's gradient passes through. Those of `diff_augment` must be applied to data and generated
images alike, or the generator would learn them; `random_flip` and `RandomShift` turn likely images
into likely images, and enlarge small datasets.

References:
    Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training, arXiv:2006.10738.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.types import Array, Key
from genjax_models.core.values import value

Augment: TypeAlias = Callable[[Key, Array], Array]
"""`(key, x [B, H, W, C]) -> [B, H, W, C]`."""


def no_augmentation(key: Key, x: Array) -> Array:
    """Returns the examples as they are."""
    del key
    return x


def brightness(key: Key, x: Array) -> Array:
    """Adds a number in [-1/2, 1/2) to all pixels of an image."""
    return x + _one_each(key, x) - 0.5


def saturation(key: Key, x: Array) -> Array:
    """Multiplies the pixels' distances from their grey values by a number in [0, 2)."""
    grey = jnp.mean(x, axis=-1, keepdims=True)
    return grey + 2.0 * _one_each(key, x) * (x - grey)


def contrast(key: Key, x: Array) -> Array:
    """Multiplies the pixels' distances from the image's mean by a number in [1/2, 3/2)."""
    mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    return mean + (_one_each(key, x) + 0.5) * (x - mean)


def translation(key: Key, x: Array, ratio: float = 0.125) -> Array:
    """Moves each image by up to `ratio` of its size in each direction, filling in zeros."""
    height, width = x.shape[1:3]
    most = jnp.array([int(height * ratio + 0.5), int(width * ratio + 0.5)])
    draws = random.uniform(key, (x.shape[0], 2))
    shift = jnp.floor(draws * (2 * most + 1)).astype(jnp.int32) - most  # [B, 2]

    def moved(image: Array, by: Array) -> Array:
        rows, columns = jnp.arange(height) - by[0], jnp.arange(width) - by[1]
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        image = image[jnp.clip(rows, 0, height - 1)][:, jnp.clip(columns, 0, width - 1)]
        return jnp.where(inside[..., None], image, 0.0)

    return jax.vmap(moved)(x, shift)


def cutout(key: Key, x: Array, ratio: float = 0.5) -> Array:
    """Sets a rectangle of `ratio` of each side, which may lie partly off the image, to 0."""
    height, width = x.shape[1:3]
    size = jnp.array([int(height * ratio + 0.5), int(width * ratio + 0.5)])
    room = jnp.array([height, width]) + (1 - size % 2)
    centre = jnp.floor(random.uniform(key, (x.shape[0], 2)) * room)  # [B, 2]
    first = centre - size // 2

    def covered(axis: int, length: int) -> Array:
        place = jnp.arange(length)
        start = first[:, axis, None]
        return (place >= start) & (place < start + size[axis])

    hole = covered(0, height)[:, :, None] & covered(1, width)[:, None]  # [B, H, W]
    return jnp.where(hole[..., None], 0.0, x)


@value
class Chain:
    """Augmentations applied one after the other, each with its own PRNG key.

    Attributes:
        parts: Augmentations, in the order in which they are applied.
    """

    parts: tuple[Augment, ...]

    def __call__(self, key: Key, x: Array) -> Array:
        """Applies the augmentations to images `[B, H, W, C]`."""
        for part, k in zip(self.parts, jax.random.split(key, len(self.parts)), strict=True):
            x = part(k, x)
        return x


diff_augment = Chain((brightness, saturation, contrast, translation, cutout))
"""The paper's policy: colour, translation and cutout."""


def random_flip(key: Key, x: Array) -> Array:
    """Mirrors each image, left to right, with probability 1/2."""
    flip = random.uniform(key, (x.shape[0],)) < 0.5
    return jnp.where(flip[:, None, None, None], x[:, :, ::-1], x)


@value
class RandomShift:
    """Shifts each image by up to `max_shift` pixels in each direction, reflecting its edges.

    Attributes:
        max_shift: Largest shift, in pixels.
    """

    max_shift: int

    def __call__(self, key: Key, x: Array) -> Array:
        """Shifts images `[B, H, W, C]`."""
        height, width = x.shape[1:3]
        most = self.max_shift
        corner = jnp.floor(random.uniform(key, (x.shape[0], 2)) * (2 * most + 1)).astype(jnp.int32)
        x = jnp.pad(x, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")

        def cut(image: Array, corner: Array) -> Array:
            size = (height, width, image.shape[-1])
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), size)

        return jax.vmap(cut)(x, corner)


def _one_each(key: Key, x: Array) -> Array:
    """Draws a uniform number for each example `[B, 1, 1, 1]`."""
    return random.uniform(key, (x.shape[0], 1, 1, 1))
