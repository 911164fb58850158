"""The Transformer decoder (GPT): causal self-attention over tokens, with a cache for sampling."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array
from genjax_models.networks.attention import (
    WEIGHT_SCALE,
    Attention,
    Cache,
    Positions,
    dense,
    learned,
)
from genjax_models.networks.layers import drop


def gelu_erf(x: Array) -> Array:
    """X Phi(x), with the normal's distribution function Phi itself (`[...]` to `[...]`).

    References:
        Hendrycks & Gimpel 2016, Gaussian Error Linear Units, arXiv:1606.08415, eq. 1.
    """
    return nn.gelu(x, approximate=False)


def gelu_tanh(x: Array) -> Array:
    """X Phi(x) with tanh in the place of Phi, at most 5e-4 off: the same as `jax.nn.gelu`."""
    return nn.gelu(x, approximate=True)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Attributes:
        attention: The attention.
        dropout: Dropout rate of the branches' outputs.
        activation: Activation between the two layers of the MLP.
    """

    attention: Attention
    dropout: float = 0.0
    activation: Callable[[Array], Array] = nn.gelu

    def setup(self) -> None:
        """The layers, of the attention's width and type."""
        width, dtype = self.attention.width, self.attention.dtype
        self.norm_attention = nn.LayerNorm(epsilon=1e-5, dtype=dtype)
        self.norm_mlp = nn.LayerNorm(epsilon=1e-5, dtype=dtype)
        self.hidden = dense(4 * width, dtype)
        self.out = dense(width, dtype, self.attention.output_scale)

    def __call__(self, x: Array, length: int, *, train: bool) -> tuple[Array, Cache]:
        """`[B T, D]` from `[B T, D]`, and the attention's keys and values."""
        out, cache = self.attention(self.norm_attention(x), length)
        x = x + self._drop(out, length, train)
        return x + self._drop(self._mlp(x), length, train), cache

    def step(self, cache: Cache, t: Array, x: Array) -> tuple[Array, Cache]:
        """The output `[B, D]` at position t, and the cache with it."""
        out, cache = self.attention.step(cache, t, self.norm_attention(x))
        x = x + out
        return x + self._mlp(x), cache

    def _mlp(self, x: Array) -> Array:
        return self.out(self.activation(self.hidden(self.norm_mlp(x))))

    def _drop(self, x: Array, length: int, train: bool) -> Array:
        if not train or self.dropout == 0.0:
            return x
        by_example = x.reshape(-1, length, x.shape[-1])
        return drop(by_example, self.dropout, self.make_rng("dropout")).reshape(x.shape)


