"""Probabilities as whole numbers, on which both sides of a code must agree to the last bit."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from genjax_models.core.distributions import Distribution, Normal
from genjax_models.core.types import Array

PRECISION = 24
"""Probabilities are multiples of 2^-24, which is what constriction's coders take."""


def level_weights(distribution: Distribution, shape: tuple[int, ...], levels: int) -> Array:
    """2^24 p(x_i = v) of every entry and level, as whole numbers.

    Args:
        distribution: Over `[B, *shape]`, its entries independent of each other.
        shape: Shape of one example.
        levels: Number of levels, L.

    Returns:
        float32 `[B * D, L]`, where an example has D entries.

    Raises:
        TypeError: The entries have no parameters of their own, each as many.
    """
    axes = 1 + len(shape)
    leaves = [leaf.shape for leaf in jax.tree.leaves(distribution)]
    num = leaves[0][0] * math.prod(shape)
    if num > leaves[0][0]:  # each entry becomes an example of its own
        if any(leaf[1:axes] != shape for leaf in leaves):
            raise TypeError(
                f"a {type(distribution).__name__} has no law of each entry by itself: lossless"
                " compression takes a likelihood of such, as likelihoods.categorical"
            )
        distribution = jax.tree.map(lambda a: a.reshape(num, *a.shape[axes:]), distribution)
        shape = ()

    def log_prob(level: Array) -> Array:
        return distribution.log_prob(jnp.full((num, *shape), level))

    return _whole(jnp.exp(jax.vmap(log_prob, out_axes=1)(jnp.arange(levels))))


def bucket_weights(posterior: Distribution, prior: Distribution, buckets: int) -> Array:
    """2^24 q(z_i in bucket k | x), as whole numbers: the buckets have equal mass under the prior.

    Args:
        posterior: Normal over codes `[B, d]`.
        prior: Normal over codes `[B, d]`.
        buckets: Number of buckets, K.

    Returns:
        float32 `[B * d, K]`.

    Raises:
        TypeError: One of them is no Normal.

    References:
        Townsend et al. 2019, Practical Lossless Compression with Latent Variables using Bits Back
        Coding, arXiv:1901.04866, sec. 2.5.1.
    """
    q, p = _normal(posterior, "posterior"), _normal(prior, "prior")
    edges = ndtri(jnp.arange(buckets + 1) / buckets)
    edges = p.loc[..., None] + jnp.exp(p.log_scale)[..., None] * edges  # [B, d, K + 1]
    cdf = ndtr((edges - q.loc[..., None]) * jnp.exp(-q.log_scale)[..., None])
    return _whole(jnp.diff(cdf, axis=-1)).reshape(-1, buckets)


def bucket_centres(prior: Distribution, index: Array, buckets: int) -> Array:
    """The code `[B, d]` that stands for each bucket: the median of the prior within it."""
    p = _normal(prior, "prior")
    centres = ndtri((jnp.arange(buckets) + 0.5) / buckets)
    return p.loc + jnp.exp(p.log_scale) * centres[index]


def in_double(weights: Array) -> np.ndarray:
    """Weights in float64, in which the coder's sums of whole numbers are exact.

    In float32 they are not, and a last level of weight 0 could be left without any probability.

    Raises:
        ValueError: One is not finite.
    """
    double = np.asarray(weights, np.float64)
    if not np.all(np.isfinite(double)):
        raise ValueError(
            "the model gives probabilities that are not finite: its parameters or its examples are"
            " damaged, or it did not learn; look at the loss of its run"
        )
    return double


def _normal(distribution: Distribution, what: str) -> Normal:
    if not isinstance(distribution, Normal):
        raise TypeError(
            f"the {what} is a {type(distribution).__name__}: bits-back coding takes a Normal"
            " posterior and prior, whose codes have independent entries"
        )
    return distribution


def _whole(probability: Array) -> Array:
    return jnp.round(probability * 2.0**PRECISION)
