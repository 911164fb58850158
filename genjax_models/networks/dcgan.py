"""The convolutional generator and discriminator of DCGAN."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.conv import StridedConv, TransposedConv
from genjax_models.networks.layers import with_context
from genjax_models.networks.normalization import BatchNorm, Norm

INIT = nn.initializers.normal(0.02)


def smallest_image(shape: tuple[int, int, int], doublings: int) -> tuple[int, int]:
    """Height and width of the grid that becomes an image of `shape` after `doublings`.

    Raises:
        ValueError: No images have this shape.
    """
    height, width, _ = shape
    factor = 2**doublings
    if height % factor or width % factor:
        raise ValueError(
            f"{doublings} doublings give images whose height and width are multiples of {factor}, "
            f"not {height}x{width}: give `channels` fewer levels"
        )
    return height // factor, width // factor


class DCGANGenerator(nn.Module):
    """Noise to images, by 4x4 transposed convolutions of stride 2.

    Attributes:
        channels: Channels of each level before it is doubled; there are as many doublings:
            `(128, 64)` for images of 28 pixels, `(256, 128, 64)` for 32.
        shape: Height, width and channels of the output.
        norm: `train -> normalisation` of every level (`BatchNorm`, `gm.partial(group_norm, 8)`);
            None for none.
        dtype: Dtype of the computation; parameters and outputs are float32.

    References:
        Radford et al. 2016, Unsupervised Representation Learning with Deep Convolutional
        Generative Adversarial Networks, arXiv:1511.06434, sec. 3 and 4.
    """

    channels: Sequence[int]
    shape: tuple[int, int, int]
    norm: Norm | None = BatchNorm
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, z: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Images `[B, *shape]`, not bounded.

        Args:
            z: Noise `[B, D]`.
            context: Condition `[B, K]`, joined to the noise.
            train: Passed to the normalisation.

        Raises:
            ValueError: `shape` cannot be reached by so many doublings.
        """
        bias = self.norm is None
        first = (*smallest_image(self.shape, len(self.channels)), self.channels[0])
        h = with_context(z, context)
        h = nn.Dense(math.prod(first), bias, self.dtype, kernel_init=INIT)(h)
        h = self._end(h.reshape(-1, *first), train)
        for width in self.channels[1:]:
            h = self._end(TransposedConv(width, bias, INIT, self.dtype)(h), train)
        return TransposedConv(self.shape[-1], True, INIT, self.dtype)(h).astype(jnp.float32)

    def _end(self, h: Array, train: bool) -> Array:
        return nn.relu(h if self.norm is None else self.norm(train)(h))


class DCGANDiscriminator(nn.Module):
    """Images to logits or features, by 4x4 convolutions of stride 2.

    Attributes:
        channels: Channels of each level after it is halved; there are as many halvings.
        norm: `train -> normalisation` of every level but the first (`BatchNorm`,
            `gm.partial(group_norm, 8)`); None for none, which a gradient penalty asks for.
        num_outputs: Size of the output; None for the last level itself, as `Projection` takes it.
        dtype: Dtype of the computation; parameters and outputs are float32.

    References:
        Radford et al. 2016, Unsupervised Representation Learning with Deep Convolutional
        Generative Adversarial Networks, arXiv:1511.06434, sec. 3 and 4.
    """

    channels: Sequence[int]
    norm: Norm | None = BatchNorm
    num_outputs: int | None = 1
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """`[B, num_outputs]`, or `[B, H/2^levels W/2^levels channels[-1]]`.

        Args:
            x: Images `[B, H, W, C]`.
            context: Condition `[B, K]`, joined to every pixel.
            train: Passed to the normalisation.

        Raises:
            ValueError: The images cannot be halved so often.
        """
        h = x
        for i, width in enumerate(self.channels):
            normed = i > 0 and self.norm is not None
            h = StridedConv(width, not normed, INIT, self.dtype)(h)
            if i == 0 and context is not None:
                # What the taps of one constant plane a condition, joined to the image, sum up to.
                taps = nn.Dense(width, False, self.dtype, kernel_init=INIT, name="condition")
                h = h + taps(context)[:, None, None]
            if i > 0 and self.norm is not None:
                h = self.norm(train)(h)
            h = nn.leaky_relu(h, 0.2)
        h = h.reshape(h.shape[0], -1)
        if self.num_outputs is not None:
            h = nn.Dense(self.num_outputs, dtype=self.dtype, kernel_init=INIT)(h)
        return h.astype(jnp.float32)
