"""Self-attention, and position encodings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.core.values import value

WEIGHT_SCALE = 0.02
"""Standard deviation at the start of weights and embeddings (Radford et al. 2019)."""


@value
class Positions:
    """A position encoding of a Transformer.

    Attributes:
        learned: If True, adds a learned vector of each position to its token's.
        rotate: `(q or k [B, heads, T, d], positions [T]) -> [B, heads, T, d]`.
    """

    learned: bool
    rotate: Callable[[Array, Array], Array]


def rotate_pairs(x: Array, t: Array, base: float = 10_000.0) -> Array:
    """Rotates entries (i, i + d/2) by the angle t base^(-2i/d), so that q.k depends on t_q - t_k.

    Args:
        x: Queries or keys `[B, heads, T, d]`, d even.
        t: Their positions `[T]`.
        base: Limit of the wavelengths, over 2 pi.

    Returns:
        The same shape.

    Raises:
        ValueError: d is odd.

    References:
        Su et al. 2021, RoFormer, arXiv:2104.09864, eq. 34 (entries in halves, not side by side).
    """
    if x.shape[-1] % 2:
        raise ValueError(
            f"rotary positions turn pairs of entries, but a head has {x.shape[-1]}: choose width "
            "and heads so that width / heads is even"
        )
    half = x.shape[-1] // 2
    angle = t[:, None] * base ** (-jnp.arange(half) / half)  # [T, d/2]
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def as_they_are(x: Array, t: Array) -> Array:
    """Queries or keys `[B, heads, T, d]` whatever their positions are."""
    del t
    return x


learned = Positions(learned=True, rotate=as_they_are)
"""A learned vector for each position, added to the embeddings (GPT-2)."""

rotary = Positions(learned=False, rotate=rotate_pairs)
"""Queries and keys are rotated by their positions (Su et al. 2021, arXiv:2104.09864)."""

Cache: TypeAlias = tuple[Array, Array]
"""Keys and values of a layer `[B, heads, max_length, d]`."""


def dense(features: int, dtype: jnp.dtype | type, scale: float = WEIGHT_SCALE) -> nn.Dense:
    """A dense layer with weights initialised from N(0, scale^2)."""
    return nn.Dense(features, dtype=dtype, kernel_init=nn.initializers.normal(scale))


def attend(q: Array, k: Array, v: Array, mask: Array | None) -> Array:
    """softmax(q k^T / sqrt(d)) v over the places that a query may look at.

    Args:
        q: Queries `[B, heads, T, d]`.
        k: Keys `[B, heads, S, d]`.
        v: Values `[B, heads, S, d]`.
        mask: True where a query attends to a key, bool `[T, S]`; None for all.

    Returns:
        `[B, heads, T, d]`; the softmax is in float32 at least.

    References:
        Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762, eq. 1.
    """
    dtype = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.einsum("bhtd,bhsd->bhts", q * q.shape[-1] ** -0.5, k, preferred_element_type=dtype)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    return jnp.einsum("bhts,bhsd->bhtd", jax.nn.softmax(scores).astype(v.dtype), v)


class Attention(nn.Module):
    """Multi-head self-attention.

    Attributes:
        width: Size of a token's vector, D.
        heads: Number of heads.
        rotate: Function of queries or keys and their positions.
        causal: If True, a position attends only to itself and those before it.
        output_scale: Standard deviation at the start of the output's weights.
        dtype: Dtype of the computation.
    """

    width: int
    heads: int
    rotate: Callable[[Array, Array], Array]
    causal: bool
    output_scale: float
    dtype: jnp.dtype | type = jnp.float32

    def setup(self) -> None:
        """The projections; queries, keys and values are one matrix."""
        self.qkv = dense(3 * self.width, self.dtype)
        self.out = dense(self.width, self.dtype, self.output_scale)

    def __call__(self, x: Array, length: int) -> tuple[Array, Cache]:
        """`[B T, D]` from `[B T, D]`, the tokens of an example side by side; keys and values."""
        q, k, v = self._project(x, jnp.arange(length))
        out = attend(q, k, v, jnp.tri(length, dtype=bool) if self.causal else None)
        return self.out(jnp.swapaxes(out, 1, 2).reshape(x.shape)), (k, v)

    def step(self, cache: Cache, t: Array, x: Array) -> tuple[Array, Cache]:
        """The output `[B, D]` at position t, given `x` `[B, D]`, and the cache with it."""
        q, k, v = self._project(x, t[None])
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), t, axis=2)
            for old, new in zip(cache, (k, v), strict=True)
        )
        out = attend(q, keys, values, jnp.arange(keys.shape[2])[None] <= t)
        return self.out(out.reshape(x.shape)), (keys, values)

    def _project(self, x: Array, t: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values `[B, heads, T, d]` of positions t `[T]`."""
        qkv = self.qkv(x).reshape(-1, t.size, 3, self.heads, self.width // self.heads)
        q, k, v = jnp.transpose(qkv, (2, 0, 3, 1, 4))
        return self.rotate(q, t), self.rotate(k, t), v
