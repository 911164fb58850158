"""The convolution that our networks are made of: stride 1, zero padding, the same size out as in.

On the CPU its gradients are written as plain convolutions. XLA brings those that it derives itself
into a form that it has a fast kernel for, but not inside a loop (jax 0.10: 270 ms there for 8 ms
outside), and a dispatch of many training steps is a loop. Elsewhere the gradients are XLA's.

The price is forward-mode differentiation (`jax.jvp`) through networks on the CPU, which a custom
gradient does not allow: `GENJAX_XLA_CONV_GRADIENTS=1` in the environment gives XLA's there too.
"""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from genjax_models.core.types import Array

NHWC = ("NHWC", "HWIO", "NHWC")


def conv2d(x: Array, w: Array) -> Array:
    """Convolution (cross-correlation) of images with a kernel, padded with zeros to keep the size.

    Args:
        x: Images `[B, H, W, C]`.
        w: Kernel `[k_H, k_W, C, D]`, of odd height and width.

    Returns:
        Images `[B, H, W, D]`.
    """
    by_xla = jax.default_backend() != "cpu" or "GENJAX_XLA_CONV_GRADIENTS" in os.environ
    return _plain(x, w) if by_xla else _conv(x, w)


def _plain(x: Array, w: Array) -> Array:
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC)


@jax.custom_vjp
def _conv(x: Array, w: Array) -> Array:
    return _plain(x, w)


def _conv_forward(x: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, w), (x, w)


def _conv_backward(residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, w = residuals
    flipped = jnp.swapaxes(w[::-1, ::-1], 2, 3)
    return _conv(g, flipped), _kernel_gradient(x, g, w.shape[:2])


_conv.defvjp(_conv_forward, _conv_backward)


def _kernel_gradient(x: Array, g: Array, size: tuple[int, ...]) -> Array:
    """The images' correlation with the output's gradient, examples in the channels' place."""
    height, width = size
    padding = [(height // 2, height // 2), (width // 2, width // 2)]
    images = jnp.transpose(x, (3, 1, 2, 0))  # [C, H, W, B]
    kernel = jnp.transpose(g, (1, 2, 0, 3))  # [H, W, B, D]
    out = lax.conv_general_dilated(images, kernel, (1, 1), padding, dimension_numbers=NHWC)
    return jnp.transpose(out, (1, 2, 0, 3))  # [k_H, k_W, C, D]


class Conv(nn.Module):
    """A convolutional layer with a bias; see `conv2d`.

    Attributes:
        features: Channels of the output.
        size: Height and width of the kernel, odd.
        dtype: What is computed in; parameters are float32.
    """

    features: int
    size: int = 3
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, features]`, from `[B, H, W, C]`."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        return conv2d(x, kernel) + bias
