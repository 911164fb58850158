"""Layers whose weights all have one scale, so that Adam moves all of them at one speed."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.convolution import conv2d

HE_GAIN = math.sqrt(2.0)
"""What keeps the variance through a layer and the rectifier after it (He et al. 2015, eq. 10)."""


def pixel_norm(x: Array, epsilon: float = 1e-8) -> Array:
    """Every pixel's vector of channels brought to a mean square of 1.

    `b = a / sqrt(mean_c a_c^2 + epsilon)`.

    Args:
        x: `[B, ..., C]`.
        epsilon: Added to the mean square.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, sec. 4.2.
    """
    return x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + epsilon)


class EqualizedDense(nn.Module):
    """A dense layer with the equalised learning rate: `y = gain / sqrt(D) w x + b`, w ~ N(0, 1).

    Attributes:
        features: Size of the output.
        gain: 1 where no rectifier follows.
        dtype: What is computed in; parameters are float32.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, sec. 4.1.
    """

    features: int
    gain: float = HE_GAIN
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[..., features]`, from `[..., D]`."""
        kernel = self.param("kernel", nn.initializers.normal(1.0), (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel = kernel * (self.gain / math.sqrt(x.shape[-1]))
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)


class EqualizedConv(nn.Module):
    """A convolution with the equalised learning rate: its kernel is `gain / sqrt(k k C) w`.

    Attributes:
        features: Channels of the output.
        size: Height and width of the kernel.
        gain: 1 where no rectifier follows.
        convolve: `(x [B, H, W, C], kernel [k, k, C, features]) -> images`: `conv2d`, which keeps
            the size, or `upsampled_conv` (size 3), which doubles it.
        dtype: What is computed in; parameters are float32.

    References:
        Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, sec. 4.1.
    """

    features: int
    size: int = 3
    gain: float = HE_GAIN
    convolve: Callable[[Array, Array], Array] = conv2d
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, features]`, from `[B, H, W, C]`; of another size where `convolve` says so."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel = kernel * (self.gain / math.sqrt(math.prod(shape[:3])))
        y = self.convolve(x.astype(self.dtype), kernel.astype(self.dtype))
        return y + bias.astype(self.dtype)
