"""The simplest explicit model there is: a mixture of Gaussians, by gradient."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core import Array, Batch, DataSpec, Key, Loss, Params, Player, State

MIXTURE = "mixture"


@dataclasses.dataclass(frozen=True)
class GaussianMixture:
    """p(x) = sum_k w_k N(x; mean_k, L_k L_k^T), all of it learned: a model without a network.

    Attributes:
        spec: Description of one example: real-valued points `(D,)`.
        components: Number of Gaussians.
        spread: Standard deviation of their first means, and their own.
    """

    spec: DataSpec
    components: int = 32
    spread: float = 1.5

    @property
    def loss(self) -> Loss:
        """The negative log-likelihood, in nats."""
        return Loss(self.forward, {"nll": lambda log_p: -log_p})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns the mixture."""
        return {MIXTURE: Player(self.loss, (MIXTURE,))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Wide Gaussians about the origin, all of one weight."""
        del batch
        num, dims = self.components, self.spec.num_dims
        eye = jnp.broadcast_to(jnp.eye(dims), (num, dims, dims))
        mixture = {
            "logits": jnp.zeros(num),
            "mean": self.spread * jax.random.normal(key, (num, dims)),
            "precision": math.log(1.0 / self.spread) * eye,
        }
        return {MIXTURE: mixture}, {}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[Array, State]:
        """The log density `[B]` of a batch."""
        del key, train
        return self.log_prob(params, batch["x"]), state

    def log_prob(
        self,
        params: Params,
        x: Array,
        *,
        key: Key | None = None,
        state: State | None = None,
        **condition: Any,
    ) -> Array:
        """Exact log p(x) `[B]`, in nats, of points `[B, D]`."""
        del key, state, condition
        mixture = params[MIXTURE]
        inverse, log_det = _triangular(mixture["precision"])
        apart = x[:, None] - mixture["mean"]  # [B, K, D]
        z = jnp.einsum("kij,bkj->bki", inverse, apart)
        log_normal = log_det - 0.5 * jnp.sum(z**2, -1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)
        return jax.nn.logsumexp(jax.nn.log_softmax(mixture["logits"]) + log_normal, -1)

    def sample(self, params: Params, key: Key, num: int, *, state: State | None = None) -> Array:
        """`num` points `[num, D]`."""
        del state
        mixture, (key_k, key_z) = params[MIXTURE], jax.random.split(key)
        k = jax.random.categorical(key_k, mixture["logits"], shape=(num,))
        z = jax.random.normal(key_z, (num, self.spec.num_dims))
        inverse, _ = _triangular(mixture["precision"])
        solved = jax.scipy.linalg.solve_triangular(inverse[k], z[..., None], lower=True)
        return mixture["mean"][k] + solved[..., 0]


def _triangular(raw: Array) -> tuple[Array, Array]:
    """The inverse L^-1 `[K, D, D]` of each Cholesky factor, and its log-determinant `[K]`.

    Its diagonal is positive, being the exponential of what is learned.
    """
    log_diagonal = jnp.diagonal(raw, axis1=-2, axis2=-1)
    diagonal = jnp.exp(log_diagonal)[..., None] * jnp.eye(raw.shape[-1])
    return jnp.tril(raw, -1) + diagonal, jnp.sum(log_diagonal, -1)
