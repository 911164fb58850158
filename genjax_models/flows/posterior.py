"""Flows as the distributions of a VAE's codes: a posterior q(z | x) or a prior p(z).

Both satisfy the Protocols that an autoencoder asks for; there is nothing to inherit.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core.distributions import Normal, standard_normal
from genjax_models.core.types import Array, Key
from genjax_models.core.values import value
from genjax_models.flows.bijector import Bijector, Inverse

AMORTIZED_SCALE = 0.1
"""Factor of the encoder's outputs before they are added to a flow's parameters, so that each
example's flow starts near the shared one."""


@struct.dataclass
class Transformed:
    """The distribution of z = f(z_0), z_0 ~ a normal: log q(z) = log q_0(z_0) - log |det df/dz_0|.

    Attributes:
        base: q_0 over `[B, d]`.
        shared: The bijector's parameters, the same for all examples; leaves `[1, ...]`.
        own: Offsets of each example's parameters from `shared`, leaves `[B, ...]`; None for none.
        context: Condition of the bijector `[B, C]`.
        bijector: f.
    """

    # `shared` has an axis in front because the arrays of a model's outputs have the examples there,
    # and may be gathered along it from all devices: however many copies come, the first will do.
    base: Normal
    shared: Any
    own: Any
    context: Array | None
    bijector: Bijector = struct.field(pytree_node=False)

    def sample(self, key: Key) -> Array:
        """Reparameterised draws `[B, d]`."""
        return self.sample_and_log_prob(key)[0]

    def log_prob(self, x: Array) -> Array:
        """Log-density of codes `[B, d]`: `[B]`, in nats. It takes the bijector's inverse."""
        z_0, log_det = self._apply(Inverse(self.bijector), x)
        return self.base.log_prob(z_0) + log_det

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draws `[B, d]` and their log-densities `[B]`, in nats, by the bijector forward alone."""
        z_0 = self.base.sample(key)
        z, log_det = self._apply(self.bijector, z_0)
        return z, self.base.log_prob(z_0) - log_det

    def _apply(self, bijector: Bijector, z: Array) -> tuple[Array, Array]:
        shared = jax.tree.map(lambda a: a[0], self.shared)
        if self.own is None:
            return bijector.forward(shared, z, self.context)

        def one(own: Any, z: Array, context: Array | None) -> tuple[Array, Array]:
            params = jax.tree.map(jnp.add, shared, own)
            context = None if context is None else context[None]
            y, log_det = bijector.forward(params, z[None], context)
            return y[0], log_det[0]

        return jax.vmap(one)(self.own, z, self.context)


@value
class FlowPosterior:
    """q(z | x): a diagonal normal that a bijector bends.

    z_0 ~ N(mu(x), diag sigma(x)^2), z = f(z_0), log q(z | x) = log q_0(z_0) - log |det df/dz_0|.

    The encoder returns mu and log sigma^2; then, if the flow is amortised, offsets of the
    bijector's parameters; then the bijector's context. So planar and radial flows are
    as in Rezende & Mohamed 2015, and `Chain([MaskedAutoregressive(), Permute(), ...])` with a
    context is the inverse autoregressive flow of Kingma et al. 2016: here `forward` maps noise to
    codes, and must be the cheap direction.

    Attributes:
        bijector: f, over codes `[B, latent_dim]`.
        amortized: If True, each example has its own bijector parameters.
        context_dim: Number of encoder outputs that the bijector is conditioned on.

    References:
        Rezende & Mohamed 2015, Variational Inference with Normalizing Flows, arXiv:1505.05770,
        eq. 13 and algorithm 1; Kingma et al. 2016, arXiv:1606.04934, algorithm 1.
    """

    bijector: Bijector
    amortized: bool = False
    context_dim: int = 0

    def num_outputs(self, latent_dim: int) -> int:
        """Number of values that the encoder must return."""
        return sum(self._sizes(latent_dim))

    def init(self, key: Key, latent_dim: int) -> dict[str, Any]:
        """The bijector's parameters; they start as for codes of a standard normal."""
        key_z, key_bijector = jax.random.split(key)
        # As many codes as make a data-dependent start a steady one.
        z = jax.random.normal(key_z, (256, latent_dim))
        context = jnp.zeros((len(z), self.context_dim)) if self.context_dim else None
        return {"bijector": self.bijector.init(key_bijector, z, context)}

    def __call__(self, params: Any, h: Array, latent_dim: int) -> Transformed:
        """The posterior over codes `[B, latent_dim]`, given the encoder's outputs `[B, ...]`.

        Raises:
            ValueError: The number of encoder outputs is not `num_outputs`.
        """
        h = h.reshape(h.shape[0], -1)
        normal, own, context = sizes = self._sizes(latent_dim)
        if h.shape[-1] != sum(sizes):
            raise ValueError(
                f"a flow posterior over {latent_dim} latent entries takes {sum(sizes)} encoder "
                f"outputs ({normal} of the normal, {own} of the flow's parameters, {context} of "
                f"its context), but the encoder returned {h.shape[-1]}: give the encoder "
                f"posterior.num_outputs(latent_dim={latent_dim}) outputs"
            )
        h, own_outputs, context_outputs = jnp.split(h, [normal, normal + own], axis=-1)
        loc, log_variance = jnp.split(h, 2, axis=-1)
        shared = params["bijector"]
        return Transformed(
            Normal(loc, 0.5 * log_variance),
            jax.tree.map(lambda a: a[None], shared),
            _like(shared, AMORTIZED_SCALE * own_outputs) if own else None,
            context_outputs if context else None,
            self.bijector,
        )

    def _sizes(self, latent_dim: int) -> tuple[int, int, int]:
        """Encoder outputs of the normal, of the bijector's parameters, and of its context."""
        own = 0
        if self.amortized:
            shapes = jax.eval_shape(lambda key: self.init(key, latent_dim), jax.random.key(0))
            own = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
        return 2 * latent_dim, own, self.context_dim


def _like(tree: Any, rows: Array) -> Any:
    """Rows of numbers `[B, n]` as trees of the same shapes, with the examples' axis in front."""
    leaves, structure = jax.tree.flatten(tree)
    parts, start = [], 0
    for leaf in leaves:
        part = rows[:, start : start + leaf.size]
        parts.append(part.reshape(rows.shape[0], *leaf.shape))
        start += leaf.size
    return jax.tree.unflatten(structure, parts)


@value
class FlowPrior:
    """p(z): the distribution of z = f(eps), eps ~ N(0, I), with a learned bijector f.

    `FlowPrior(Inverse(MaskedAutoregressive()))` evaluates densities, which training needs, in one
    pass.

    Attributes:
        bijector: f, from noise to codes `[B, latent_dim]`.

    References:
        Chen et al. 2017, Variational Lossy Autoencoder, arXiv:1611.02731, sec. 3.2.
    """

    bijector: Bijector

    def init(self, key: Key, latent_dim: int) -> dict[str, Any]:
        """The bijector's parameters; they start as for codes of a standard normal."""
        return FlowPosterior(self.bijector).init(key, latent_dim)

    def __call__(self, params: Any, num: int, latent_dim: int) -> Transformed:
        """The prior over `num` codes `[num, latent_dim]`."""
        shared = jax.tree.map(lambda a: a[None], params["bijector"])
        return Transformed(standard_normal((num, latent_dim)), shared, None, None, self.bijector)
