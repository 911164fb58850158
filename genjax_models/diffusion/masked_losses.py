"""What masked diffusion gives in one pass, and terms of it `Outputs -> [B]`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core.types import Array


@struct.dataclass
class MaskedOutputs:
    """What one pass gives; every array's first axis is the examples.

    Attributes:
        x: Data as tokens, int32 `[B, N]`.
        z_t: What the network saw `[B, N]`: the tokens, or the mask, which is token V.
        t: Times in (0, 1] `[B]`.
        hidden: Which tokens are masked, bool `[B, N]`.
        weight: What the masked tokens' nats count in the bound `[B]`.
        logits: Of every token, given those that are not masked `[B, N, V]`.
    """

    x: Array
    z_t: Array
    t: Array
    hidden: Array
    weight: Array
    logits: Array


def token_nats(outputs: MaskedOutputs) -> Array:
    """-log p(x_i | z_t) of masked tokens `[B, N]`, in nats; 0 of the others, which are known."""
    log_probs = jax.nn.log_softmax(outputs.logits)
    chosen = jnp.take_along_axis(log_probs, outputs.x[..., None], axis=-1)[..., 0]
    return jnp.where(outputs.hidden, -chosen, 0.0)


def vlb(outputs: MaskedOutputs) -> Array:
    """An unbiased estimate of the upper bound of -log p(x) `[B]`, in nats an example."""
    return outputs.weight * jnp.sum(token_nats(outputs), axis=1)


def masked_lm(outputs: MaskedOutputs) -> Array:
    """Mean cross-entropy of the masked tokens `[B]`, in nats a token: BERT's, no bound.

    References:
        Devlin et al. 2019, BERT, arXiv:1810.04805, sec. 3.1; Chang et al. 2022, arXiv:2202.04200,
        eq. 1.
    """
    return jnp.sum(token_nats(outputs), axis=1) / jnp.maximum(jnp.sum(outputs.hidden, axis=1), 1)
