"""Outputs of autoregressive models, and their loss terms and metrics, in nats.

Functions of tokens need a `Categorical` likelihood. Perplexity and bits per character depend on
means over a whole dataset, so they are in `metrics.evaluate`.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core.distributions import Categorical, ExplicitMean
from genjax_models.core.loss import Watched
from genjax_models.core.types import Array


@struct.dataclass
class AutoregressiveOutputs:
    """Outputs of one pass; the first axis of every array is the batch.

    Attributes:
        x: Preprocessed data `[B, ...]`.
        likelihood: The product of p(x_t | x_<t) over all entries, over `[B, ...]`.
    """

    x: Array
    likelihood: ExplicitMean


def nll(outputs: AutoregressiveOutputs) -> Array:
    """-log p(x) = -sum_t log p(x_t | x_<t) `[B]`, in nats per example."""
    return -outputs.likelihood.log_prob(outputs.x)


def token_nats(outputs: AutoregressiveOutputs) -> Array:
    """-log p(x_t | x_<t) of each token `[B, T]`, in nats.

    Raises:
        TypeError: The likelihood is not categorical.
    """
    likelihood = outputs.likelihood
    if not isinstance(likelihood, Categorical):
        raise TypeError(
            "nats per token need the categorical likelihood, but this one is a "
            f"{type(likelihood).__name__}: watch nll"
        )
    log_probs = jax.nn.log_softmax(likelihood.logits)
    index = outputs.x.astype(jnp.int32)[..., None]
    chosen = jnp.take_along_axis(log_probs, index, axis=-1)
    return -chosen.reshape(chosen.shape[0], -1)


def nats_per_token(outputs: AutoregressiveOutputs) -> Array:
    """Mean nats per token `[]`, including the first tokens of the windows."""
    return jnp.mean(nll(outputs)) / (outputs.x.size // outputs.x.shape[0])


def next_token(outputs: AutoregressiveOutputs) -> Array:
    """Mean nats per token `[]` of the tokens 2 .. T, which have a token before them.

    The usual figure of language models, because windows are cut from a longer text.
    """
    return _nats_after(1, outputs)


def after(num: int) -> Watched:
    """Makes the mean nats per token `[]` of the tokens with at least `num` tokens before them."""
    return functools.partial(_nats_after, num)


def _nats_after(num: int, outputs: AutoregressiveOutputs) -> Array:
    return jnp.mean(token_nats(outputs)[:, num:])
