"""Group normalisation, with the scale and shift by which a block is conditioned."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array


class GroupNorm(nn.Module):
    """Groups of channels brought to mean 0 and variance 1, then scaled and shifted.

    `y = (x - mean) / sqrt(var + eps) * gain + bias`, then `y (1 + scale) + shift`. The statistics
    are of a channel first and of its group then, and all that follows is one product and one sum an
    entry: two passes over the images, whatever they are conditioned on.

    Attributes:
        groups: Number of groups; the channels are a multiple.
        epsilon: Added to the variance.

    References:
        Wu & He 2018, Group Normalization, arXiv:1803.08494; Dhariwal & Nichol 2021,
        arXiv:2105.05233, sec. 3 (adaptive group normalisation).
    """

    groups: int
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array, scale: Array | None = None, shift: Array | None = None) -> Array:
        """Images of the same shape and type.

        Args:
            x: Images `[B, H, W, C]`.
            scale: By how much more than 1 each channel is scaled `[B, C]`.
            shift: What is added to each channel `[B, C]`.

        Raises:
            ValueError: The channels are not a multiple of the groups.
        """
        channels = x.shape[-1]
        if channels % self.groups:
            raise ValueError(
                f"{channels} channels cannot be normalised in {self.groups} groups of one size: "
                "choose groups that divide every level's channels"
            )
        gain = self.param("gain", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        mean, variance = self._moments(x.astype(jnp.float32))
        slope = jax.lax.rsqrt(variance + self.epsilon) * gain
        offset = bias - mean * slope
        if scale is not None:
            slope, offset = slope * (1.0 + scale), offset * (1.0 + scale)
        if shift is not None:
            offset = offset + shift
        return (x * slope[:, None, None] + offset[:, None, None]).astype(x.dtype)

    def _moments(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance `[B, C]` of each channel's group."""

        def over_group(a: Array) -> Array:
            grouped = a.reshape(a.shape[0], self.groups, -1).mean(-1, keepdims=True)
            return jnp.broadcast_to(grouped, (*grouped.shape[:2], a.shape[1] // self.groups))

        flat = x.reshape(x.shape[0], -1, x.shape[-1])
        mean = over_group(flat.mean(1)).reshape(x.shape[0], -1)
        square = over_group((flat**2).mean(1)).reshape(x.shape[0], -1)
        return mean, jnp.maximum(square - mean**2, 0.0)
