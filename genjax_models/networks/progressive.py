"""A generator and a discriminator that grow: of one image size, then of twice the size, and so on.

Both hold the layers of every size from the start, and compute with those that have come into play.
Their growth is in the variable collection `growth`, as the number of the
`stage` (int32 `[]`, 0 for the smallest images) and `alpha` (`[]`), how much of that stage has been
faded in. Without that collection they are fully grown. Images go in and come out at the full size,
whatever the stage: smaller ones are repeated pixels.

References:
    Karras et al. 2018, Progressive Growing of GANs, arXiv:1710.10196, sec. 2, fig. 2 and app. A.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.conv import average_pool, conv2d, upsample_nearest, upsampled_conv
from genjax_models.networks.layers import MinibatchStandardDeviation, with_context
from genjax_models.networks.normalization import pixel_norm

HE_GAIN = math.sqrt(2.0)
"""Gain that keeps the variance through a layer and its rectifier (He et al. 2015, eq. 10)."""


class EqualizedDense(nn.Module):
    """A dense layer with the equalised learning rate: `y = gain / sqrt(D) w x + b`, w ~ N(0, 1).

    Attributes:
        features: Size of the output.
        gain: 1 where no rectifier follows.
        dtype: Dtype of the computation; parameters are float32.

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
        dtype: Dtype of the computation; parameters are float32.

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


GROWTH = "growth"
"""The collection that says how far a network has grown."""


def _mixed(old: Array, new: Array, alpha: Array | float) -> Array:
    return old + jnp.asarray(alpha, old.dtype) * (new - old)


def _grown(module: nn.Module, last: int) -> tuple[Any, Any]:
    """The stage and how much of it is there."""
    stage = module.get_variable(GROWTH, "stage", last)
    return stage, module.get_variable(GROWTH, "alpha", 1.0)


def _at_stage(
    module: nn.Module, method: Callable[..., Array], stages: int, stage: Any, *args: Any
) -> Array:
    """Applies a method at one stage; `init` applies it at all, for their parameters."""
    branches = [functools.partial(method, stage=s) for s in range(stages)]
    if module.is_initializing():
        return [branch(module, *args) for branch in branches][-1]
    if isinstance(stage, int):
        return branches[stage](module, *args)
    # Only parameters go in: what `capture_intermediates` asks for differs between branches.
    return nn.switch(stage, branches, module, *args, variables="params")


def _check_sizes(height: int, width: int, stages: int) -> None:
    factor = 2 ** (stages - 1)
    if height % factor or width % factor:
        raise ValueError(
            f"images of {height}x{width} pixels cannot be halved {stages - 1} times: give "
            "`channels` fewer stages"
        )


