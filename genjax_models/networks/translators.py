"""Image translation: generators from images to images, and a discriminator of patches."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.conv import NONE, ONE, Conv, StridedConv, TransposedConv
from genjax_models.networks.layers import drop, with_context
from genjax_models.networks.normalization import Norm, instance_norm


def reflected(x: Array, width: int) -> Array:
    """Images `[B, H, W, C]` with `width` rows and columns mirrored at every edge."""
    around = (width, width)
    return jnp.pad(x, ((0, 0), around, around, (0, 0)), mode="reflect")


class ResNetTranslator(nn.Module):
    """Two halvings, residual blocks, two doublings; edges are mirrored.

    The halvings and doublings are 4x4 where the paper has 3x3: a row of blocks of pixels more, at
    no more work here.

    Attributes:
        out: Channels of the output.
        channels: Channels of the first and the last layer; the blocks have four times as many.
        blocks: Residual blocks: 9 for images of 256 pixels, 6 for 128.
        norm: `train -> normalisation` of all layers but the last.
        residual: If True, adds the input, with the same number of channels, to the output.
        dtype: Dtype of the computation; parameters and outputs are float32.

    References:
        Zhu et al. 2017, Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
        Networks, arXiv:1703.10593, app. 7.2; Johnson et al. 2016, arXiv:1603.08155.
    """

    out: int
    channels: int = 64
    blocks: int = 9
    norm: Norm = instance_norm
    residual: bool = False
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """`[B, H, W, out]`, not bounded.

        Args:
            x: Images `[B, H, W, C]`.
            context: Condition `[B, K]`, joined to every pixel.
            train: Passed to the normalisation.

        Raises:
            ValueError: The height or the width is not a multiple of 4, or below 8.
        """
        if any(n % 4 or n < 8 for n in x.shape[1:3]):
            raise ValueError(
                f"the ResNetTranslator halves images twice, so their height and width are "
                f"multiples of 4, 8 at least, but these are {x.shape[1]}x{x.shape[2]}: pad or "
                "resize them"
            )
        if self.residual and x.shape[-1] != self.out:
            raise ValueError(
                f"a change of images of {x.shape[-1]} channels has as many, but out is {self.out}: "
                f"give out={x.shape[-1]}, or residual=False"
            )

        def end(h: Array) -> Array:
            return self.norm(train)(h)

        def mirrored(h: Array, width: int, size: int, bias: bool = False) -> Array:
            conv = Conv(width, size, self.dtype, INIT, bias)
            return conv(reflected(h, size // 2), NONE)

        c = self.channels
        h = nn.relu(end(mirrored(with_context(x, context), c, 7)))
        for width in (2 * c, 4 * c):
            h = nn.relu(end(StridedConv(width, False, INIT, self.dtype)(h)))
        for _ in range(self.blocks):
            h = h + end(mirrored(nn.relu(end(mirrored(h, 4 * c, 3))), 4 * c, 3))
        for width in (2 * c, c):
            h = nn.relu(end(TransposedConv(width, False, INIT, self.dtype)(h)))
        out = mirrored(h, self.out, 7, bias=True).astype(jnp.float32)
        return x + out if self.residual else out


class UNetTranslator(nn.Module):
    """Halvings down to a few pixels and doublings back, each level handed to its equal: U-Net.

    Its noise is dropout, wherever the caller gives a key for it, in sampling as in training.

    Attributes:
        out: Channels of the output.
        channels: Channels of the first level, doubled at each level up to 8 times.
        num_halvings: Halvings: 8 for images of 256 pixels, 7 for 128.
        dropout: Fraction that is dropped in the first three doublings.
        norm: `train -> normalisation` of all layers but the first, the innermost and the last.
        dtype: Dtype of the computation; parameters and outputs are float32.

    References:
        Isola et al. 2017, Image-to-Image Translation with Conditional Adversarial Networks,
        arXiv:1611.07004, app. 6.1.1.
    """

    out: int
    channels: int = 64
    num_halvings: int = 8
    dropout: float = 0.5
    norm: Norm = instance_norm
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """`[B, H, W, out]`, not bounded.

        Args:
            x: Images `[B, H, W, C]`.
            context: Condition `[B, K]`, joined to every pixel.
            train: Passed to the normalisation.

        Raises:
            ValueError: The height or the width cannot be halved so often.
        """
        factor = 2**self.num_halvings
        if x.shape[1] % factor or x.shape[2] % factor:
            raise ValueError(
                f"the UNetTranslator halves images {self.num_halvings} times, so it is for images "
                f"whose height and width are multiples of {factor}, but these are "
                f"{x.shape[1]}x{x.shape[2]}: give a smaller num_halvings, or resize the images"
            )
        widths = [self.channels * min(2**i, 8) for i in range(self.num_halvings)]
        h, skips, last = with_context(x, context), [], self.num_halvings - 1
        for i, width in enumerate(widths):
            normed = 0 < i < last
            h = StridedConv(width, not normed, INIT, self.dtype)(h)
            h = nn.leaky_relu(self.norm(train)(h) if normed else h, 0.2)
            skips.append(h)
        h = skips.pop()
        for depth, i in enumerate(reversed(range(last))):
            h = TransposedConv(widths[i], False, INIT, self.dtype)(nn.relu(h))
            h = self.norm(train)(h)
            if depth < 3 and self.dropout > 0.0 and self.has_rng("dropout"):
                h = drop(h, self.dropout, self.make_rng("dropout"))
            h = jnp.concatenate([h, skips.pop()], axis=-1)
        return TransposedConv(self.out, True, INIT, self.dtype)(nn.relu(h)).astype(jnp.float32)


INIT = nn.initializers.normal(0.02)


class PatchDiscriminator(nn.Module):
    """One logit for every patch of an image, each patch judged by itself: PatchGAN.

    `layers` 4x4 convolutions of stride 2 and two of stride 1. A logit sees a square of pixels: 34
    of them each way for 2 layers, 70 for 3, 142 for 4.

    Attributes:
        channels: Channels of the first layer, doubled in each layer up to 8 times.
        layers: Number of times the image is halved.
        norm: `train -> normalisation` of all layers but the first and the last; None for none.
        num_outputs: Channels of the output.
        dtype: Dtype of the computation; parameters and outputs are float32.

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
            context: Condition `[B, K]`, joined to every pixel.
            train: Passed to the normalisation.

        Raises:
            ValueError: The images cannot be halved so often, or nothing of them is left.
        """
        factor = 2**self.layers
        if any(n % factor or n < 3 * factor for n in x.shape[1:3]):
            raise ValueError(
                f"{self.layers} layers need images with height and width multiples of "
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
