"""A codebook that follows its vectors by moving averages: the quantiser of a VQ-VAE.

Its state is `{"embedding" [K, d], "count" [K], "sum" [K, d]}`; nothing of it is trained by
gradients. The functions are pure: they take a state and return one.

References:
    van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv:1711.00937, app. A.1.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from genjax_models.core.types import Array, Key

Codebook = Mapping[str, Array]


def fresh(key: Key, vectors: Array, num_codes: int) -> dict[str, Array]:
    """A codebook whose codes are vectors drawn at random, slightly perturbed.

    Args:
        key: What the draw is a function of.
        vectors: Encoded data `[N, d]`.
        num_codes: K.
    """
    embedding = _drawn(key, vectors, num_codes)
    return {"embedding": embedding, "count": jnp.ones(num_codes), "sum": embedding}


def nearest(codebook: Codebook, vectors: Array) -> Array:
    """Index of the code nearest to each vector: `[..., d] -> [...]` int32."""
    embedding = codebook["embedding"]
    # |v - e|^2 less |v|^2, which does not change which code is nearest.
    scores = jnp.sum(embedding**2, axis=-1) - 2.0 * vectors @ embedding.T
    return jnp.argmin(scores, axis=-1).astype(jnp.int32)


def update(
    codebook: Codebook,
    vectors: Array,
    codes: Array,
    key: Key,
    *,
    decay: float,
    dead_below: float,
) -> dict[str, Array]:
    """The codebook after a batch; codes that hardly anything uses start anew at one of its vectors.

    `N_k <- decay N_k + (1 - decay) n_k`, the same for the sums, `e_k = m_k / N_k` (eq. 6-8).

    Args:
        codebook: The codebook before.
        vectors: All of the batch's vectors `[N, d]`.
        codes: The code of each `[N]`.
        key: Which vectors dead codes restart at.
        decay: What a step keeps of the averages.
        dead_below: A code is dead whose average count of uses a step is below this.
    """
    num_codes = codebook["count"].shape[0]
    one_hot = jax.nn.one_hot(codes, num_codes)
    count = decay * codebook["count"] + (1 - decay) * jnp.sum(one_hot, axis=0)
    total = decay * codebook["sum"] + (1 - decay) * one_hot.T @ vectors
    dead = count < dead_below
    # A restarted code holds its place for a while: it starts with one use a step.
    count = jnp.where(dead, jnp.maximum(1.0, dead_below), count)
    restart = _drawn(key, vectors, num_codes) * count[:, None]
    total = jnp.where(dead[:, None], restart, total)
    return {"embedding": total / count[:, None], "count": count, "sum": total}


def _drawn(key: Key, vectors: Array, num: int) -> Array:
    """`num` of the vectors `[num, d]`, moved by a hundredth of their spread."""
    key_index, key_noise = jax.random.split(key)
    index = jax.random.randint(key_index, (num,), 0, vectors.shape[0])
    noise = jax.random.normal(key_noise, (num, vectors.shape[1]))
    return vectors[index] + 0.01 * jnp.std(vectors, axis=0) * noise
