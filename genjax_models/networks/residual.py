"""A residual network of convolutions that keeps height and width: what couplings of images use."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.convolution import Conv
from genjax_models.networks.convolutional import ResidualBlock, with_context


class ResidualNetwork(nn.Module):
    """Images to images of the same height and width.

    Attributes:
        channels: Channels of the hidden layers.
        blocks: Residual blocks.
        num_outputs: Channels of the output.
        dtype: What the convolutions compute in (`jnp.bfloat16` for mixed precision); parameters are
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
            context: What the outputs are conditioned on `[B, D]`, joined to every pixel.
            train: Nothing here depends on it.
        """
        x = Conv(self.channels, 3, self.dtype)(with_context(x, context))
        for _ in range(self.blocks):
            x = ResidualBlock(self.channels, self.dtype)(x)
        x = Conv(self.num_outputs, 3, self.dtype)(nn.silu(x))
        return x.astype(jnp.promote_types(self.dtype, jnp.float32))
