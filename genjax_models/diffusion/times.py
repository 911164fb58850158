"""Times to train at: better draws make a loss's estimate less noisy, and never another loss.

Each draw comes with a weight, 1 over its density, so that whatever the draws are the expectation is
the integral over u in (0, 1]. What is to count more is said by a term's weighting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Times:
    """How times are drawn for a batch.

    Attributes:
        draw: `(key, num, memory) -> (u [num] in (0, 1], weight [num])`.
        init: The first memory; it is kept in the model's state.
        update: `(memory, u [B], loss [B]) -> memory`, after a training step whose losses in nats
            these were, before weighting.
    """

    draw: Callable[[Key, int, Any], tuple[Array, Array]]
    init: Callable[[], Any] = dict
    update: Callable[[Any, Array, Array], Any] = lambda memory, u, loss: memory


def _uniform(key: Key, num: int, memory: Any) -> tuple[Array, Array]:
    del memory
    return 1.0 - random.uniform(key, (num,)), jnp.ones(num)


def _low_discrepancy(key: Key, num: int, memory: Any) -> tuple[Array, Array]:
    del memory
    rows, size = random.positions(num)
    return 1.0 - (jax.random.uniform(key, dtype=jnp.float32) + rows / size) % 1.0, jnp.ones(num)


uniform = Times(_uniform)
"""Each example's time is drawn on its own."""

low_discrepancy = Times(_low_discrepancy)
"""One uniform draw for the batch, from which its B times follow at distances of 1 / B.

Kingma et al. 2021, Variational diffusion models, arXiv:2107.00630, app. I.1.
"""


def importance(buckets: int = 64, *, uniform: float = 0.01, decay: float = 0.95) -> Times:
    """Times drawn more often where the loss has been large: p(u) ~ sqrt(E[loss^2]).

    The times fall into buckets of equal width, each with a running mean of the squared loss. Until
    each bucket has seen ten examples the times are uniform.

    Args:
        buckets: Number of buckets.
        uniform: Share of the draws that stay uniform, so that no weight is large.
        decay: Of the running mean, per example.

    Raises:
        ValueError: There are no buckets.

    References:
        Nichol & Dhariwal 2021, arXiv:2102.09672, sec. 3.3.
    """
    if buckets < 1:
        raise ValueError(
            f"importance sampling of times was given {buckets} buckets: give 1 or more"
        )

    def probabilities(memory: Any) -> Array:
        root = jnp.sqrt(memory["squares"])
        learned = (1.0 - uniform) * root / jnp.sum(root) + uniform / buckets
        return jnp.where(jnp.all(memory["counts"] >= 10), learned, 1.0 / buckets)

    def draw(key: Key, num: int, memory: Any) -> tuple[Array, Array]:
        p = probabilities(memory)
        key_bucket, key_within = jax.random.split(key)
        # Stratified draws through the inverse of the cumulative distribution.
        v, _ = _low_discrepancy(key_bucket, num, None)
        bucket = jnp.minimum(jnp.searchsorted(jnp.cumsum(p), v), buckets - 1)
        u = (bucket + 1.0 - random.uniform(key_within, (num,))) / buckets
        return u, 1.0 / (buckets * p[bucket])

    def update(memory: Any, u: Array, loss: Array) -> Any:
        u, loss = random.all_examples((u, jax.lax.stop_gradient(loss)))
        hit = jax.nn.one_hot(jnp.ceil(u * buckets).astype(jnp.int32) - 1, buckets)  # [B, buckets]
        num = jnp.sum(hit, 0)
        mean = jnp.sum(hit * loss[:, None] ** 2, 0) / jnp.maximum(num, 1.0)
        kept = jnp.where(memory["counts"] > 0, decay**num, num == 0)  # the first ones as they are
        return {
            "squares": kept * memory["squares"] + (1.0 - kept) * mean,
            "counts": jnp.minimum(memory["counts"] + num, 10.0),
        }

    def init() -> Any:
        return {"squares": jnp.ones(buckets), "counts": jnp.zeros(buckets)}

    return Times(draw, init, update)


def sequence(key: Key, num: int) -> Array:
    """Times in (0, 1] `[num]` whose example i has (u + i phi) mod 1, phi the golden ratio.

    Any examples that follow one another have times that lie as evenly as those of
    `low_discrepancy`, all but for a constant, and a time does not depend on the batch: the
    example's number in a data set decides it (`core.random.from_row`).

    References:
        Kuipers and Niederreiter 1974, Uniform Distribution of Sequences, ch. 2, sec. 3.
    """
    rows = random.first_row(key) + random.positions(num)[0]
    # In units of 2^-32, in which integers that wrap around are the remainder by 1.
    places = jax.random.bits(key, (), jnp.uint32) + rows.astype(jnp.uint32) * jnp.uint32(0x9E3779B9)
    return 1.0 - (places >> 8).astype(jnp.float32) / 2**24


def strata(key: Key, num: int, k: Array, parts: int) -> Array:
    """Times `[num]`, each uniform within the k-th of equal parts of (0, 1]."""
    return (k + 1.0 - random.uniform(key, (num,))) / parts
