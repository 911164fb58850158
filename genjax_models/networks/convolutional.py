"""Convolutional encoders, decoders and residual networks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.conv import Conv, depth_to_space, space_to_depth
from genjax_models.networks.layers import with_context


class ResidualBlock(nn.Module):
    """x + conv1x1(silu(conv3x3(silu(x)))).

    Attributes:
        channels: Channels of the input, of the hidden layer and of the output.
        dtype: Dtype of the computation.
    """

    channels: int
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, channels]`, from the same."""
        h = Conv(self.channels, 3, self.dtype)(nn.silu(x))
        return x + Conv(self.channels, 1, self.dtype)(nn.silu(h))


class ConvEncoder(nn.Module):
    """Images to a grid of features, or to a vector.

    Each level halves height and width, by moving 2x2 blocks into channels before a 3x3
    convolution: what a strided convolution does, without its slow gradient.

    Attributes:
        channels: Channels of each level; there are as many halvings.
        num_outputs: Channels of the output grid, or the size of the output vector.
        blocks: Residual blocks a level.
        vector: If True, the output is a vector.
        dtype: Dtype of the computation; parameters and outputs are float32.
    """

    channels: Sequence[int]
    num_outputs: int
    blocks: int = 1
    vector: bool = True
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """`[B, num_outputs]`, or the grid `[B, H / 2^levels, W / 2^levels, num_outputs]`.

        Args:
            x: Images `[B, H, W, C]`, with height and width divisible by 2^levels.
            context: Condition `[B, D]`.
            train: Unused.

        Raises:
            ValueError: The height or the width cannot be halved so often.
        """
        factor = 2 ** len(self.channels)
        if x.shape[1] % factor or x.shape[2] % factor:
            raise ValueError(
                f"images of {x.shape[1]}x{x.shape[2]} pixels cannot be halved "
                f"{len(self.channels)} times: give `channels` fewer levels"
            )
        x = with_context(x, context)
        for width in self.channels:
            x = Conv(width, 3, self.dtype)(space_to_depth(x))
            for _ in range(self.blocks):
                x = ResidualBlock(width, self.dtype)(x)
        x = nn.silu(x)
        if self.vector:
            x = x.reshape(x.shape[0], -1)
            return nn.Dense(self.num_outputs, dtype=self.dtype)(x).astype(jnp.float32)
        return Conv(self.num_outputs, 1, self.dtype)(x).astype(jnp.float32)


class ConvDecoder(nn.Module):
    """A vector or a grid of features to images.

    Each level doubles height and width by a sub-pixel convolution (Shi et al. 2016,
    arXiv:1609.05158): a convolution to four times the channels, rearranged into 2x2 pixels.

    Attributes:
        channels: Channels of each level; there are as many doublings.
        shape: Height, width and channels of the output.
        blocks: Residual blocks a level.
        dtype: Dtype of the computation; parameters and outputs are float32.
    """

    channels: Sequence[int]
    shape: tuple[int, int, int]
    blocks: int = 1
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, z: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Images `[B, *shape]`.

        Args:
            z: Vectors `[B, D]`, or grids `[B, H / 2^levels, W / 2^levels, D]`.
            context: Condition `[B, C]`.
            train: Unused.
        """
        height, width, num_outputs = self.shape
        factor = 2 ** len(self.channels)
        first = (height // factor, width // factor, self.channels[0])
        x = with_context(z, context)
        if x.ndim == 2:
            x = nn.Dense(math.prod(first), dtype=self.dtype)(x).reshape(-1, *first)
        else:
            x = Conv(self.channels[0], 3, self.dtype)(x)
        for width_now, width_next in zip(
            self.channels, [*self.channels[1:], num_outputs], strict=True
        ):
            for _ in range(self.blocks):
                x = ResidualBlock(width_now, self.dtype)(x)
            x = Conv(4 * width_next, 3, self.dtype)(nn.silu(x))
            x = depth_to_space(x)
        return x.astype(jnp.float32)


class ResidualNetwork(nn.Module):
    """Images to images of the same height and width.

    Attributes:
        channels: Channels of the hidden layers.
        blocks: Residual blocks.
        num_outputs: Channels of the output.
        dtype: Dtype of the computation (`jnp.bfloat16` for mixed precision); parameters are
            float32, and outputs float32 at least.
    """

    channels: int
    blocks: int
    num_outputs: int
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """`[B, H, W, num_outputs]`.

        Args:
            x: Images `[B, H, W, C]`.
            context: Condition `[B, D]`, joined to every pixel.
            train: Unused.
        """
        x = Conv(self.channels, 3, self.dtype)(with_context(x, context))
        for _ in range(self.blocks):
            x = ResidualBlock(self.channels, self.dtype)(x)
        x = Conv(self.num_outputs, 3, self.dtype)(nn.silu(x))
        return x.astype(jnp.promote_types(self.dtype, jnp.float32))
