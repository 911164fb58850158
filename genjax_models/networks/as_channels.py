"""Networks of images, made ones of films and of large images: what is near becomes channels."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.dit import from_patches, to_patches


class FramesAsChannels(nn.Module):
    """A network of images that sees all frames of a film at once, as channels of one image.

    Attributes:
        network: `(x [B, H, W, T C], *args, train) -> [B, H, W, T D]`.

    References:
        Ho et al. 2022, Video Diffusion Models, arXiv:2204.03458, sec. 3 (which factorises space and
        time; for films as short as these, one network over all frames is the cheaper one).
    """

    network: nn.Module

    @nn.compact
    def __call__(self, x: Array, *args: Any, train: bool = False) -> Array:
        """`[B, T, H, W, D]`.

        Args:
            x: Films `[B, T, H, W, C]`.
            *args: What else the network takes.
            train: Whether this is training.
        """
        batch, frames, height, width, channels = x.shape
        h = jnp.moveaxis(x, 1, 3).reshape(batch, height, width, frames * channels)
        h = self.network(h, *args, train=train)
        return jnp.moveaxis(h.reshape(batch, height, width, frames, -1), 3, 1)


class PatchesAsChannels(nn.Module):
    """A network of images that sees a patch as one pixel of many channels, at a fraction of cost.

    Attributes:
        network: `(x [B, H / P, W / P, P P C], *args, train) -> [B, H / P, W / P, P P D]`.
        patch: Height and width of a patch, P.

    References:
        Hoogeboom et al. 2023, simple diffusion, arXiv:2301.11093, sec. 3.3.
    """

    network: nn.Module
    patch: int

    @nn.compact
    def __call__(self, x: Array, *args: Any, train: bool = False) -> Array:
        """`[B, H, W, D]`.

        Args:
            x: Images `[B, H, W, C]`.
            *args: What else the network takes.
            train: Whether this is training.

        Raises:
            ValueError: Patches do not fill the images.
        """
        batch, height, width, _ = x.shape
        if height % self.patch or width % self.patch:
            raise ValueError(
                f"images of {height}x{width} pixels cannot be cut into patches of {self.patch}x"
                f"{self.patch}: choose a patch that divides both"
            )
        rows, columns = height // self.patch, width // self.patch
        h = to_patches(x, self.patch).reshape(batch, rows, columns, -1)
        h = self.network(h, *args, train=train)
        return from_patches(h.reshape(batch, rows * columns, -1), self.patch, height, width)
