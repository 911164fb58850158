"""Augmentations of images: of all that a discriminator sees, and of the data alone.

Each is `(key, x [B, H, W, C]) -> [B, H, W, C]` with images in [-1, 1], a function of the key and of
an example's position, and differentiable, so that the generator's gradient passes through. Those of
`diff_augment` are applied to data and samples alike, else the generator would learn them;
`random_flip` and `RandomShift` leave an image a likely one, and are for small sets of data.

References:
    Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training, arXiv:2006.10738.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.types import Array, Key

Augment: TypeAlias = Callable[[Key, Array], Array]
"""`(key, x [B, H, W, C]) -> [B, H, W, C]`."""


def nothing(key: Key, x: Array) -> Array:
    """The examples as they are."""
    del key
    return x


def brightness(key: Key, x: Array) -> Array:
    """All pixels of an image raised by one number in [-1/2, 1/2)."""
    return x + _one_each(key, x) - 0.5


def saturation(key: Key, x: Array) -> Array:
    """Each pixel's distance from its grey value times one number in [0, 2); grey images stay."""
    grey = jnp.mean(x, axis=-1, keepdims=True)
    return grey + 2.0 * _one_each(key, x) * (x - grey)


def contrast(key: Key, x: Array) -> Array:
    """Each pixel's distance from the image's mean times one number in [1/2, 3/2)."""
    mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    return mean + (_one_each(key, x) + 0.5) * (x - mean)


def translation(key: Key, x: Array, ratio: float = 0.125) -> Array:
    """Each image moved by up to `ratio` of its size either way; what comes in is 0."""
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
    """A rectangle of `ratio` of each side, anywhere on the image and partly off it, made 0."""
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


@dataclasses.dataclass(frozen=True)
class Chain:
    """Augmentations one after the other, each with noise of its own.

    Attributes:
        parts: The augmentations, the first first.
    """

    parts: tuple[Augment, ...]

    def __call__(self, key: Key, x: Array) -> Array:
        """Images `[B, H, W, C]`."""
        for part, k in zip(self.parts, jax.random.split(key, len(self.parts)), strict=True):
            x = part(k, x)
        return x


diff_augment = Chain((brightness, saturation, contrast, translation, cutout))
"""The policy of the paper: colour, translation and cutout."""


def random_flip(key: Key, x: Array) -> Array:
    """Each image mirrored, left for right, with probability 1/2."""
    flip = random.uniform(key, (x.shape[0],)) < 0.5
    return jnp.where(flip[:, None, None, None], x[:, :, ::-1], x)


@dataclasses.dataclass(frozen=True)
class RandomShift:
    """Each image shifted by up to `most` pixels either way, its edges reflected.

    Attributes:
        most: Largest shift, in pixels.
    """

    most: int

    def __call__(self, key: Key, x: Array) -> Array:
        """Images `[B, H, W, C]`."""
        height, width = x.shape[1:3]
        most = self.most
        corner = jnp.floor(random.uniform(key, (x.shape[0], 2)) * (2 * most + 1)).astype(jnp.int32)
        x = jnp.pad(x, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")

        def cut(image: Array, corner: Array) -> Array:
            size = (height, width, image.shape[-1])
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), size)

        return jax.vmap(cut)(x, corner)


def _one_each(key: Key, x: Array) -> Array:
    """A uniform number an example `[B, 1, 1, 1]`."""
    return random.uniform(key, (x.shape[0], 1, 1, 1))
