"""A generator and a discriminator of residual blocks, and the projection of a label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.conv import (
    Conv,
    StridedConv,
    UpsampledConv,
    average_pool,
    upsample_nearest,
)
from genjax_models.networks.dcgan import smallest_image
from genjax_models.networks.layers import with_context
from genjax_models.networks.normalization import BatchNorm, Norm


class ResidualGenerator(nn.Module):
    """Noise to images: blocks of two 3x3 convolutions, the first of repeated pixels.

    Attributes:
        channels: Channels of each level; there are as many doublings.
        shape: Height, width and channels of the output.
        norm: `train -> normalisation` before every convolution; None for none.
        dtype: Dtype of the computation; parameters and outputs are float32.

    References:
        Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks,
        arXiv:1802.05957, table 4; Gulrajani et al. 2017, Improved Training of Wasserstein GANs,
        arXiv:1704.00028, app. F.
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

        def begin(h: Array) -> Array:
            return nn.relu(h if self.norm is None else self.norm(train)(h))

        bias = self.norm is None
        first = (*smallest_image(self.shape, len(self.channels)), self.channels[0])
        h = nn.Dense(math.prod(first), dtype=self.dtype)(with_context(z, context))
        h = h.reshape(-1, *first)
        for width in self.channels:
            a = UpsampledConv(width, self.dtype)(begin(h))
            a = Conv(width, 3, self.dtype)(begin(a))
            h = a + upsample_nearest(Conv(width, 1, self.dtype, use_bias=bias)(h), 2)
        return Conv(self.shape[-1], 3, self.dtype)(begin(h)).astype(jnp.float32)


class ResidualDiscriminator(nn.Module):
    """Images to logits or features: blocks of two convolutions, the second of stride 2.

    The papers' 3x3 convolution and mean of 2x2 pixels is a 4x4 convolution of stride 2, and is one
    here, with a free kernel.

    Attributes:
        channels: Channels of each level; there are as many halvings.
        blocks: Residual blocks after them that keep the size.
        num_outputs: Size of the output; None for the sum over the last level's pixels, as
            `Projection` takes it.
        dtype: Dtype of the computation; parameters and outputs are float32.

    References:
        Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks,
        arXiv:1802.05957, table 4; Gulrajani et al. 2017, Improved Training of Wasserstein GANs,
        arXiv:1704.00028, app. F.
    """

    channels: Sequence[int]
    blocks: int = 2
    num_outputs: int | None = 1
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """`[B, num_outputs]`, or `[B, channels[-1]]`.

        Args:
            x: Images `[B, H, W, C]`.
            context: Condition `[B, K]`, joined to every pixel.
            train: Unused.

        Raises:
            ValueError: The images cannot be halved so often.
        """
        h = with_context(x, context)
        for i, width in enumerate(self.channels):
            a = h if i == 0 else nn.relu(h)  # data are not activations, and so not rectified
            a = nn.relu(Conv(width, 3, self.dtype)(a))
            a = StridedConv(width, dtype=self.dtype)(a)
            h = a + Conv(width, 1, self.dtype)(average_pool(h, 2))
        for _ in range(self.blocks):
            a = Conv(self.channels[-1], 3, self.dtype)(nn.relu(h))
            h = h + Conv(self.channels[-1], 3, self.dtype)(nn.relu(a))
        h = jnp.sum(nn.relu(h), axis=(1, 2))
        if self.num_outputs is not None:
            h = nn.Dense(self.num_outputs, dtype=self.dtype)(h)
        return h.astype(jnp.float32)


class Projection(nn.Module):
    """`w . h + b + <E y, h>` with features h of the example and a vector E y of its label.

    Attributes:
        features: A network `x -> h [B, D]`, such as a discriminator with `num_outputs=None`,
            without the label.

    References:
        Miyato & Koyama 2018, cGANs with Projection Discriminator, arXiv:1802.05637, eq. 8.
    """

    features: nn.Module

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Logits `[B, 1]`.

        Args:
            x: Examples `[B, ...]`.
            context: One-hot labels `[B, K]`; None for `w . h + b` alone.
            train: Passed to the network.

        Raises:
            ValueError: The network does not give one vector an example.
        """
        h = self.features(x, train=train)
        if h.ndim != 2:
            raise ValueError(
                f"Projection takes features [B, D], but its network gives {h.shape}: take one that "
                "gives a vector an example (num_outputs=None)"
            )
        logits = nn.Dense(1, name="w")(h)
        if context is None:
            return logits
        embedding = nn.Dense(h.shape[-1], use_bias=False, name="embedding")(context)
        return logits + jnp.sum(embedding * h, axis=-1, keepdims=True)
