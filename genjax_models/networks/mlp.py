"""Fully connected networks: the MLP, and the denoising MLP of diffusion models of points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.layers import near_zero
from genjax_models.networks.noise_embedding import NoiseEmbedding


class MLP(nn.Module):
    """Dense layers with an activation between them; the input is flattened.

    Attributes:
        features: Width of each layer; the last is the number of outputs.
        activation: Activation between layers, not after the last.
        dtype: Dtype of the computation (`jnp.bfloat16` for mixed precision); parameters and
            outputs are float32 (float64 for `jnp.float64`).
    """

    features: Sequence[int]
    activation: Callable[[Array], Array] = nn.silu
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Computes outputs `[B, features[-1]]`, float32.

        Args:
            x: Inputs `[B, ...]`.
            context: Condition `[B, C]`, joined to the inputs.
            train: Unused.
        """
        x = x.reshape(x.shape[0], -1)
        if context is not None:
            x = jnp.concatenate([x, context.astype(x.dtype)], axis=-1)
        *hidden, last = self.features
        for width in hidden:
            x = self.activation(nn.Dense(width, dtype=self.dtype)(x))
        out = nn.Dense(last, dtype=self.dtype)(x)
        return out.astype(jnp.promote_types(self.dtype, jnp.float32))


class DenoisingMLP(nn.Module):
    """Residual blocks `h + W' silu(W norm(h) (1 + scale) + shift)` over vectors.

    Scale and shift are linear in the vector of the noise level and of the context. W' and the
    output's weights start near 0, so that every block starts as the identity.

    Attributes:
        out: Size of the output.
        width: Size of the hidden vectors.
        blocks: Number of residual blocks.
        dtype: Dtype of the computation (`jnp.bfloat16` for mixed precision); parameters and
            outputs are float32.
    """

    out: int
    width: int = 128
    blocks: int = 3
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(
        self, x: Array, log_snr: Array, context: Array | None = None, *, train: bool = False
    ) -> Array:
        """`[B, out]`, float32; small before training.

        Args:
            x: Points `[B, D]`.
            log_snr: log(alpha^2 / sigma^2) of each `[B]`, in nats; may be infinite.
            context: Condition `[B, K]`; zeros are no condition.
            train: Unused.

        Raises:
            ValueError: `x` is not of vectors.
        """
        if x.ndim != 2:
            raise ValueError(
                f"the DenoisingMLP is for points [B, D], but it was given {x.shape}: use a UNet or "
                "a DiT for images"
            )
        level = nn.silu(
            NoiseEmbedding(self.width, dtype=self.dtype, name="level")(log_snr, context)
        )
        h = nn.Dense(self.width, dtype=self.dtype)(x)
        for _ in range(self.blocks):
            y = nn.Dense(self.width, dtype=self.dtype)(nn.LayerNorm(dtype=self.dtype)(h))
            modulation = nn.Dense(2 * self.width, dtype=self.dtype)(level)
            scale, shift = jnp.split(modulation, 2, axis=-1)
            y = nn.silu(y * (1.0 + scale) + shift)
            h = h + nn.Dense(self.width, dtype=self.dtype, kernel_init=near_zero)(y)
        h = nn.silu(nn.LayerNorm(dtype=self.dtype)(h))
        h = nn.Dense(self.out, dtype=self.dtype, kernel_init=near_zero, name="out")(h)
        return h.astype(jnp.promote_types(self.dtype, jnp.float32))
