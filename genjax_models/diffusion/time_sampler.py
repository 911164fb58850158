"""Time samplers: how training draws the times of a batch.

Better draws make the estimate of a loss less noisy, and never change the loss: each draw comes with
a weight, 1 over its density, so that the expectation is the integral over u in (0, 1] whatever the
draws are. What is to count more is said by the weighting of a term (`losses`).
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from genjax_models.core import random
from genjax_models.core.types import Array, Key
from genjax_models.core.values import value


class TimeSampler(Protocol):
    """Draws times for a batch, and may remember the losses there."""

    def draw(self, key: Key, num: int, memory: Any) -> tuple[Array, Array]:
        """Times u in (0, 1] `[num]`, and their weights `[num]`."""
        ...

    def init(self) -> Any:
        """The first memory; a model keeps it in its state."""
        ...

    def update(self, memory: Any, u: Array, loss: Array) -> Any:
        """The memory after a training step.

        Args:
            memory: The memory before it.
            u: The times that were drawn `[B]`.
            loss: The losses there in nats, before weighting `[B]`.
        """
        ...


@value
class Uniform:
    """Draws the time of each example independently."""

    def draw(self, key: Key, num: int, memory: Any) -> tuple[Array, Array]:
        """Times u in (0, 1] `[num]`, and weights of 1."""
        del memory
        return 1.0 - random.uniform(key, (num,)), jnp.ones(num)

    def init(self) -> Any:
        """No memory."""
        return {}

    def update(self, memory: Any, u: Array, loss: Array) -> Any:
        """The same memory."""
        del u, loss
        return memory


@value
class LowDiscrepancy:
    """Draws one uniform number for a batch of B, whose times follow at distances of 1 / B.

    References:
        Kingma et al. 2021, Variational diffusion models, arXiv:2107.00630, app. I.1.
    """

    def draw(self, key: Key, num: int, memory: Any) -> tuple[Array, Array]:
        """Times u in (0, 1] `[num]`, and weights of 1."""
        del memory
        rows, size = random.positions(num)
        first = jax.random.uniform(key, dtype=jnp.float32)
        return 1.0 - (first + rows / size) % 1.0, jnp.ones(num)

    def init(self) -> Any:
        """No memory."""
        return {}

    def update(self, memory: Any, u: Array, loss: Array) -> Any:
        """The same memory."""
        del u, loss
        return memory


@value
class Importance:
    """Draws times more often where the loss has been large: p(u) ~ sqrt(E[loss^2]).

    The times fall into buckets of equal width, each with a running mean of the squared loss. Until
    each bucket has seen ten examples the times are uniform.

    Attributes:
        buckets: Number of buckets, at least 1.
        uniform: Share of the draws that stay uniform, so that no weight is large.
        decay: Decay of the running means, per example.

    Raises:
        ValueError: There are no buckets.

    References:
        Nichol & Dhariwal 2021, arXiv:2102.09672, sec. 3.3.
    """

    buckets: int = 64
    uniform: float = 0.01
    decay: float = 0.95

    def __post_init__(self) -> None:
        """Refuses to sample from no buckets."""
        if self.buckets < 1:
            raise ValueError(
                f"importance sampling of times was given {self.buckets} buckets: give 1 or more"
            )

    def draw(self, key: Key, num: int, memory: Any) -> tuple[Array, Array]:
        """Times u in (0, 1] `[num]`, and 1 over their density `[num]`."""
        p = self._probabilities(memory)
        key_bucket, key_within = jax.random.split(key)
        # Stratified draws through the inverse of the cumulative distribution.
        v, _ = LowDiscrepancy().draw(key_bucket, num, None)
        bucket = jnp.minimum(jnp.searchsorted(jnp.cumsum(p), v), self.buckets - 1)
        u = (bucket + 1.0 - random.uniform(key_within, (num,))) / self.buckets
        return u, 1.0 / (self.buckets * p[bucket])

    def init(self) -> Any:
        """Mean squares of 1, of no examples."""
        return {"squares": jnp.ones(self.buckets), "counts": jnp.zeros(self.buckets)}

    def update(self, memory: Any, u: Array, loss: Array) -> Any:
        """The running means after the losses of a batch, on all devices."""
        u, loss = random.all_examples((u, jax.lax.stop_gradient(loss)))
        bucket = jnp.ceil(u * self.buckets).astype(jnp.int32) - 1
        hit = jax.nn.one_hot(bucket, self.buckets)  # [B, buckets]
        num = jnp.sum(hit, 0)
        mean = jnp.sum(hit * loss[:, None] ** 2, 0) / jnp.maximum(num, 1.0)
        # The first losses of a bucket are taken as they are.
        kept = jnp.where(memory["counts"] > 0, self.decay**num, num == 0)
        return {
            "squares": kept * memory["squares"] + (1.0 - kept) * mean,
            "counts": jnp.minimum(memory["counts"] + num, 10.0),
        }

    def _probabilities(self, memory: Any) -> Array:
        """The probability of each bucket `[buckets]`."""
        root = jnp.sqrt(memory["squares"])
        learned = (1.0 - self.uniform) * root / jnp.sum(root) + self.uniform / self.buckets
        return jnp.where(jnp.all(memory["counts"] >= 10), learned, 1.0 / self.buckets)


def sequence(key: Key, num: int) -> Array:
    """Times in (0, 1] `[num]`, (u + i phi) mod 1 for example i, with phi the golden ratio.

    The times of any examples that follow one another lie as evenly as those of `LowDiscrepancy`,
    up to a constant. A time does not depend on the batch: the example's number in a data set
    decides it (`core.random.from_row`).

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
