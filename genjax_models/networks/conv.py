"""Convolutions of stride 1, those that halve and double images, and rearranged pixels.

On the CPU the gradients of a convolution are written as plain convolutions. XLA brings those that
it derives itself into a form that it has a fast kernel for, but not inside a loop (jax 0.10: 270 ms
there for 8 ms outside), and a dispatch of many training steps is a loop. Elsewhere the gradients
are XLA's. The price is forward-mode differentiation (`jax.jvp`) through networks on the CPU, which
a custom gradient does not allow: `GENJAX_XLA_CONV_GRADIENTS=1` in the environment gives XLA's there
too.

The 4x4 convolutions of stride 2 that adversarial networks halve and double images by are 2x2
convolutions of stride 1 on 2x2 blocks of pixels: the same sums. With so few taps they are best
written as products of matrices on the CPU, where XLA is slow at convolutions' gradients.
"""

from __future__ import annotations

import functools
import os
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from genjax_models.core.types import Array

NHWC = ("NHWC", "HWIO", "NHWC")
Padding: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
"""Rows of zeros above and below an image, and columns to its left and right."""


def conv2d(x: Array, w: Array, padding: Padding | None = None) -> Array:
    """Convolution (cross-correlation) of images with a kernel.

    Args:
        x: Images `[B, H, W, C]`.
        w: Kernel `[k_H, k_W, C, D]`.
        padding: The zeros around the images, at most k - 1 on a side; None keeps the size, by
            k // 2 on every side of a kernel of odd height and width. Padding on one side alone
            makes a causal convolution that computes no masked taps.

    Returns:
        Images `[B, H + above + below - k_H + 1, W + left + right - k_W + 1, D]`.

    Raises:
        ValueError: No padding is given, and the kernel's height or width is even.
    """
    if padding is None:
        padding = _same(w.shape[:2])
    by_xla = jax.default_backend() != "cpu" or "GENJAX_XLA_CONV_GRADIENTS" in os.environ
    if by_xla:
        return _plain(x, w, padding)
    if w.shape[:2] == (1, 1) and padding == ((0, 0), (0, 0)):
        # A product of two matrices, and so are its gradients, which are slow as convolutions.
        return (x.reshape(-1, w.shape[2]) @ w[0, 0]).reshape(*x.shape[:3], -1)
    return _conv(x, w, padding)


def _same(size: tuple[int, ...]) -> Padding:
    height, width = size
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(
            f"a kernel of {height}x{width} has no middle, so the image's size cannot be kept by "
            "itself: give `padding`, or an odd height and width"
        )
    return (height // 2, height // 2), (width // 2, width // 2)


def _plain(x: Array, w: Array, padding: Padding) -> Array:
    return lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=NHWC)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Array, w: Array, padding: Padding) -> Array:
    return _plain(x, w, padding)


def _conv_forward(x: Array, w: Array, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, w, padding), (x, w)


def _conv_backward(
    padding: Padding, residuals: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, w = residuals
    flipped = jnp.swapaxes(w[::-1, ::-1], 2, 3)
    (above, below), (left, right) = padding
    height, width = w.shape[0] - 1, w.shape[1] - 1
    around = ((height - above, height - below), (width - left, width - right))
    return _conv(g, flipped, around), _kernel_gradient(x, g, padding)


_conv.defvjp(_conv_forward, _conv_backward)


def _kernel_gradient(x: Array, g: Array, padding: Padding) -> Array:
    """The images' correlation with the output's gradient, examples in the channels' place."""
    if g.shape[1] > x.shape[1] or g.shape[2] > x.shape[2]:
        # XLA would let images smaller than the kernel change places with it, and has no fast kernel
        # for that; nor may it take the zeros for the convolution's padding again.
        x = lax.optimization_barrier(jnp.pad(x, ((0, 0), *padding, (0, 0))))
        padding = ((0, 0), (0, 0))
    images = jnp.transpose(x, (3, 1, 2, 0))  # [C, H, W, B]
    kernel = jnp.transpose(g, (1, 2, 0, 3))  # [H', W', B, D]
    return jnp.transpose(_plain(images, kernel, padding), (1, 2, 0, 3))  # [k_H, k_W, C, D]


class Conv(nn.Module):
    """A convolutional layer; see `conv2d`.

    Attributes:
        features: Channels of the output.
        size: Height and width of the kernel: two numbers, or one for both.
        dtype: Dtype of the computation; parameters are float32.
        kernel_init: Initializer of the kernel.
        use_bias: If True, adds a bias; before a normalisation, which has its own, it is
            redundant.
    """

    features: int
    size: int | tuple[int, int] = 3
    dtype: jnp.dtype | type = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array, padding: Padding | None = None) -> Array:
        """`[B, H, W, features]`, from `[B, H, W, C]`; for another size see `conv2d`'s padding."""
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        shape = (*size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = conv2d(x.astype(self.dtype), kernel.astype(self.dtype), padding)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.astype(self.dtype)


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
        use_bias: If True, adds a bias.
        kernel_init: Initializer of the kernel.
        dtype: Dtype of the computation; parameters are float32.
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
        use_bias: If True, adds a bias.
        kernel_init: Initializer of the kernel `[C, 16 features]` of 4x4 pixels; for a 1x1 image,
            which reaches only 2x2 of them, `[C, 4 features]`.
        dtype: Dtype of the computation; parameters are float32.
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


# Of a doubled line of pixels, the even ones see x_{i-1}, x_i, x_i and the odd ones x_i, x_i,
# x_{i+1}: [parity, tap on the small line, tap on the doubled line].
TAPS = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float32)


def upsampled_conv(x: Array, w: Array) -> Array:
    """Convolves images, upsampled 2x by repeating pixels, with a 3x3 kernel.

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
        dtype: Dtype of the computation; parameters are float32.
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


def upsample_nearest(x: Array, factor: int) -> Array:
    """Images with every pixel repeated: `[B, H, W, C] -> [B, factor H, factor W, C]`."""
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def average_pool(x: Array, factor: int) -> Array:
    """Means over squares of `factor` by `factor` pixels of images.

    Args:
        x: Images `[B, H, W, C]`.
        factor: Side of the squares; a factor of H and W.

    Returns:
        Images `[B, H / factor, W / factor, C]`.

    Raises:
        ValueError: `factor` does not divide the height or the width.
    """
    b, height, width, c = x.shape
    if height % factor or width % factor:
        raise ValueError(
            f"images of {height}x{width} cannot be downsampled by {factor}: give a factor of both"
        )
    return x.reshape(b, height // factor, factor, width // factor, factor, c).mean((2, 4))


def space_to_depth(x: Array) -> Array:
    """Each 2x2 block of pixels as the channels of one: `[B, H, W, C] -> [B, H/2, W/2, 4C]`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def depth_to_space(x: Array) -> Array:
    """The inverse of `space_to_depth`: `[B, H, W, 4C] -> [B, 2H, 2W, C]`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, 2, 2, c // 4)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)