class ProgressiveGenerator(nn.Module):
    """Noise to images, which grow.

    The noise is brought to one length. A block of two 3x3 convolutions for each size, the first of
    which doubles it; behind each a leaky rectifier and pixel normalisation. 1x1 convolutions read
    images off. While a stage is faded in, its image is mixed with the one before it, doubled.

    Attributes:
        shape: Height, width and channels of the full-sized images.
        channels: Channels of each stage, from the smallest images on; there are as many stages.
        slope: Negative slope of the leaky rectifiers.
        dtype: Dtype of the computation; parameters and outputs are float32.
    """

    shape: tuple[int, int, int]
    channels: tuple[int, ...]
    slope: float = 0.2
    dtype: jnp.dtype | type = jnp.float32

    def setup(self) -> None:
        """The layers of all stages."""
        height, width, colours = self.shape
        _check_sizes(height, width, len(self.channels))
        factor, first = 2 ** (len(self.channels) - 1), self.channels[0]
        self.small = (height // factor, width // factor, first)
        # The gain of 1/4 of what a dense layer has, as in the paper's code.
        self.start = EqualizedDense(math.prod(self.small), math.sqrt(2.0) / 4, self.dtype)
        self.start_conv = EqualizedConv(first, dtype=self.dtype)
        rest = self.channels[1:]
        self.up = [EqualizedConv(c, convolve=upsampled_conv, dtype=self.dtype) for c in rest]
        self.conv = [EqualizedConv(c, dtype=self.dtype) for c in rest]
        self.to_image = [EqualizedConv(colours, 1, 1.0, dtype=self.dtype) for _ in self.channels]

    def __call__(self, z: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Images `[B, *shape]`, any real numbers.

        Args:
            z: Noise `[B, D]`.
            context: Condition `[B, K]`.
            train: Unused.

        Raises:
            ValueError: Images that cannot be halved so often.
        """
        z = with_context(pixel_norm(z), context)
        stage, alpha = _grown(self, len(self.channels) - 1)
        image = type(self)._image
        return _at_stage(self, image, len(self.channels), stage, z, alpha).astype(jnp.float32)

    def _image(self, z: Array, alpha: Array | float, *, stage: int) -> Array:
        last = len(self.channels) - 1
        x = self._rectified(self.start(z).reshape(-1, *self.small))
        x = self._rectified(self.start_conv(x))
        if stage == 0:
            return upsample_nearest(self.to_image[0](x), 2**last)
        before = x
        for s in range(stage):
            before = x
            x = self._rectified(self.conv[s](self._rectified(self.up[s](x))))
        old = upsample_nearest(self.to_image[stage - 1](before), 2)
        image = _mixed(old, self.to_image[stage](x), alpha)
        return upsample_nearest(image, 2 ** (last - stage))

    def _rectified(self, x: Array) -> Array:
        return pixel_norm(nn.leaky_relu(x, self.slope))


class ProgressiveDiscriminator(nn.Module):
    """Images to logits; the mirror image of `ProgressiveGenerator`, growing with it.

    A 1x1 convolution for each size reads images; a block of two 3x3 convolutions, behind each a
    leaky rectifier, then halves them. The last block, of the smallest size, is also shown how much
    the examples of the batch differ. While a stage is faded in, what its block gives is mixed with
    what the stage before reads off the halved images.

    Attributes:
        channels: Channels of each stage, from the smallest images on; there are as many stages.
        slope: Negative slope of the leaky rectifiers.
        dtype: Dtype of the computation; parameters and outputs are float32.
    """

    channels: tuple[int, ...]
    slope: float = 0.2
    dtype: jnp.dtype | type = jnp.float32

    def setup(self) -> None:
        """The layers of all stages."""
        first = self.channels[0]
        self.of_image = [EqualizedConv(c, 1, dtype=self.dtype) for c in self.channels]
        self.conv = [EqualizedConv(c, dtype=self.dtype) for c in self.channels[1:]]
        self.down = [EqualizedConv(c, dtype=self.dtype) for c in self.channels[:-1]]
        self.differ = MinibatchStandardDeviation()
        self.end_conv = EqualizedConv(first, dtype=self.dtype)
        self.end = EqualizedDense(first, dtype=self.dtype)
        self.logit = EqualizedDense(1, 1.0, self.dtype)

    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Logits `[B, 1]`.

        Args:
            x: Full-sized images `[B, H, W, C]`.
            context: Condition `[B, K]`.
            train: Unused.

        Raises:
            ValueError: Images that cannot be halved so often.
        """
        _check_sizes(x.shape[1], x.shape[2], len(self.channels))
        stage, alpha = _grown(self, len(self.channels) - 1)
        x = _at_stage(self, type(self)._features, len(self.channels), stage, x, alpha)
        x = self._rectified(self.end_conv(with_context(self.differ(x), context)))
        x = self._rectified(self.end(x.reshape(x.shape[0], -1)))
        return self.logit(x).astype(jnp.float32)

    def _features(self, image: Array, alpha: Array | float, *, stage: int) -> Array:
        image = average_pool(image, 2 ** (len(self.channels) - 1 - stage))
        x = self._rectified(self.of_image[stage](image))
        for s in range(stage - 1, -1, -1):
            x = self._rectified(self.conv[s](x))
            x = average_pool(self._rectified(self.down[s](x)), 2)
            if s == stage - 1:
                old = self._rectified(self.of_image[s](average_pool(image, 2)))
                x = _mixed(old, x, alpha)
        return x

    def _rectified(self, x: Array) -> Array:
        return nn.leaky_relu(x, self.slope)
