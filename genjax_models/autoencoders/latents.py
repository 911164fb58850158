"""Families of distributions over the code z: what a VAE takes as its prior and its posterior.

Any frozen object with these methods serves, a flow's included: what it returns needs only `sample`
and `log_prob` (`core.Distribution`), and may offer `sample_and_log_prob` where a density is cheap
only beside its own draw.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp

from genjax_models.core.distributions import Distribution, Normal, standard_normal
from genjax_models.core.types import Array, Key


class Prior(Protocol):
    """A family of distributions p(z), with or without parameters of its own."""

    def init(self, key: Key, latent_dim: int) -> Any:
        """Fresh parameters; an empty dictionary where there are none."""
        ...

    def __call__(self, params: Any, num: int, latent_dim: int) -> Distribution:
        """The distribution over `num` codes `[num, latent_dim]`."""
        ...


class Posterior(Protocol):
    """A family of distributions q(z | x), given what the encoder returned."""

    def init(self, key: Key, latent_dim: int) -> Any:
        """Fresh parameters; an empty dictionary where there are none."""
        ...

    def __call__(self, params: Any, h: Array, latent_dim: int) -> Distribution:
        """The distribution over codes `[B, latent_dim]`, given the encoder's outputs `[B, ...]`."""
        ...


@runtime_checkable
class JointlySampled(Protocol):
    """A distribution whose draws come with their log-densities."""

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draws `[B, ...]` and their log-densities `[B]`, in nats."""
        ...


def sample_and_log_prob(distribution: Distribution, key: Key) -> tuple[Array, Array]:
    """Draws `[B, ...]` of a distribution and their log-densities `[B]`, in nats."""
    if isinstance(distribution, JointlySampled):
        return distribution.sample_and_log_prob(key)
    z = distribution.sample(key)
    return z, distribution.log_prob(z)


@dataclasses.dataclass(frozen=True)
class StandardNormal:
    """The prior N(0, I)."""

    def init(self, key: Key, latent_dim: int) -> dict[str, Any]:
        """No parameters."""
        del key, latent_dim
        return {}

    def __call__(self, params: Any, num: int, latent_dim: int) -> Normal:
        """N(0, I) over `[num, latent_dim]`."""
        del params
        return standard_normal((num, latent_dim))


@dataclasses.dataclass(frozen=True)
class DiagonalNormal:
    """The posterior N(mu(x), diag sigma(x)^2); the encoder returns mu and log sigma^2, in halves.

    Kingma & Welling 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114, app. C.2.
    """

    def init(self, key: Key, latent_dim: int) -> dict[str, Any]:
        """No parameters."""
        del key, latent_dim
        return {}

    def __call__(self, params: Any, h: Array, latent_dim: int) -> Normal:
        """The posterior over codes `[B, latent_dim]`.

        Raises:
            ValueError: The encoder returned another number of values than 2 latent_dim.
        """
        del params
        return normal_of_halves(h, latent_dim, "the encoder")


def normal_of_halves(h: Array, latent_dim: int, name: str) -> Normal:
    """The Normal over codes `[B, latent_dim]` of a network's mean and log-variance, in halves.

    Args:
        h: What the network returned `[B, ...]`, 2 latent_dim values an example.
        latent_dim: Number of entries of a code.
        name: The network, for messages.

    Raises:
        ValueError: The network returned another number of values.
    """
    h = h.reshape(h.shape[0], -1)
    if h.shape[-1] != 2 * latent_dim:
        raise ValueError(
            f"a diagonal Normal over {latent_dim} latent entries takes {2 * latent_dim} outputs, a "
            f"mean and a log-variance of each, but {name} returned {h.shape[-1]}: give {name} "
            f"{2 * latent_dim} outputs"
        )
    loc, log_variance = jnp.split(h, 2, axis=-1)
    return Normal(loc, 0.5 * log_variance)
