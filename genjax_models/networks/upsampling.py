"""Doubling an image by repeating its pixels and convolving, at the cost of the small image."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.convolution import conv2d

# Of a doubled line of pixels, the even ones see x_{i-1}, x_i, x_i and the odd ones x_i, x_i,
# x_{i+1}: [parity, tap on the small line, tap on the doubled line].
TAPS = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float32)


def upsampled_conv(x: Array, w: Array) -> Array:
    """The 3x3 convolution of images of which every pixel is repeated, twice each way.

    The pixels of one parity see 2x2 pixels of the small image, so this is four convolutions of it
    with 2x2 kernels, which are sums of the 3x3 kernel's taps: 4/9 of the operations.

    Args:
        x: Images `[B, H, W, C]`.
        w: Kernel `[3, 3, C, D]`.

    Returns:
        Images `[B, 2H, 2W, D]`.
    """
    b, height, width, _ = x.shape
    taps = jnp.asarray(TAPS, w.dtype)
    small = jnp.einsum("pki,qlj,ijcd->klcpqd", taps, taps, w)  # [2, 2, C, 2, 2, D]
    y = conv2d(x, small.reshape(2, 2, x.shape[-1], -1), ((1, 1), (1, 1)))
    y = y.reshape(b, height + 1, width + 1, 2, 2, w.shape[-1])
    rows = jnp.stack([y[:, p : p + height, :, p] for p in (0, 1)], axis=2)  # [B, H, 2, W+1, 2, D]
    both = jnp.stack([rows[:, :, :, q : q + width, q] for q in (0, 1)], axis=4)
    return both.reshape(b, 2 * height, 2 * width, -1)


class UpsampledConv(nn.Module):
    """Images doubled by repeating pixels, then a 3x3 convolution with a bias.

    Attributes:
        features: Channels of the output.
        dtype: What is computed in; parameters are float32.
    """

    features: int
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, 2H, 2W, features]`, from `[B, H, W, C]`."""
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        return upsampled_conv(x, kernel) + bias
