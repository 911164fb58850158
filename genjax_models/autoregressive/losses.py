"""Terms of autoregressive models `Outputs -> [B]` in nats, and what can be watched beside them.

What is by token is of texts, whose likelihood is `Categorical`. Perplexity and bits a character are
functions of means over a whole data set, so `metrics.evaluate` gives them.
"""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp

from genjax_models.core.distributions import Categorical, Distribution
from genjax_models.core.loss import Watched
from genjax_models.core.types import Array


class Predicted(Protocol):
    """Outputs with data and the likelihood of each entry, given those before it."""

    @property
    def x(self) -> Array:
        """Data `[B, ...]`."""
        ...

    @property
    def likelihood(self) -> Distribution:
        """p(x_t | x_<t) over `[B, ...]`, as a product."""
        ...


def nll(outputs: Predicted) -> Array:
    """-log p(x) = -sum_t log p(x_t | x_<t) `[B]`, in nats an example."""
    return -outputs.likelihood.log_prob(outputs.x)


def token_nats(outputs: Predicted) -> Array:
    """-log p(x_t | x_<t) of each token `[B, T]`, in nats.

    Raises:
        TypeError: The likelihood is not over tokens.
    """
    likelihood = outputs.likelihood
    if not isinstance(likelihood, Categorical):
        raise TypeError(
            "nats a token are of the categorical likelihood, but this one is a "
            f"{type(likelihood).__name__}: watch nll"
        )
    log_probs = jax.nn.log_softmax(likelihood.logits)
    index = outputs.x.astype(jnp.int32)[..., None]
    chosen = jnp.take_along_axis(log_probs, index, axis=-1)
    return -chosen.reshape(chosen.shape[0], -1)


def nats_per_token(outputs: Predicted) -> Array:
    """Mean nats of a token `[]`, the first ones of the windows among them."""
    return jnp.mean(nll(outputs)) / (outputs.x.size // outputs.x.shape[0])


def next_token(outputs: Predicted) -> Array:
    """Mean nats `[]` of tokens 2 .. T of the windows: of those with at least one token before them.

    What language models usually report, since windows are cut from a longer text.
    """
    return jnp.mean(token_nats(outputs)[:, 1:])


def after(num: int) -> Watched:
    """Mean nats `[]` of the tokens that have at least `num` tokens of their window before them."""

    def mean_nats(outputs: Predicted) -> Array:
        return jnp.mean(token_nats(outputs)[:, num:])

    return mean_nats
