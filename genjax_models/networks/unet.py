"""The U-Net of diffusion models: residual blocks at falling and rising resolutions, with skips."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.attention import Attention, learned
from genjax_models.networks.conv import Conv, UpsampledConv, space_to_depth
from genjax_models.networks.layers import drop, near_zero
from genjax_models.networks.noise_embedding import NoiseEmbedding
from genjax_models.networks.normalization import GroupNorm


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))), scale, shift))), initialised near the identity.

    Attributes:
        channels: Channels of the output; where the input has others, x passes a 1x1 convolution.
        groups: Groups of the normalisations.
        dropout: Fraction that is dropped before the last convolution in training.
        dtype: Dtype of the computation.
    """

    channels: int
    groups: int
    dropout: float
    dtype: jnp.dtype | type

    @nn.compact
    def __call__(self, x: Array, level: Array, *, train: bool) -> Array:
        """`[B, H, W, channels]`, from `[B, H, W, C]` and the noise level's vector `[B, D]`."""
        h = nn.silu(GroupNorm(self.groups)(x))
        h = Conv(self.channels, 3, self.dtype, use_bias=False)(h)
        scale_shift = nn.Dense(2 * self.channels, dtype=self.dtype)(level)
        scale, shift = jnp.split(scale_shift, 2, axis=-1)
        h = nn.silu(GroupNorm(self.groups)(h, scale, shift))
        if train and self.dropout > 0.0:
            h = drop(h, self.dropout, self.make_rng("dropout"))
        h = Conv(self.channels, 3, self.dtype, near_zero)(h)
        if x.shape[-1] != self.channels:
            x = Conv(self.channels, 1, self.dtype, name="project")(x)
        return x + h