class Transformer(nn.Module):
    """A Transformer over tokens, of pre-norm blocks: logits of each token given those before it.

    The token at position t is predicted from a learned start vector and tokens 0 .. t - 1, so all
    tokens of a window are predicted, the first one too.

    Attributes:
        vocabulary: Number of tokens, V.
        width: Size of a token's vector, D.
        heads: Attention heads; the width is a multiple of them.
        layers: Number of blocks.
        max_length: Maximum number of tokens of a window.
        positions: `learned` or `rotary`.
        tied: If True, the logits' weights are the embeddings.
        dropout: Dropout rate of embeddings and branches.
        causal: If True, a position sees only those before it. If False, every position sees all
            tokens, nothing is shifted, and there is no cache.
        outputs: Number of tokens that are predicted, the first ones of the vocabulary; None for
            all. (A mask is a token that a network reads and never predicts.)
        dtype: Dtype of the computation; parameters and outputs are float32.
        activation: Within the MLPs: `jax.nn.gelu`, which is GPT-2's with tanh; `gelu_erf`, BERT's
            and PyTorch's default; or any other that has a name.

    References:
        Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2019, Language Models are Unsupervised
        Multitask Learners, sec. 2.3.
    """

    vocabulary: int
    width: int
    heads: int
    layers: int
    max_length: int
    positions: Positions = learned
    tied: bool = True
    dropout: float = 0.0
    causal: bool = True
    outputs: int | None = None
    dtype: jnp.dtype | type = jnp.float32
    activation: Callable[[Array], Array] = nn.gelu

    def setup(self) -> None:
        """The layers, under GPT-2's names for their places."""
        if self.width % self.heads:
            raise ValueError(
                f"width is {self.width} and heads is {self.heads}: the width must be a multiple"
            )
        attention = functools.partial(
            Attention,
            self.width,
            self.heads,
            self.positions.rotate,
            self.causal,
            WEIGHT_SCALE / math.sqrt(2 * self.layers),  # each layer adds to the sum twice
            self.dtype,
        )
        self.blocks = [
            Block(attention(), self.dropout, self.activation) for _ in range(self.layers)
        ]
        scale = nn.initializers.normal(WEIGHT_SCALE)
        self.embedding = self.param("embedding", scale, (self.vocabulary, self.width))
        if self.causal:
            self.beginning = self.param("beginning", scale, (self.width,))
        if self.positions.learned:
            self.position = self.param("position", scale, (self.max_length, self.width))
        self.norm = nn.LayerNorm(epsilon=1e-5, dtype=self.dtype)
        self.of_context = nn.Dense(self.width, dtype=self.dtype, kernel_init=scale)
        if not self.tied:
            num = self.vocabulary if self.outputs is None else self.outputs
            self.head = nn.Dense(num, use_bias=False, kernel_init=scale)

    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Logits `[B, T, V]`, float32.

        Args:
            x: Tokens int32 `[B, T]`.
            context: Condition `[B, C]`, added to every embedding.
            train: If True, applies dropout.

        Raises:
            ValueError: The window is longer than `max_length`.
        """
        return self._logits(self._layers(x, context, train)[0]).reshape(*x.shape, -1)

    def prefill(self, x: Array, context: Array | None = None) -> list[Cache]:
        """The cache after steps 0 .. T - 1 with tokens `x` `[B, T]`, by one pass.

        Entry t of it is of tokens before t alone, and steps look at those up to their own, which
        they write. So a cache of more tokens than are known serves as well: step on from position
        n, whatever stands in `x` from n on.
        """
        caches = self._layers(x, context, train=False)[1]
        room = [(0, 0), (0, 0), (0, self.max_length - x.shape[1]), (0, 0)]
        return [(jnp.pad(k, room), jnp.pad(v, room)) for k, v in caches]

    def _layers(self, x: Array, context: Array | None, train: bool) -> tuple[Array, list[Cache]]:
        """The last block's outputs `[B T, D]`, and every layer's keys and values."""
        length = x.shape[1]
        if length > self.max_length:
            raise ValueError(
                f"the Transformer has max_length={self.max_length}, but it was given windows of "
                f"{length} tokens: raise max_length or shorten the window"
            )
        h = self._embed(x)
        if self.causal:
            first = jnp.broadcast_to(self.beginning, (x.shape[0], 1, self.width))
            h = jnp.concatenate([first, h[:, :-1]], axis=1)
        if self.positions.learned:
            h = h + self.position[:length]
        h = self._with_context(h.astype(self.dtype), context)
        if train and self.dropout > 0.0:
            h = drop(h, self.dropout, self.make_rng("dropout"))
        # One row a token: the gradients of weights are then plain products of two matrices, which
        # the CPU does faster than those of [B, T, D].
        h, caches = h.reshape(-1, self.width), []
        for block in self.blocks:
            h, cache = block(h, length, train=train)
            caches.append(cache)
        return h, caches

    def start(self, num: int, context: Array | None = None) -> list[Cache]:
        """Empty keys and values of every layer."""
        del context
        shape = (num, self.heads, self.max_length, self.width // self.heads)
        return [(jnp.zeros(shape, self.dtype), jnp.zeros(shape, self.dtype))] * self.layers

    def step(
        self, cache: list[Cache], t: Array, previous: Array, context: Array | None = None
    ) -> tuple[Array, list[Cache]]:
        """Logits `[B, V]` of token t, given token t - 1 `[B]`, and the cache after it."""
        t = jnp.asarray(t)
        h = jnp.where(t == 0, self.beginning, self._embed(previous))
        if self.positions.learned:
            h = h + self.position[t]
        h = self._with_context(h.astype(self.dtype), context)
        after = []
        for block, layer in zip(self.blocks, cache, strict=True):
            h, layer = block.step(layer, t, h)
            after.append(layer)
        return self._logits(h), after

    def _embed(self, x: Array) -> Array:
        return self.embedding[x]

    def _with_context(self, h: Array, context: Array | None) -> Array:
        if context is None:
            return h
        added = self.of_context(context)
        return h + (added if h.ndim == 2 else added[:, None])

    def _logits(self, h: Array) -> Array:
        h = self.norm(h)
        if self.tied:
            return (h @ self.embedding[: self.outputs].T.astype(h.dtype)).astype(jnp.float32)
        return self.head(h).astype(jnp.float32)
