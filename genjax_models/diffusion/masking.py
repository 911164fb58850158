"""The absorbing process: how many tokens are masked at a time, which ones, and which come back.

alpha(t) is the share of tokens that are not masked at time t: 1 at t = 0 (data), 0 at t = 1, where
every token is the mask. An `Alpha` is any such function that falls in t and has a derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.distributions import Categorical
from genjax_models.core.types import Array, Key

Alpha: TypeAlias = Callable[[Array], Array]
"""`t -> alpha(t)`, of any one shape."""
Reveal: TypeAlias = Callable[[Key, Array, Array, Array], Array]
"""`(key, log_prob [B, N], hidden [B, N], share []) -> shown [B, N]`: which of the hidden tokens a
step shows, given the log-probabilities of what was drawn for them and the share to show."""


def linear(t: Array) -> Array:
    """alpha(t) = 1 - t: all numbers of masks are as likely."""
    return 1.0 - t


def cosine(t: Array) -> Array:
    """alpha(t) = 1 - cos(pi (1 - t) / 2): the first steps of sampling show few tokens.

    References:
        Chang et al. 2022, MaskGIT, arXiv:2202.04200, sec. 3.3; Shi et al. 2024, arXiv:2406.04329.
    """
    return 1.0 - jnp.cos(0.5 * math.pi * (1.0 - t))


def hide(key: Key, alpha: Alpha, t: Array, may: Array) -> tuple[Array, Array]:
    """Which tokens are masked at their times, and the weight of what a model then says of them.

    Of n tokens exactly ceil(n (1 - alpha(t))) are masked, any of them as likely. With t uniform and
    the weight -alpha'(t) n / (number masked), a weighted sum over the masked tokens has the same
    mean as when each is masked on its own with probability 1 - alpha(t) and the weight is
    -alpha'(t) / (1 - alpha(t)): both are sum_k (1/k) E[sum over k masked tokens]. But the number
    masked is never 0, and the weight is never above n times the schedule's slope.

    Args:
        key: What the choice is a function of, with an example's position in the batch.
        alpha: The schedule.
        t: Times in (0, 1] `[B]`.
        may: Which tokens may be masked, bool `[B, N]`; n of each example's.

    Returns:
        The masked tokens, bool `[B, N]`, and the weights `[B]` (0 where none may be masked).

    References:
        Hoogeboom et al. 2021, Autoregressive diffusion models, arXiv:2110.02037 (the same sum over
        numbers of masks); Nie et al. 2025, arXiv:2502.09992 (less noisy with a fixed number).
    """
    num = jnp.sum(may, axis=1)
    kept, slope = jax.jvp(alpha, (t,), (jnp.ones_like(t),))
    number = jnp.clip(jnp.ceil(num * (1.0 - kept)), 1, jnp.maximum(num, 1))
    score = jnp.where(may, random.uniform(key, may.shape), -1.0)
    return may & (_rank(score) < number[:, None]), -slope * num / number


def independently(key: Key, log_prob: Array, hidden: Array, share: Array) -> Array:
    """Each hidden token is shown on its own, with probability `share`: the reversed process."""
    del log_prob
    return hidden & (random.uniform(key, hidden.shape) < share)


def evenly(key: Key, log_prob: Array, hidden: Array, share: Array) -> Array:
    """The same number of tokens a step, any of them as likely; one by one in as many steps.

    One by one nothing is drawn at once that depends on each other: the samples then are the
    model's own, an autoregressive model's in random order.
    """
    del log_prob
    return _highest(random.uniform(key, hidden.shape), hidden, share)


def most_confident(key: Key, log_prob: Array, hidden: Array, share: Array) -> Array:
    """Those tokens whose draws are the likeliest.

    The samples are better and less varied than the model: frequent ones become more frequent.

    References:
        Chang et al. 2022, MaskGIT, arXiv:2202.04200, sec. 3.2.
    """
    del key
    return _highest(log_prob, hidden, share)


def _highest(score: Array, hidden: Array, share: Array) -> Array:
    """The share of each example's hidden tokens with the highest scores, rounded up."""
    number = jnp.ceil(share * jnp.sum(hidden, axis=1) - 1e-4)  # 3 * (1 / 3) is one, not two
    return hidden & (_rank(jnp.where(hidden, score, -jnp.inf)) < number[:, None])


def _rank(score: Array) -> Array:
    """How many entries of its row come before each one, highest score first `[B, N]`."""
    return jnp.argsort(jnp.argsort(-score, axis=1), axis=1)


def unmask(
    predict: Callable[[Array], Array], alpha: Alpha, z: Array, key: Key, steps: int, reveal: Reveal
) -> Array:
    """The process backwards from t = 1, in one scan: a step shows some tokens for good.

    Of the tokens that are masked at t, the share (alpha(s) - alpha(t)) / (1 - alpha(t)) is shown at
    the next time s; each is drawn from its own distribution given those shown before.

    Args:
        predict: `z [B, N] -> logits [B, N, V]` of what stands behind the masks.
        alpha: The schedule.
        z: Tokens, or the mask V where they are to be drawn, int32 `[B, N]`.
        key: What the draws are a function of.
        steps: Number of steps, evenly spaced in time.
        reveal: Which tokens a step shows.

    Returns:
        Tokens `[B, N]`, none of them masked; those that were none before are the same.

    References:
        Sahoo et al. 2024, arXiv:2406.07524, sec. 3; Shi et al. 2024, arXiv:2406.04329, sec. 4.
    """
    grid = alpha(1.0 - jnp.arange(steps + 1) / steps)
    # At t = 0 nothing is masked, whatever rounding makes of alpha(0).
    share = ((grid[1:] - grid[:-1]) / (1.0 - grid[:-1])).at[-1].set(1.0)

    def step(z: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        number, share = at
        key_x, key_reveal = jax.random.split(jax.random.fold_in(key, number))
        logits = predict(z)
        x = Categorical(logits).sample(key_x).astype(z.dtype)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), x[..., None], axis=-1)[..., 0]
        shown = reveal(key_reveal, log_prob, z == logits.shape[-1], share)
        return jnp.where(shown, x, z), None

    return jax.lax.scan(step, z, (jnp.arange(steps), share))[0]
