"""Noise that generators start from, and the spherical path between two draws."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from genjax_models.core import random
from genjax_models.core.types import Array, Key

TAIL = 2.0
"""Where a truncation of just under 1 cuts the normal distribution, in standard deviations."""


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Normal noise; truncated, that of entries within `TAIL * truncation` deviations alone.

    Attributes:
        scale: Standard deviation. A larger one makes a fresh generator steeper, which one whose
            modes lie far apart has to become.

    References:
        Brock et al. 2019, Large Scale GAN Training, arXiv:1809.11096, sec. 3.1 (the truncation
        trick: entries beyond a threshold are drawn anew).
    """

    scale: float = 1.0

    def __call__(self, key: Key, shape: tuple[int, int], truncation: float = 1.0) -> Array:
        """Noise `[num, latent_dim]`.

        Args:
            key: PRNG key.
            shape: Number of examples, and entries of each.
            truncation: In (0, 1]; 1 is the whole distribution.
        """
        if truncation == 1.0:
            return self.scale * random.normal(key, shape)
        # The inverse of the distribution function, between those of the ends: no draw is wasted.
        low = ndtr(-TAIL * truncation)
        quantile = low + (1.0 - 2.0 * low) * random.uniform(key, shape)
        return self.scale * ndtri(quantile)


def uniform(key: Key, shape: tuple[int, int], truncation: float = 1.0) -> Array:
    """Uniform noise in [-truncation, truncation), as in the first GANs."""
    return truncation * (2.0 * random.uniform(key, shape) - 1.0)


def slerp(z: Array, w: Array, num: int) -> Array:
    """Spherical linear interpolation: `num` points from one noise vector to another.

    slerp(z, w; t) = sin((1 - t) theta) / sin(theta) z + sin(t theta) / sin(theta) w, with theta the
    angle between them. High-dimensional normal noise lies near a sphere, and so does this way; a
    straight one passes where the generator has never been asked.

    Args:
        z: Where it starts `[D]`.
        w: Where it ends `[D]`.
        num: Number of points, the ends among them; at least 2.

    Returns:
        Noise `[num, D]`.

    References:
        White 2016, Sampling Generative Networks, arXiv:1609.04468, sec. 2.1.
    """
    if num < 2:
        raise ValueError(f"num is {num}: a path has at least its 2 ends")
    t = jnp.linspace(0.0, 1.0, num)[:, None]
    cosine = jnp.vdot(z, w) / (jnp.linalg.norm(z) * jnp.linalg.norm(w))
    theta = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    sine = jnp.sin(theta)
    # Along one line the sphere's way is the straight one, which the quotients only tend to.
    straight = sine < 1e-4
    safe = jnp.where(straight, 1.0, sine)
    a = jnp.where(straight, 1.0 - t, jnp.sin((1.0 - t) * theta) / safe)
    b = jnp.where(straight, t, jnp.sin(t * theta) / safe)
    return a * z + b * w
