"""The convolution that our networks are made of: stride 1, zeros beyond the edges.

On the CPU its gradients are written as plain convolutions. XLA brings those that it derives itself
into a form that it has a fast kernel for, but not inside a loop (jax 0.10: 270 ms there for 8 ms
outside), and a dispatch of many training steps is a loop. Elsewhere the gradients are XLA's.

The price is forward-mode differentiation (`jax.jvp`) through networks on the CPU, which a custom
gradient does not allow: `GENJAX_XLA_CONV_GRADIENTS=1` in the environment gives XLA's there too.
"""

from __future__ import annotations

import functools
import os
from typing import TypeAlias

import jax
import jax.numpy as jnp
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
        dtype: What is computed in; parameters are float32.
        kernel_init: What the kernel starts as.
        use_bias: Whether there is a bias; before a normalisation, which has its own, it is a pass
            over the images for little.
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
