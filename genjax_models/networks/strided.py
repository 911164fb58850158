"""The 4x4 convolutions of stride 2 that adversarial networks halve and double images by.

Both are 2x2 convolutions of stride 1 on 2x2 blocks of pixels: the same sums. With so few taps they
are best written as products of matrices on the CPU, where XLA is slow at convolutions' gradients.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.convolution import Padding, conv2d
from genjax_models.networks.convolutional import depth_to_space, space_to_depth

NONE: Padding = ((0, 0), (0, 0))
ONE: Padding = ((1, 1), (1, 1))


def conv_by_products(x: Array, w: Array, padding: Padding) -> Array:
    """The convolution `conv2d`, as products of matrices on the CPU.

    Where there are more pixels than a kernel has rows, one product a tap is quickest (a step of
    DCGAN's halving of 14x14 pixels, 64 examples: 35 ms for 50). Where there are fewer, kernels are
    what takes time to read, and one product with all of their rows reads them once (at 4x4 pixels
    and 512 channels, one example: 22 ms for 44).

    Args:
        x: Images `[B, H, W, C]`.
        w: Kernel `[k, k, C, D]`.
        padding: The zeros around the images.

    Returns:
        Images `[B, H', W', D]`.
    """
    size, _, channels, features = w.shape
    if jax.default_backend() != "cpu" or size == 1:
        return conv2d(x, w, padding)
    (above, below), (left, right) = padding
    height, width = x.shape[1] + above + below - size + 1, x.shape[2] + left + right - size + 1
    many = x.shape[0] * height * width > size * size * channels
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    seen = [
        x[:, i : i + height, j : j + width].reshape(-1, channels)  # [B H' W', C]
        for i in range(size)
        for j in range(size)
    ]
    if many:
        taps = w.reshape(-1, channels, features)
        y = sum((a @ tap for a, tap in zip(seen[1:], taps[1:], strict=True)), seen[0] @ taps[0])
    else:
        y = jnp.concatenate(seen, axis=-1) @ w.reshape(-1, features)
    return y.reshape(-1, height, width, features)


class StridedConv(nn.Module):
    """A 4x4 convolution of stride 2 with one row of zeros around the images: it halves them.

    Attributes:
        features: Channels of the output.
        use_bias: Whether there is a bias.
        kernel_init: What the kernel starts as.
        dtype: What is computed in; parameters are float32.
    """

    features: int
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H/2, W/2, features]`, from `[B, H, W, C]` of even height and width.

        Raises:
            ValueError: The height or the width is odd.
        """
        if x.shape[1] % 2 or x.shape[2] % 2:
            raise ValueError(
                f"images of {x.shape[1]}x{x.shape[2]} pixels cannot be halved: use fewer levels, "
                "or pad or resize the images"
            )
        x = x.astype(self.dtype)
        if x.shape[1:3] == (2, 2):
            x, size = space_to_depth(x), 1  # 12 of the 16 taps would see zeros alone
        else:
            x, size = space_to_depth(jnp.pad(x, ((0, 0), *ONE, (0, 0)))), 2
        kernel = self.param("kernel", self.kernel_init, (size, size, x.shape[-1], self.features))
        y = conv_by_products(x, kernel.astype(self.dtype), NONE)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.astype(self.dtype)


class TransposedConv(nn.Module):
    """A 4x4 transposed convolution of stride 2, without its outermost rows: it doubles images.

    One product makes of every pixel the 4x4 that it adds to, and the overlapping ones are summed.

    Attributes:
        features: Channels of the output.
        use_bias: Whether there is a bias.
        kernel_init: What the kernel `[C, 16 features]` starts as; a pixel sees four of its rows of
            4x4 pixels. Around a single pixel, of which 2x2 are left, it is `[C, 4 features]`.
        dtype: What is computed in; parameters are float32.
    """

    features: int
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.variance_scaling(
        0.25, "fan_in", "truncated_normal"
    )
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, 2H, 2W, features]`, from `[B, H, W, C]`."""
        _, height, width, channels = x.shape
        alone = (height, width) == (1, 1)
        blocks = 1 if alone else 4  # of 2x2 pixels
        shape = (channels, 4 * blocks * self.features)
        kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
        y = x.astype(self.dtype).reshape(-1, channels) @ kernel
        y = y.reshape(-1, height, width, blocks, 4 * self.features)
        if alone:
            y = depth_to_space(y[:, :, :, 0])
        else:
            # The blocks begin a row and a column before the pixels that stay.
            y = depth_to_space(_overlapped(y))[:, 1:-1, 1:-1]
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.astype(self.dtype)


def _overlapped(y: Array) -> Array:
    """The sum `[B, H+1, W+1, D]` of four images `[B, H, W, 4, D]`, moved by 0 or 1 each way."""

    def moved(down: int, right: int) -> Array:
        around = ((0, 0), (down, 1 - down), (right, 1 - right), (0, 0))
        return jnp.pad(y[:, :, :, 2 * down + right], around)

    return moved(0, 0) + moved(0, 1) + moved(1, 0) + moved(1, 1)