class FrameConv(nn.Module):
    """x + conv(silu(norm(x))) over three frames at each pixel, initialised near the identity.

    Attributes:
        frames: Frames of a film, T.
        groups: Groups of the normalisation.
        dtype: Dtype of the computation.

    References:
        Tran et al. 2018, A Closer Look at Spatiotemporal Convolutions, arXiv:1711.11248, sec. 3.5.
    """

    frames: int
    groups: int
    dtype: jnp.dtype | type

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B T, H, W, C]`, from the same."""
        h = nn.silu(GroupNorm(self.groups)(x)).reshape(-1, self.frames, *x.shape[1:])
        h = jnp.pad(h, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
        near = jnp.concatenate([h[:, i : i + self.frames] for i in range(3)], axis=-1)
        h = nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=near_zero)(near)
        return x + h.reshape(x.shape)


class PixelAttention(nn.Module):
    """x + attention(norm(x)) over all pixels, initialised near the identity.

    Attributes:
        heads: Attention heads; the channels are a multiple.
        groups: Groups of the normalisation.
        dtype: Dtype of the computation.
    """

    heads: int
    groups: int
    dtype: jnp.dtype | type

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, C]`, from the same.

        Raises:
            ValueError: The channels are not a multiple of the heads.
        """
        _, height, width, channels = x.shape
        if channels % self.heads:
            raise ValueError(
                f"{channels} channels cannot be attended to by {self.heads} heads: choose heads "
                "that divide the channels of every level with attention"
            )
        attention = Attention(channels, self.heads, learned.rotate, False, 1e-3, self.dtype)
        rows = GroupNorm(self.groups)(x).reshape(-1, channels)  # [B H W, C]
        return x + attention(rows, height * width)[0].reshape(x.shape)


class UNet(nn.Module):
    """A U-Net: a downsampling and an upsampling path, with skip connections.

    At every level there are `blocks` residual blocks on the way down and as many on the way up;
    two more are at the bottom. The noise level and the context set the scale and shift of
    a normalisation in every block. The defaults have 3.4 million parameters, and `channels=28,
    groups=7` makes it 2.6 million.

    Attributes:
        channels: Channels of the first level.
        out: Channels of the output.
        multipliers: Channel multipliers of the levels; the resolution halves between levels.
        blocks: Residual blocks per level, each way.
        attention: Level by level, whether each of its blocks is followed by attention. The blocks
            at the bottom have what the last level has.
        heads: Attention heads.
        groups: Groups of the normalisations.
        dropout: Fraction that is dropped within residual blocks in training.
        frames: Frames of a film, which stand side by side as that many images; where there are
            more than one, each block is followed by a convolution over them.
        dtype: Dtype of the computation (`jnp.bfloat16` for mixed precision); parameters,
            normalisations' statistics and outputs are float32.

    References:
        Ronneberger et al. 2015, arXiv:1505.04597; Ho et al. 2020, arXiv:2006.11239, app. B;
        Dhariwal & Nichol 2021, arXiv:2105.05233, sec. 3; of films, Ho et al. 2022, Video Diffusion
        Models, arXiv:2204.03458, sec. 3 (with attention in the convolutions' place).
    """

    channels: int = 32
    out: int = 1
    multipliers: Sequence[int] = (1, 2, 4)
    blocks: int = 2
    attention: Sequence[bool] = (False, False, True)
    heads: int = 4
    groups: int = 8
    dropout: float = 0.0
    frames: int = 1
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(
        self, x: Array, log_snr: Array, context: Array | None = None, *, train: bool = False
    ) -> Array:
        """`[B, H, W, out]`, float32; small before training.

        Args:
            x: Images `[B, H, W, C]`.
            log_snr: log(alpha^2 / sigma^2) of each `[B]`, in nats; may be infinite.
            context: Condition `[B, K]`; zeros are no condition.
            train: If True, applies dropout.

        Raises:
            ValueError: The images cannot be halved so often, or attributes do not fit.
        """
        self._check(x)
        widths = [self.channels * m for m in self.multipliers]
        level = NoiseEmbedding(4 * self.channels, dtype=self.dtype, name="level")(log_snr, context)
        level = nn.silu(level)

        def block(h: Array, i: int) -> Array:
            of = ResidualBlock(widths[i], self.groups, self.dropout, self.dtype)
            h = of(h, level, train=train)
            if self.frames > 1:
                h = FrameConv(self.frames, self.groups, self.dtype)(h)
            return PixelAttention(self.heads, self.groups, self.dtype)(h) if attends[i] else h

        attends, bottom, skips = list(self.attention), len(widths) - 1, []
        h = Conv(widths[0], 3, self.dtype)(x)
        for i in range(len(widths)):
            if i > 0:
                h = Conv(widths[i], 1, self.dtype)(space_to_depth(h))
            for _ in range(self.blocks):
                h = block(h, i)
                skips.append(h)
        h = block(h, bottom)
        h = ResidualBlock(widths[bottom], self.groups, self.dropout, self.dtype)(
            h, level, train=train
        )
        for i in reversed(range(len(widths))):
            for _ in range(self.blocks):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), i)
            if i > 0:
                h = UpsampledConv(widths[i - 1], self.dtype)(h)
        h = nn.silu(GroupNorm(self.groups)(h))
        h = Conv(self.out, 3, self.dtype, near_zero)(h)
        return h.astype(jnp.promote_types(self.dtype, jnp.float32))

    def _check(self, x: Array) -> None:
        levels = len(self.multipliers)
        if len(self.attention) != levels:
            raise ValueError(
                f"attention says of {len(self.attention)} levels whether they have it, but "
                f"multipliers has {levels}: give one of each a level"
            )
        factor = 2 ** (levels - 1)
        if x.ndim != 4 or x.shape[1] % factor or x.shape[2] % factor:
            raise ValueError(
                f"the UNet has {levels} levels, so it is for images [B, H, W, C] whose height and "
                f"width are multiples of {factor}, but it was given {x.shape}: give `multipliers` "
                "fewer levels, or pad the images"
            )
