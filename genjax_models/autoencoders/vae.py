"""Variational autoencoders: p(x) = int p(x | z) p(z) dz, trained by a lower bound of log p(x)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.autoencoders import losses
from genjax_models.autoencoders.latents import (
    DiagonalNormal,
    Posterior,
    Prior,
    StandardNormal,
    sample_and_log_prob,
)
from genjax_models.autoencoders.losses import VAEOutputs
from genjax_models.core import likelihoods, preprocess
from genjax_models.core.conditions import check_examples, label_context, labels_to_sample
from genjax_models.core.distributions import Distribution, ExplicitMean, Normal, log_mean_weight
from genjax_models.core.entry import entry
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import Preprocess, of_data, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value


@value
class VAE:
    """A variational autoencoder.

    `log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z))`, whose two sides are the terms
    `reconstruction` and `kl` of `loss`.

    Attributes:
        encoder: Network from data in [-1, 1] `[B, *shape]` to the posterior's inputs.
        decoder: Network from codes `[B, latent_dim]` to the likelihood's inputs.
        latent_dim: Number of entries of a code.
        spec: Description of one example.
        likelihood: p(x | z), given the decoder's outputs.
        preprocess: Preprocessing of the data; the likelihood is of its result.
        prior: p(z).
        posterior: q(z | x), given the encoder's outputs.
        num_classes: Number of labels to condition on, for p(x | label); None for p(x).

    References:
        Kingma & Welling 2014, arXiv:1312.6114; Rezende et al. 2014, arXiv:1401.4082.
    """

    encoder: nn.Module
    decoder: nn.Module
    latent_dim: int
    spec: DataSpec = DIGITS
    likelihood: Likelihood = likelihoods.binomial
    preprocess: Preprocess = preprocess.identity
    prior: Prior = StandardNormal()
    posterior: Posterior = DiagonalNormal()
    num_classes: int | None = None

    @property
    def loss(self) -> Loss:
        """-ELBO `[nats]`: `reconstruction` + `kl`."""
        return Loss(self.forward, {"reconstruction": losses.reconstruction, "kl": losses.kl})

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns everything."""
        owns = ("encoder", "decoder", "likelihood", "posterior", "prior")
        return {"vae": Player(self.loss, owns)}

    def importance_weighted(self, num_samples: int) -> Loss:
        """The negated importance-weighted bound with `num_samples` codes (`losses.iwae`)."""
        forward = functools.partial(self.forward, num_samples=num_samples)
        return Loss(forward, {"iwae": losses.iwae})

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters, the likelihood at the marginals of the batch, and the state.

        Raises:
            ValueError: The batch, the encoder's outputs or the decoder's do not fit the model.
        """
        check_examples(batch["x"], self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        key_x, key_networks, key_posterior, key_prior, key_forward = jax.random.split(key, 5)
        z = jnp.zeros((batch["x"].shape[0], self.latent_dim))
        prepared = self.preprocess.describe(self.spec)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        scaled = to_unit_range(x, prepared)
        params, state = init_modules(
            key_networks,
            {"encoder": (self.encoder, (scaled, context)), "decoder": (self.decoder, (z, context))},
        )
        params["likelihood"] = self.likelihood.init(x, prepared)
        params["posterior"] = self.posterior.init(key_posterior, self.latent_dim)
        params["prior"] = self.prior.init(key_prior, self.latent_dim)
        # Checks what the networks return, without computing anything.
        jax.eval_shape(
            functools.partial(self.forward, train=False, state=state), params, batch, key_forward
        )
        return params, state

    def forward(
        self,
        params: Params,
        batch: Batch,
        key: Key,
        *,
        state: State,
        train: bool,
        num_samples: int = 1,
    ) -> tuple[VAEOutputs, State]:
        """Encodes, draws `num_samples` codes of each example, and decodes them."""
        key_x, key_z, key_prior, key_encoder, key_decoder = jax.random.split(key, 5)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        h, state = self._encode(params, state, x, context, train=train, key=key_encoder)
        posterior = self.posterior(params["posterior"], h, self.latent_dim)
        of_codes = self.posterior(
            params["posterior"], jnp.repeat(h, num_samples, axis=0), self.latent_dim
        )
        z, log_q = sample_and_log_prob(of_codes, key_z)
        prior = self.prior_of(params, x.shape[0])
        log_p = self.prior_of(params, z.shape[0]).log_prob(z)
        if context is not None:
            context = jnp.repeat(context, num_samples, axis=0)
        likelihood, state = self._decode(params, state, z, context, train=train, key=key_decoder)
        if isinstance(posterior, Normal) and isinstance(prior, Normal):
            kl = posterior.kl_entries(prior)
        else:
            kl = jnp.mean((log_q - log_p).reshape(-1, num_samples), axis=-1, keepdims=True)
        z_prior = prior.sample(key_prior)
        return VAEOutputs(x, posterior, z, likelihood, log_q, log_p, kl, z_prior), state

    @entry("num", "mean")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        mean: bool = False,
        state: State | None = None,
    ) -> Array:
        """Draws `num` new examples `[num, *shape]`, in the data's range: z ~ p(z), x ~ p(x | z).

        Args:
            params: The model's parameters.
            key: PRNG key.
            num: Number of examples.
            label: Labels of a conditional model: `[num]`, one for all, or None for random ones.
            mean: Whether to return the mean of p(x | z) in place of a draw: images without the
                noise of their pixels.
            state: The model's state.
        """
        key_label, key_z, key_x = jax.random.split(key, 3)
        label = labels_to_sample(label, self.num_classes, num, key_label)
        z = self.prior_of(params, num).sample(key_z)
        likelihood = self.likelihood_of(params, z, label=label, state=state)
        x = likelihood.mean() if mean else likelihood.sample(key_x)
        return self.preprocess.restore(x, self.spec)

    @entry()
    def encode(
        self,
        params: Params,
        x: Array,
        *,
        label: Array | None = None,
        key: Key | None = None,
        state: State | None = None,
    ) -> Array:
        """Encodes examples to `[B, latent_dim]`: to the posterior's mean, if it has one.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            label: Labels `[B]` of a conditional model.
            key: PRNG key of the preprocessing, and of a sample from a posterior that has no mean in
                closed form; a fixed one if None.
            state: The model's state.
        """
        key_x, key_z = jax.random.split(jax.random.key(0) if key is None else key)
        posterior = self.posterior_of(params, x, key_x, label=label, state=state)
        if isinstance(posterior, ExplicitMean):
            return posterior.mean()
        return posterior.sample(key_z)

    def posterior_of(
        self,
        params: Params,
        x: Array,
        key: Key,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Distribution:
        """q(z | x) over `[B, latent_dim]`; the key is for the preprocessing."""
        check_examples(x, self.spec)
        x = self.preprocess.apply(x, key, self.spec)
        context = label_context(label, self.num_classes)
        h, _ = self._encode(params, state or {}, x, context)
        return self.posterior(params["posterior"], h, self.latent_dim)

    def prior_of(self, params: Params, num: int) -> Distribution:
        """p(z) over `[num, latent_dim]`."""
        return self.prior(params["prior"], num, self.latent_dim)

    def likelihood_of(
        self,
        params: Params,
        z: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> ExplicitMean:
        """p(x | z) over preprocessed examples `[B, *shape]`."""
        return self._decode(params, state or {}, z, label_context(label, self.num_classes))[0]

    @entry()
    def decode(
        self,
        params: Params,
        z: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Decodes codes `[B, latent_dim]` to mean examples `[B, *shape]`, in the data's units."""
        likelihood = self.likelihood_of(params, z, label=label, state=state)
        return self.preprocess.restore(likelihood.mean(), self.spec)

    @entry()
    def elbo(
        self,
        params: Params,
        x: Array,
        key: Key,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """E_q[log p(x | z)] - KL(q || p) `[B]`, in nats, by one code of each example."""
        check_examples(x, self.spec)
        batch = {"x": x} if label is None else {"x": x, "label": label}
        outputs, _ = self.forward(params, batch, key, state=state or {}, train=False)
        bound = -losses.reconstruction(outputs) - losses.kl(outputs)
        return of_data(bound + self.preprocess.log_volume(self.spec), x, self.spec)

    @entry("num_samples")
    def log_prob_bound(
        self,
        params: Params,
        x: Array,
        key: Key,
        num_samples: int = 1,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """The importance-weighted lower bound of log p(x) `[B]`, in nats.

        `log (1/K) sum_k p(x, z_k) / q(z_k | x)`, which rises to log p(x) with the number K of
        codes. The codes are processed one after the other, so memory does not grow with K.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: PRNG key.
            num_samples: Number K of codes of each example.
            label: Labels `[B]` of a conditional model.
            state: The model's state.

        References:
            Burda et al. 2015, arXiv:1509.00519, eq. 8.
        """
        check_examples(x, self.spec)
        state = state or {}
        key_x, key_z = jax.random.split(key)
        y = self.preprocess.apply(x, key_x, self.spec)
        context = label_context(label, self.num_classes)
        h, _ = self._encode(params, state, y, context)
        posterior = self.posterior(params["posterior"], h, self.latent_dim)
        prior = self.prior_of(params, x.shape[0])

        def log_weight(k: Array) -> Array:
            z, log_q = sample_and_log_prob(posterior, jax.random.fold_in(key_z, k))
            likelihood, _ = self._decode(params, state, z, context)
            return likelihood.log_prob(y) + prior.log_prob(z) - log_q

        bound = log_mean_weight(log_weight, num_samples, x.shape[0])
        return of_data(bound + self.preprocess.log_volume(self.spec), x, self.spec)

    def _encode(
        self, params: Params, state: State, x: Array, context: Array | None, **kwargs: Any
    ) -> tuple[Array, State]:
        scaled = to_unit_range(x, self.preprocess.describe(self.spec))
        return apply_module("encoder", self.encoder, params, state, scaled, context, **kwargs)

    def _decode(
        self, params: Params, state: State, z: Array, context: Array | None, **kwargs: Any
    ) -> tuple[ExplicitMean, State]:
        h, state = apply_module("decoder", self.decoder, params, state, z, context, **kwargs)
        spec = self.preprocess.describe(self.spec)
        return self.likelihood(h, spec, params["likelihood"]), state
