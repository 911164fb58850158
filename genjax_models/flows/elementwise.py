"""Bijectors of one entry at a time."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Logit:
    """[0, 1] to the real line: y = logit(alpha + (1 - 2 alpha) x).

    Attributes:
        alpha: How far from 0 and 1 the logit keeps, so that both ends of the range are finite.

    References:
        Dinh et al. 2017, arXiv:1605.08803, sec. 4.1; Papamakarios et al. 2017, arXiv:1705.07057.
    """

    alpha: float = 0.05

    def __post_init__(self) -> None:
        """Checks alpha.

        Raises:
            ValueError: Not 0 < alpha < 1/2.
        """
        if not 0.0 < self.alpha < 0.5:
            raise ValueError(
                f"Logit was given alpha={self.alpha}, and 0 < alpha < 0.5: 0.05 and 1e-6 are usual"
            )

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """No parameters."""
        return {}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y, and its log-determinant `[B]`; entries outside [0, 1] count as its ends."""
        p = self.alpha + (1.0 - 2.0 * self.alpha) * jnp.clip(x, 0.0, 1.0)
        log_p, log_q = jnp.log(p), jnp.log1p(-p)
        return log_p - log_q, sum_entries(math.log1p(-2.0 * self.alpha) - log_p - log_q)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x = (sigmoid(y) - alpha) / (1 - 2 alpha) in [0, 1], and its log-determinant.

        A number beyond what [0, 1] is taken to becomes an end of the range; its log-determinant
        `[B]` is that of the formula, without the cut.
        """
        x = (jax.nn.sigmoid(y) - self.alpha) / (1.0 - 2.0 * self.alpha)
        log_det = jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y) - math.log1p(-2.0 * self.alpha)
        return jnp.clip(x, 0.0, 1.0), sum_entries(log_det)
