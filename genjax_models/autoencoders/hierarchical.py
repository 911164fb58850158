"""Hierarchical VAEs: several layers of codes, each conditional on those above it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.autoencoders import losses
from genjax_models.autoencoders.latents import normal_of_halves
from genjax_models.autoencoders.losses import HierarchicalVAEOutputs
from genjax_models.core import likelihoods, preprocess
from genjax_models.core.conditions import check_examples, label_context, labels_to_sample
from genjax_models.core.distributions import (
    ExplicitMean,
    Normal,
    log_mean_weight,
    standard_normal,
    sum_entries,
)
from genjax_models.core.entry import entry
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import Preprocess, of_data, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value


@value
class LatentLayer:
    """One layer of codes z_l and the networks around it.

    Bottom-up, `d_l = encoder(d_{l-1})`, from `d_0 = x`. Top-down, `p(z_l | z_>l) = N(mu, sigma^2)`,
    `q(z_l | z_>l, x) = N(mu + dmu, (sigma dsigma)^2)` and `h_{l-1} = decoder(z_l, h_l)`, where
    `mu, sigma = prior(h_l)` and `dmu, dsigma = posterior(d_l, h_l)`. The posterior is parametrised
    relative to the prior, so that the KL of a layer that has learned nothing is 0.

    Attributes:
        latent_dim: Number of entries of z_l.
        encoder: Network from d_{l-1} `[B, ...]`, the data in [-1, 1] for the lowest layer, to d_l
            `[B, ...]`.
        posterior: Network from d_l, with h_l as the context `[B, C]`, to dmu and log dsigma^2,
            concatenated `[B, 2 latent_dim]`.
        decoder: Network from z_l, with h_l as the context, to h_{l-1} `[B, C]`.
        prior: Network from h_l to mu and log sigma^2, concatenated `[B, 2 latent_dim]`; None for
            N(0, I), as in the highest layer.

    References:
        Vahdat & Kautz 2020, NVAE, arXiv:2007.03898, eq. 3 (the relative posterior).
    """

    latent_dim: int
    encoder: nn.Module
    posterior: nn.Module
    decoder: nn.Module
    prior: nn.Module | None = None


class _TopDown(NamedTuple):
    """Outputs of a top-down pass; codes and KL of each layer, the lowest first."""

    z: tuple[Array, ...]
    log_q: Array
    log_p: Array
    kl: tuple[Array, ...]
    h: Array


Choose: TypeAlias = Callable[[int, Normal | None, Normal], Array]
"""`(layer, q(z_l | z_>l, x) or None, p(z_l | z_>l)) -> z_l`: the codes of a top-down pass."""


@value
class HierarchicalVAE:
    """A VAE whose code has several layers, `p(x, z) = p(x | z) prod_l p(z_l | z_>l)`.

    The posterior is top-down too, `q(z | x) = prod_l q(z_l | z_>l, x)`: it combines the encoder's
    features of each layer with the decoder's, so that the two share networks.

    Attributes:
        layers: Layers of codes, the lowest, nearest to the data, first.
        decoder: Network from h_0 `[B, C]` to the likelihood's inputs.
        spec: Description of one example.
        likelihood: p(x | z), given the decoder's outputs.
        preprocess: Preprocessing of the data; the likelihood is of its result.
        num_classes: Number of labels to condition on, for p(x | label); None for p(x).

    References:
        Sønderby et al. 2016, Ladder Variational Autoencoders, arXiv:1602.02282; Kingma et al. 2016,
        arXiv:1606.04934, sec. 4 (the shared top-down pass).
    """

    layers: tuple[LatentLayer, ...]
    decoder: nn.Module
    spec: DataSpec = DIGITS
    likelihood: Likelihood = likelihoods.binomial
    preprocess: Preprocess = preprocess.identity
    num_classes: int | None = None

    def __post_init__(self) -> None:
        """Checks the layers.

        Raises:
            ValueError: There are no layers, or the highest has a prior network but no condition.
        """
        if not self.layers:
            raise ValueError("layers is empty: give at least one LatentLayer")
        if self.layers[-1].prior is not None and self.num_classes is None:
            raise ValueError(
                f"layer {len(self.layers)} is the highest and has a prior network, but there is "
                "nothing above it to condition on: leave its prior None"
            )

    @property
    def loss(self) -> Loss:
        """-ELBO `[nats]`: `reconstruction` + `kl`; the KL of each layer is watched."""
        loss = Loss(self.forward, {"reconstruction": losses.reconstruction, "kl": losses.kl})
        watched = {
            f"kl_{i + 1}": functools.partial(_mean_kl, layer=i) for i in range(len(self.layers))
        }
        return loss.watch(**watched)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns everything."""
        owned = [
            f"{what}_{i + 1}"
            for i, layer in enumerate(self.layers)
            for what in ("encoder", "posterior", "decoder", "prior")
            if getattr(layer, what) is not None
        ]
        return {"vae": Player(self.loss, (*owned, "decoder", "likelihood"))}

    @property
    def latent_dim(self) -> int:
        """Number of entries of a code, summed over the layers."""
        return sum(self.latent_dims)

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Number of entries of each layer's code, the lowest first."""
        return tuple(layer.latent_dim for layer in self.layers)

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters, the likelihood at the marginals of the batch, and the state.

        Raises:
            ValueError: The batch or a network's outputs do not fit the model.
        """
        check_examples(batch["x"], self.spec)
        key_x, key_networks, key_forward = jax.random.split(key, 3)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        prepared = self.preprocess.describe(self.spec)
        params: dict[str, Any] = {"likelihood": self.likelihood.init(x, prepared)}
        state: dict[str, Any] = {}
        keys = iter(jax.random.split(key_networks, 4 * len(self.layers) + 1))

        def init(name: str, module: nn.Module, *args: Any) -> Array:
            new_params, new_state = init_modules(next(keys), {name: (module, args)})
            params.update(new_params)
            state.update(new_state)
            return apply_module(name, module, params, state, *args)[0]

        context = label_context(batch.get("label"), self.num_classes)
        features = []
        d = to_unit_range(x, prepared)
        for i, layer in enumerate(self.layers):
            d = init(f"encoder_{i + 1}", layer.encoder, d, context if i == 0 else None)
            features.append(d)
        h = context
        for i, layer in reversed(list(enumerate(self.layers))):
            if layer.prior is not None:
                init(f"prior_{i + 1}", layer.prior, h)
            init(f"posterior_{i + 1}", layer.posterior, features[i], h)
            h = init(f"decoder_{i + 1}", layer.decoder, jnp.zeros((len(x), layer.latent_dim)), h)
        init("decoder", self.decoder, h)
        # Checks what the networks return, without computing anything.
        forward = functools.partial(self.forward, train=False, state=state)
        jax.eval_shape(forward, params, batch, key_forward)
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
    ) -> tuple[HierarchicalVAEOutputs, State]:
        """Encodes, draws `num_samples` codes of each example top-down, and decodes them."""
        key_x, key_z, key_up, key_down, key_decoder = jax.random.split(key, 5)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        context = label_context(batch.get("label"), self.num_classes)
        features, state = self._bottom_up(params, state, x, context, train=train, key=key_up)
        features = [jnp.repeat(d, num_samples, axis=0) for d in features]
        if context is not None:
            context = jnp.repeat(context, num_samples, axis=0)
        down, state = self._top_down(
            params,
            state,
            features,
            context,
            _sampled(key_z),
            len(features[0]),
            train=train,
            key=key_down,
        )
        likelihood, state = self._decode(params, state, down.h, train=train, key=key_decoder)
        kl = [jnp.mean(a.reshape(-1, num_samples), axis=-1) for a in down.kl]
        z = jnp.concatenate(down.z, axis=-1)
        return (
            HierarchicalVAEOutputs(x, z, likelihood, down.log_q, down.log_p, jnp.stack(kl, -1)),
            state,
        )

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
        """Draws `num` new examples `[num, *shape]`: codes top-down, then x ~ p(x | z).

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
        context = label_context(label, self.num_classes)
        down, _ = self._top_down(params, state or {}, None, context, _sampled(key_z), num)
        likelihood, _ = self._decode(params, state or {}, down.h)
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
        """Encodes examples to `[B, latent_dim]`: to each layer's mean, given those above it.

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            label: Labels `[B]` of a conditional model.
            key: PRNG key of the preprocessing; a fixed one if None.
            state: The model's state.
        """
        check_examples(x, self.spec)
        x = self.preprocess.apply(x, jax.random.key(0) if key is None else key, self.spec)
        context = label_context(label, self.num_classes)
        features, _ = self._bottom_up(params, state or {}, x, context)
        down, _ = self._top_down(params, state or {}, features, context, _mean, x.shape[0])
        return jnp.concatenate(down.z, axis=-1)

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
        starts = list(itertools.accumulate(self.latent_dims))[:-1]
        parts = jnp.split(z, starts, axis=-1)

        def given(layer: int, posterior: Normal | None, prior: Normal) -> Array:
            del posterior, prior
            return parts[layer]

        context = label_context(label, self.num_classes)
        down, _ = self._top_down(params, state or {}, None, context, given, z.shape[0])
        likelihood, _ = self._decode(params, state or {}, down.h)
        return self.preprocess.restore(likelihood.mean(), self.spec)

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
        """The importance-weighted lower bound of log p(x) `[B]`, in nats (as `VAE`'s).

        Args:
            params: The model's parameters.
            x: Examples `[B, *shape]`.
            key: PRNG key.
            num_samples: Number of codes of each example, processed one after the other.
            label: Labels `[B]` of a conditional model.
            state: The model's state.
        """
        check_examples(x, self.spec)
        state = state or {}
        key_x, key_z = jax.random.split(key)
        y = self.preprocess.apply(x, key_x, self.spec)
        context = label_context(label, self.num_classes)
        features, _ = self._bottom_up(params, state, y, context)

        def log_weight(k: Array) -> Array:
            choose = _sampled(jax.random.fold_in(key_z, k))
            down, _ = self._top_down(params, state, features, context, choose, x.shape[0])
            likelihood, _ = self._decode(params, state, down.h)
            return likelihood.log_prob(y) + down.log_p - down.log_q

        bound = log_mean_weight(log_weight, num_samples, x.shape[0])
        return of_data(bound + self.preprocess.log_volume(self.spec), x, self.spec)

    def _bottom_up(
        self,
        params: Params,
        state: State,
        x: Array,
        context: Array | None,
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[list[Array], State]:
        """The bottom-up pass: the encoders' features d_1 .. d_L."""
        d, features = to_unit_range(x, self.preprocess.describe(self.spec)), []
        for i, layer in enumerate(self.layers):
            name, noise = f"encoder_{i + 1}", _fold_in(key, i)
            given = context if i == 0 else None
            d, state = apply_module(
                name, layer.encoder, params, state, d, given, train=train, key=noise
            )
            features.append(d)
        return features, state

    def _top_down(
        self,
        params: Params,
        state: State,
        features: Sequence[Array] | None,
        context: Array | None,
        choose: Choose,
        num: int,
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[_TopDown, State]:
        """The top-down pass, with posteriors if there are encoders' features."""
        h, z, kl = context, [], []
        log_q = log_p = jnp.zeros(num)
        for i, layer in reversed(list(enumerate(self.layers))):
            of_layer = _fold_in(key, i)
            prior, posterior = standard_normal((num, layer.latent_dim)), None
            if layer.prior is not None:
                name, noise = f"prior_{i + 1}", _fold_in(of_layer, 0)
                out, state = apply_module(
                    name, layer.prior, params, state, h, train=train, key=noise
                )
                prior = normal_of_halves(out, layer.latent_dim, name)
            if features is not None:
                name, noise = f"posterior_{i + 1}", _fold_in(of_layer, 1)
                out, state = apply_module(
                    name, layer.posterior, params, state, features[i], h, train=train, key=noise
                )
                change = normal_of_halves(out, layer.latent_dim, name)
                posterior = Normal(prior.loc + change.loc, prior.log_scale + change.log_scale)
            code = choose(i, posterior, prior)
            if posterior is not None:
                log_q = log_q + posterior.log_prob(code)
                log_p = log_p + prior.log_prob(code)
                kl.insert(0, sum_entries(posterior.kl_entries(prior)))
            z.insert(0, code)
            name, noise = f"decoder_{i + 1}", _fold_in(of_layer, 2)
            h, state = apply_module(
                name, layer.decoder, params, state, code, h, train=train, key=noise
            )
        assert h is not None  # there is a layer
        return _TopDown(tuple(z), log_q, log_p, tuple(kl), h), state

    def _decode(
        self, params: Params, state: State, h: Array, **kwargs: Any
    ) -> tuple[ExplicitMean, State]:
        out, state = apply_module("decoder", self.decoder, params, state, h, **kwargs)
        spec = self.preprocess.describe(self.spec)
        return self.likelihood(out, spec, params["likelihood"]), state


def _fold_in(key: Key | None, data: int) -> Key | None:
    return None if key is None else jax.random.fold_in(key, data)


def _sampled(key: Key) -> Choose:
    """Samples of the posterior, or of the prior if there is none."""

    def choose(layer: int, posterior: Normal | None, prior: Normal) -> Array:
        return (posterior or prior).sample(jax.random.fold_in(key, layer))

    return choose


def _mean(layer: int, posterior: Normal | None, prior: Normal) -> Array:
    """The posterior's mean, or the prior's if there is none."""
    del layer
    return (posterior or prior).mean()


def _mean_kl(outputs: HierarchicalVAEOutputs, layer: int) -> Array:
    """Mean KL of a layer `[]`, in nats."""
    return jnp.mean(outputs.kl[:, layer])
