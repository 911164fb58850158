"""Deterministic autoencoders, with a normal distribution fitted to their codes for sampling."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.autoencoders import losses
from genjax_models.autoencoders.losses import AutoencoderOutputs
from genjax_models.core import likelihoods, preprocess, random
from genjax_models.core.conditions import check_examples
from genjax_models.core.distributions import ExplicitMean
from genjax_models.core.entry import entry
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import Preprocess, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value


@value
class Autoencoder:
    """An autoencoder: z = f(x), trained to maximise the likelihood p(x | z).

    The distribution of the codes is not constrained, so `sample` draws them from N(m, C), whose
    moments are running averages over training (ex-post density estimation). They are in the
    model's state: `sample(params, key, num, state=state)`.

    Attributes:
        encoder: Network from data in [-1, 1] `[B, *shape]` to codes `[B, latent_dim]`.
        decoder: Network from codes to the likelihood's inputs.
        latent_dim: Number of entries of a code.
        spec: Description of one example.
        likelihood: p(x | z), given the decoder's outputs.
        preprocess: Preprocessing of the data.
        momentum: Weight of the old value in a running average.

    References:
        Ghosh et al. 2020, From Variational to Deterministic Autoencoders, arXiv:1903.12436, sec. 4
        (the distribution of the codes).
    """

    encoder: nn.Module
    decoder: nn.Module
    latent_dim: int
    spec: DataSpec = DIGITS
    likelihood: Likelihood = likelihoods.binomial
    preprocess: Preprocess = preprocess.identity
    momentum: float = 0.99

    @property
    def loss(self) -> Loss:
        """-log p(x | z), in nats."""
        return Loss(self.forward, {"reconstruction": losses.reconstruction})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns everything."""
        return {"autoencoder": Player(self.loss, owns=("encoder", "decoder", "likelihood"))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters: the likelihood at the batch's marginals, codes at N(0, I)."""
        check_examples(batch["x"], self.spec)
        key_x, key_networks, key_forward = jax.random.split(key, 3)
        num, d = batch["x"].shape[0], self.latent_dim
        prepared = self.preprocess.describe(self.spec)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        scaled, z = to_unit_range(x, prepared), jnp.zeros((num, d))
        modules = {"encoder": (self.encoder, (scaled,)), "decoder": (self.decoder, (z,))}
        params, state = init_modules(key_networks, modules)
        params["likelihood"] = self.likelihood.init(x, prepared)
        state["codes"] = {"mean": jnp.zeros(d), "covariance": jnp.eye(d)}
        forward = functools.partial(self.forward, train=False)
        jax.eval_shape(forward, params, batch, key_forward, state=state)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[AutoencoderOutputs, State]:
        """Encodes and decodes; in training, updates the codes' running moments."""
        key_x, key_encoder, key_decoder = jax.random.split(key, 3)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        z, state = self._encode(params, state, x, train=train, key=key_encoder)
        likelihood, state = self._decode(params, state, z, train=train, key=key_decoder)
        if train:
            state = {**state, "codes": self._update_moments(state["codes"], z)}
        return AutoencoderOutputs(x, z, likelihood), state

    @entry("num")
    def sample(self, params: Params, key: Key, num: int, *, state: State | None = None) -> Array:
        """Draws `num` new examples `[num, *shape]`: z ~ N(m, C), then x ~ p(x | z).

        Raises:
            ValueError: The state, which holds the codes' moments, is not given.
        """
        if not state or "codes" not in state:
            raise ValueError(
                "an Autoencoder keeps the moments of its codes in its state, which was not given: "
                "call sample(params, key, num, state=train_state.state)"
            )
        key_z, key_x = jax.random.split(key)
        moments = state["codes"]
        scale = jnp.linalg.cholesky(moments["covariance"] + 1e-6 * jnp.eye(self.latent_dim))
        z = moments["mean"] + random.normal(key_z, (num, self.latent_dim)) @ scale.T
        likelihood, _ = self._decode(params, state, z)
        return self.preprocess.restore(likelihood.sample(key_x), self.spec)

    @entry()
    def encode(
        self, params: Params, x: Array, *, key: Key | None = None, state: State | None = None
    ) -> Array:
        """Encodes examples to `[B, latent_dim]`; the key is for the preprocessing."""
        check_examples(x, self.spec)
        x = self.preprocess.apply(x, jax.random.key(0) if key is None else key, self.spec)
        return self._encode(params, state or {}, x)[0]

    @entry()
    def decode(self, params: Params, z: Array, *, state: State | None = None) -> Array:
        """Decodes codes `[B, latent_dim]` to mean examples `[B, *shape]`, in the data's units."""
        likelihood, _ = self._decode(params, state or {}, z)
        return self.preprocess.restore(likelihood.mean(), self.spec)

    def _encode(self, params: Params, state: State, x: Array, **kwargs) -> tuple[Array, State]:  # noqa: ANN003
        scaled = to_unit_range(x, self.preprocess.describe(self.spec))
        z, state = apply_module("encoder", self.encoder, params, state, scaled, **kwargs)
        if z.shape[1:] != (self.latent_dim,):
            raise ValueError(
                f"codes have {self.latent_dim} entries but the encoder returned {z.shape[1:]}: "
                f"give the encoder {self.latent_dim} outputs"
            )
        return z, state

    def _decode(
        self,
        params: Params,
        state: State,
        z: Array,
        **kwargs,  # noqa: ANN003
    ) -> tuple[ExplicitMean, State]:
        h, state = apply_module("decoder", self.decoder, params, state, z, **kwargs)
        spec = self.preprocess.describe(self.spec)
        return self.likelihood(h, spec, params["likelihood"]), state

    def _update_moments(self, moments: Mapping[str, Array], z: Array) -> dict[str, Array]:
        z = jax.lax.stop_gradient(random.all_examples(z))
        mean = jnp.mean(z, axis=0)
        centred = z - mean
        covariance = centred.T @ centred / z.shape[0]
        keep = self.momentum
        return {
            "mean": keep * moments["mean"] + (1 - keep) * mean,
            "covariance": keep * moments["covariance"] + (1 - keep) * covariance,
        }
