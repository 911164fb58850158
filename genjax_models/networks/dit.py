"""The diffusion Transformer: blocks over patches, with norms conditioned on the noise level."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.attention import WEIGHT_SCALE, Attention, dense, learned
from genjax_models.networks.layers import near_zero
from genjax_models.networks.noise_embedding import NoiseEmbedding, sinusoids


def to_patches(x: Array, patch: int) -> Array:
    """Images as rows of patches: `[B, H, W, C] -> [B, (H/p) (W/p), p p C]`."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // patch, patch, w // patch, patch, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, -1, patch * patch * c)


def from_patches(x: Array, patch: int, height: int, width: int) -> Array:
    """The inverse of `to_patches`: `[B, (H/p) (W/p), p p C] -> [B, H, W, C]`."""
    b = x.shape[0]
    x = x.reshape(b, height // patch, width // patch, patch, patch, -1)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, height, width, -1)


def positions(height: int, width: int, features: int) -> Array:
    """Fixed vectors of places `[height width, features]`: half of the row, half of the column."""
    rows, columns = (
        sinusoids(jnp.arange(n, dtype=jnp.float32), features // 2) for n in (height, width)
    )
    shape = (height, width, features // 2)
    rows = jnp.broadcast_to(rows[:, None], shape)
    columns = jnp.broadcast_to(columns[None], shape)
    return jnp.concatenate([rows, columns], axis=-1).reshape(-1, features)


class AdaptiveBlock(nn.Module):
    """adaLN-zero: x + gate branch(norm(x) (1 + scale) + shift), for attention and for an MLP.

    Gates, scales and shifts are linear in the noise level's vector and 0 before training, so that
    every block starts as the identity.

    Attributes:
        width: Size of a patch's vector, D.
        heads: Attention heads.
        dtype: Dtype of the computation.
    """

    width: int
    heads: int
    dtype: jnp.dtype | type

    @nn.compact
    def __call__(self, x: Array, level: Array) -> Array:
        """`[B, T, D]`, from `[B, T, D]` and `[B, D]`."""
        modulation = nn.Dense(
            6 * self.width, dtype=self.dtype, kernel_init=near_zero, name="modulation"
        )(level)[:, None]
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = jnp.split(modulation, 6, axis=-1)
        attention = Attention(
            self.width, self.heads, learned.rotate, False, WEIGHT_SCALE, self.dtype
        )
        h = _plain_norm(x, self.dtype) * (1.0 + scale) + shift
        h, _ = attention(h.reshape(-1, self.width), x.shape[1])
        x = x + gate * h.reshape(x.shape)
        h = _plain_norm(x, self.dtype) * (1.0 + scale_mlp) + shift_mlp
        h = nn.gelu(dense(4 * self.width, self.dtype)(h.reshape(-1, self.width)))
        return x + gate_mlp * dense(self.width, self.dtype)(h).reshape(x.shape)


def _plain_norm(x: Array, dtype: jnp.dtype | type) -> Array:
    """Layer normalisation without parameters; the block's own scale and shift follow."""
    return nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=False, dtype=dtype)(x)


class DiT(nn.Module):
    """A Transformer over an image's patches, conditioned on the noise level by its norms.

    Positions are fixed sinusoids, so images of any multiple of the patch size fit.

    Attributes:
        patch: Height and width of a patch.
        width: Size of a patch's vector; a multiple of 4 and of the heads.
        layers: Number of blocks.
        heads: Attention heads.
        out: Channels of the output.
        dtype: Dtype of the computation (`jnp.bfloat16` for mixed precision); parameters and
            outputs are float32.

    References:
        Peebles & Xie 2023, Scalable diffusion models with transformers, arXiv:2212.09748, sec. 3.2.
    """

    patch: int
    width: int
    layers: int
    heads: int
    out: int = 1
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
            train: Unused.

        Raises:
            ValueError: Patches do not fill the images, or the width does not fit.
        """
        self._check(x)
        _, height, width, _ = x.shape
        level = nn.silu(
            NoiseEmbedding(self.width, dtype=self.dtype, name="level")(log_snr, context)
        )
        h = nn.Dense(self.width, dtype=self.dtype)(to_patches(x, self.patch))
        at = positions(height // self.patch, width // self.patch, self.width)
        h = h + at.astype(h.dtype)
        for _ in range(self.layers):
            h = AdaptiveBlock(self.width, self.heads, self.dtype)(h, level)
        modulation = nn.Dense(2 * self.width, dtype=self.dtype, kernel_init=near_zero)(level)
        shift, scale = jnp.split(modulation[:, None], 2, axis=-1)
        h = _plain_norm(h, self.dtype) * (1.0 + scale) + shift
        h = nn.Dense(self.patch**2 * self.out, dtype=self.dtype, kernel_init=near_zero, name="out")(
            h
        )
        h = from_patches(h, self.patch, height, width)
        return h.astype(jnp.promote_types(self.dtype, jnp.float32))

    def _check(self, x: Array) -> None:
        if x.ndim != 4 or x.shape[1] % self.patch or x.shape[2] % self.patch:
            raise ValueError(
                f"the DiT has patches of {self.patch}x{self.patch} pixels, so it is for images "
                f"[B, H, W, C] whose height and width are multiples of {self.patch}, but it was "
                f"given {x.shape}: choose another `patch`, or pad the images"
            )
        if self.width % 4 or self.width % self.heads:
            raise ValueError(
                f"width is {self.width} and heads is {self.heads}: the width must be a multiple of "
                "both 4 and heads"
            )
