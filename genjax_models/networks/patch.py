"""The discriminator of image translation, which judges an image patch by patch."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.batch_norm import Norm
from genjax_models.networks.convolution import Conv
from genjax_models.networks.convolutional import with_context
from genjax_models.networks.instance_norm import instance_norm
from genjax_models.networks.strided import ONE, StridedConv

INIT = nn.initializers.normal(0.02)


class PatchDiscriminator(nn.Module):
    """One logit for every patch of an image, each patch judged by itself: PatchGAN.

    `layers` 4x4 convolutions of stride 2 and two of stride 1. A logit sees a square of pixels: 34
    of them each way for 2 layers, 70 for 3, 142 for 4.

    Attributes:
        channels: Of the first layer; each layer has twice the last one's, up to 8 times these.
        layers: How often the image is halved.
        norm: `train -> normalisation` of all layers but the first and the last; None for none.
        num_outputs: Channels of the output.
        dtype: What the layers compute in; parameters and outputs are float32.

    References:
        Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks,
        arXiv:1611.07004, app. 6.1.2.
    """

    channels: int = 64
    layers: int = 3
    norm: Norm | None = instance_norm
    num_outputs: int = 1
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """`[B, H / 2^layers - 2, W / 2^layers - 2, num_outputs]`.

        Args:
            x: Images `[B, H, W, C]`.
            context: What the images are conditioned on `[B, K]`, joined to every pixel.
            train: Handed to the normalisation.

        Raises:
            ValueError: The images cannot be halved so often, or nothing of them is left.
        """
        factor = 2**self.layers
        if any(n % factor or n < 3 * factor for n in x.shape[1:3]):
            raise ValueError(
                f"{self.layers} layers judge images whose height and width are multiples of "
                f"{factor}, {3 * factor} at least, but these are {x.shape[1]}x{x.shape[2]}: give "
                "fewer layers, or resize the images"
            )
        x = with_context(x, context)
        for i in range(self.layers + 1):
            width, plain = self.channels * min(2**i, 8), i == 0 or self.norm is None
            if i < self.layers:
                x = StridedConv(width, plain, INIT, self.dtype)(x)
            else:
                x = Conv(width, 4, self.dtype, INIT, plain)(x, ONE)
            if i > 0 and self.norm is not None:
                x = self.norm(train)(x)
            x = nn.leaky_relu(x, 0.2)
        return Conv(self.num_outputs, 4, self.dtype, INIT)(x, ONE).astype(jnp.float32)
