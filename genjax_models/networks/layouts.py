"""Networks of images, made ones of films and of large images, by laying these out anew."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.dit import from_patches, to_patches


class FramesAsImages(nn.Module):
    """A network of images that sees the frames of films side by side, each as an image.

    Attributes:
        network: `(x [B T, H, W, C], *args, train) -> [B T, H, W, D]`; what frames share passes
            within it (`UNet(frames=T)`).
    """

    network: nn.Module

    @nn.compact
    def __call__(self, x: Array, *args: Any, train: bool = False) -> Array:
        """`[B, T, H, W, D]`.

        Args:
            x: Films `[B, T, H, W, C]`.
            *args: Other inputs of the network for each film `[B, ...]`, the same for each frame.
            train: Passed to the network.
        """
        frames = x.shape[1]
        args = jax.tree.map(lambda a: jnp.repeat(a, frames, axis=0), args)
        h = self.network(x.reshape(-1, *x.shape[2:]), *args, train=train)
        return h.reshape(*x.shape[:2], *h.shape[1:])


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
            *args: Other inputs of the network.
            train: Passed to the network.

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
