"""Embedding of the noise level and the condition of a diffusion network."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array

LOWEST, HIGHEST = -20.0, 20.0
"""Range of log-SNRs; beyond it, float32 data or noise vanish in the sum."""


def sinusoids(t: Array, features: int, longest: float = 10_000.0) -> Array:
    """Sines and cosines of `t` at wavelengths from 2 pi to 2 pi `longest`, evenly in logarithm.

    Args:
        t: Numbers `[...]`.
        features: Number of features, even.
        longest: Ratio of the longest wavelength to the shortest.

    Returns:
        `[..., features]`, the sines first.

    References:
        Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762, sec. 3.5.
    """
    angle = t[..., None] * longest ** -jnp.linspace(0.0, 1.0, features // 2)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class NoiseEmbedding(nn.Module):
    """Sum of an embedding of the noise level and one of the context.

    `mlp(sinusoids(1000 u)) + context W`, where u goes from 0 to 1 as the log-SNR goes from its
    lowest to its highest. W has no bias, so that a context of zeros is no condition: a network
    trained with dropped labels gets zeros in their place.

    Attributes:
        width: Size of the vector.
        features: Number of sines and cosines.
        dtype: Dtype of the computation; the sinusoids are float32.

    References:
        Ho et al. 2020, arXiv:2006.11239, app. B; Kingma et al. 2021, arXiv:2107.00630, app. B
        (log-SNR in the place of the time).
    """

    width: int
    features: int = 64
    dtype: jnp.dtype | type = jnp.float32

    @nn.compact
    def __call__(self, log_snr: Array, context: Array | None = None) -> Array:
        """`[B, width]`.

        Args:
            log_snr: log(alpha^2 / sigma^2) `[B]`, in nats; may be infinite.
            context: Condition `[B, C]`, or None.
        """
        u = (jnp.clip(log_snr, LOWEST, HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
        h = sinusoids(1000.0 * u.astype(jnp.float32), self.features).astype(self.dtype)
        h = nn.silu(nn.Dense(self.width, dtype=self.dtype)(h))
        h = nn.Dense(self.width, dtype=self.dtype)(h)
        if context is None:
            return h
        return h + nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="of_context")(
            context
        )
