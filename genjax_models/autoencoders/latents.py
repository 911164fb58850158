"""Priors and posteriors of VAEs: families of distributions over the code z.

Any frozen dataclass with these methods can be used, such as a flow. The distributions need `sample`
and `log_prob` (`core.Distribution`), and may have `sample_and_log_prob`, for densities that are
cheap only at their own samples.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp

from genjax_models.core.distributions import Distribution, Normal, standard_normal
from genjax_models.core.types import Array, Key
from genjax_models.core.values import value


class Prior(Protocol):
    """A family of distributions p(z), with or without parameters of its own."""

    def init(self, key: Key, latent_dim: int) -> Any:
        """Initialises the parameters; an empty dictionary if there are none."""
        ...

    def __call__(self, params: Any, num: int, latent_dim: int) -> Distribution:
        """The distribution over `num` codes `[num, latent_dim]`."""
        ...


class Posterior(Protocol):
    """A family of distributions q(z | x), given what the encoder returned."""

    def init(self, key: Key, latent_dim: int) -> Any:
        """Initialises the parameters; an empty dictionary if there are none."""
        ...

    def __call__(self, params: Any, h: Array, latent_dim: int) -> Distribution:
        """The distribution over codes `[B, latent_dim]`, given the encoder's outputs `[B, ...]`."""
        ...


@runtime_checkable
class JointlySampled(Protocol):
    """A distribution whose samples come with their log-densities."""

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draws samples `[B, ...]`, and gives their log-densities `[B]`, in nats."""
        ...


def sample_and_log_prob(distribution: Distribution, key: Key) -> tuple[Array, Array]:
    """Draws samples `[B, ...]`, and gives their log-densities `[B]`, in nats."""
    if isinstance(distribution, JointlySampled):
        return distribution.sample_and_log_prob(key)
    z = distribution.sample(key)
    return z, distribution.log_prob(z)


@value
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


@value
class DiagonalNormal:
    """The posterior N(mu(x), diag sigma(x)^2), given mu and log sigma^2, concatenated.

    References:
        Kingma & Welling 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114, app. C.2.
    """

    def init(self, key: Key, latent_dim: int) -> dict[str, Any]:
        """No parameters."""
        del key, latent_dim
        return {}

    def __call__(self, params: Any, h: Array, latent_dim: int) -> Normal:
        """The posterior over codes `[B, latent_dim]`.

        Raises:
            ValueError: The encoder returned a number of values other than 2 latent_dim.
        """
        del params
        return normal_of_halves(h, latent_dim, "the encoder")


def normal_of_halves(h: Array, latent_dim: int, name: str) -> Normal:
    """The Normal over codes `[B, latent_dim]` of a network's mean and log-variance, concatenated.

    Args:
        h: Outputs of the network `[B, ...]`, 2 latent_dim for each example.
        latent_dim: Number of entries of a code.
        name: The network's name, for messages.

    Raises:
        ValueError: The network returned another number of outputs.
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
