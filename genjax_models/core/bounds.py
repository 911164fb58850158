"""The importance-weighted lower bound, whatever its weights are."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from genjax_models.core.types import Array


def check_num_samples(num_samples: int) -> None:
    """Raise unless a bound is of a sample at least.

    Raises:
        ValueError: It is of none.
    """
    if num_samples < 1:
        raise ValueError(
            f"num_samples is {num_samples}: a bound of a likelihood is of at least 1 sample"
        )


def log_mean_weight(log_weight: Callable[[Array], Array], num_samples: int, num: int) -> Array:
    """The bound `log (1/K) sum_k w_k` `[B]`, in nats, by draws taken one after the other.

    Memory does not grow with K.

    Args:
        log_weight: The logarithms of the examples' weights `[B]`, given the number k of the draw.
        num_samples: K.
        num: Number of examples, B.

    Raises:
        ValueError: K is below 1.

    References:
        Burda et al. 2015, arXiv:1509.00519, eq. 8.
    """
    check_num_samples(num_samples)

    def add(k: Array, log_sum: Array) -> Array:
        return jnp.logaddexp(log_sum, log_weight(k))

    log_sum = jax.lax.fori_loop(0, num_samples, add, jnp.full(num, -jnp.inf))
    return log_sum - math.log(num_samples)
