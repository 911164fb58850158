"""Vector-quantised autoencoders: codes from a codebook that lives in the model's state."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.autoencoders import losses
from genjax_models.autoencoders.losses import VQVAEOutputs
from genjax_models.core import likelihoods, preprocess, random
from genjax_models.core.conditions import check_examples
from genjax_models.core.distributions import ExplicitMean
from genjax_models.core.entry import entry
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import Preprocess, of_data, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value

Codebook: TypeAlias = Mapping[str, Array]
"""`{"embedding" [K, d], "count" [K], "sum" [K, d]}`: moving averages, not trained by gradients."""


def init_codebook(key: Key, vectors: Array, num_codes: int) -> dict[str, Array]:
    """Initialises a codebook with vectors drawn at random, slightly perturbed.

    Args:
        key: PRNG key.
        vectors: Encoded data `[N, d]`.
        num_codes: Number K of codes.
    """
    embedding = _random_vectors(key, vectors, num_codes)
    return {"embedding": embedding, "count": jnp.ones(num_codes), "sum": embedding}


def nearest_code(codebook: Codebook, vectors: Array) -> Array:
    """Finds the index of the code nearest to each vector: `[..., d] -> [...]`, int32."""
    embedding = codebook["embedding"]
    # |v - e|^2 less |v|^2, which does not change which code is nearest.
    scores = jnp.sum(embedding**2, axis=-1) - 2.0 * vectors @ embedding.T
    return jnp.argmin(scores, axis=-1).astype(jnp.int32)


def update_codebook(
    codebook: Codebook,
    vectors: Array,
    codes: Array,
    key: Key,
    *,
    decay: float,
    dead_below: float,
) -> dict[str, Array]:
    """Updates a codebook by a batch, and restarts codes that are hardly used at its vectors.

    `N_k <- decay N_k + (1 - decay) n_k`, likewise the sums m_k, and `e_k = m_k / N_k`.

    Args:
        codebook: The codebook.
        vectors: All of the batch's vectors `[N, d]`.
        codes: The code of each vector `[N]`.
        key: PRNG key.
        decay: Weight of the old value in a moving average.
        dead_below: A code is restarted if its average number of uses in a step is below this.

    References:
        van den Oord et al. 2017, arXiv:1711.00937, app. A.1, eq. 6-8.
    """
    num_codes = codebook["count"].shape[0]
    one_hot = jax.nn.one_hot(codes, num_codes)
    count = decay * codebook["count"] + (1 - decay) * jnp.sum(one_hot, axis=0)
    total = decay * codebook["sum"] + (1 - decay) * one_hot.T @ vectors
    dead = count < dead_below
    # A restarted code counts as used once a step, so that it is not restarted again at once.
    count = jnp.where(dead, jnp.maximum(1.0, dead_below), count)
    restart = _random_vectors(key, vectors, num_codes) * count[:, None]
    total = jnp.where(dead[:, None], restart, total)
    return {"embedding": total / count[:, None], "count": count, "sum": total}


def _random_vectors(key: Key, vectors: Array, num: int) -> Array:
    """Draws `num` of the vectors `[num, d]`, with noise of a hundredth of their spread."""
    key_index, key_noise = jax.random.split(key)
    index = jax.random.randint(key_index, (num,), 0, vectors.shape[0])
    noise = jax.random.normal(key_noise, (num, vectors.shape[1]))
    return vectors[index] + 0.01 * jnp.std(vectors, axis=0) * noise


@value
class VQVAE:
    """A vector-quantised variational autoencoder.

    The encoder's vector at each position is replaced by the nearest of `num_codes` vectors; the
    decoder's gradient is passed straight through to the encoder. The codebook follows the encoder
    by moving averages, in the model's state: `sample`, `encode`, `decode` and `log_prob_bound` take
    it as `state=train_state.state`.

    `sample` draws the code of every position independently, with the frequencies of training. For
    better samples, train a prior over the codes that `encode` gives.

    Attributes:
        encoder: Network from data in [-1, 1] `[B, *shape]` to vectors `[B, ..., d]`.
        decoder: Network from vectors to the likelihood's inputs.
        num_codes: Size K of the codebook.
        spec: Description of one example.
        likelihood: p(x | z), given the decoder's outputs.
        preprocess: Preprocessing of the data.
        decay: Weight of the old value in the codebook's moving averages.
        dead_below: A code is restarted if its average number of uses in a step is below this.
        commitment: Weight of the term that keeps the encoder near the codes, beta in the paper.

    References:
        van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv:1711.00937.
    """

    encoder: nn.Module
    decoder: nn.Module
    num_codes: int
    spec: DataSpec = DIGITS
    likelihood: Likelihood = likelihoods.binomial
    preprocess: Preprocess = preprocess.identity
    decay: float = 0.99
    dead_below: float = 0.1
    commitment: float = 0.25

    @property
    def loss(self) -> Loss:
        """-log p(x | z) in nats, and the commitment (eq. 3, without the codebook's term)."""
        terms = {"reconstruction": losses.reconstruction, "commitment": losses.commitment}
        watched = {"code_perplexity": losses.code_perplexity}
        return Loss(self.forward, terms, {"commitment": self.commitment}, watched)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, which owns the networks."""
        return {"vqvae": Player(self.loss, owns=("encoder", "decoder", "likelihood"))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters, and a codebook of the batch's encoded vectors."""
        check_examples(batch["x"], self.spec)
        key_encoder, key_decoder, key_codes, key_x, key_forward = jax.random.split(key, 5)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        prepared = self.preprocess.describe(self.spec)
        modules = {"encoder": (self.encoder, (to_unit_range(x, prepared),))}
        params, state = init_modules(key_encoder, modules)
        z_e, _ = self._encode(params, state, x)
        more_params, more_state = init_modules(key_decoder, {"decoder": (self.decoder, (z_e,))})
        vectors = z_e.reshape(-1, z_e.shape[-1])  # [B * positions, d]
        likelihood = {"likelihood": self.likelihood.init(x, prepared)}
        params = {**params, **more_params, **likelihood}
        state = {
            **state,
            **more_state,
            "codebook": init_codebook(key_codes, vectors, self.num_codes),
        }
        forward = functools.partial(self.forward, train=False)
        jax.eval_shape(forward, params, batch, key_forward, state=state)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[VQVAEOutputs, State]:
        """Encodes, quantises and decodes; in training, updates the codebook."""
        key_x, key_codes, key_encoder, key_decoder = jax.random.split(key, 4)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        z_e, state = self._encode(params, state, x, train=train, key=key_encoder)
        book = state["codebook"]
        codes = nearest_code(book, z_e)
        z_q = book["embedding"][codes]
        z = z_e + jax.lax.stop_gradient(z_q - z_e)  # straight-through
        likelihood, state = self._decode(params, state, z, train=train, key=key_decoder)
        if train:
            vectors, used = random.all_examples((jax.lax.stop_gradient(z_e), codes))
            book = update_codebook(
                book,
                vectors.reshape(-1, vectors.shape[-1]),
                used.reshape(-1),
                key_codes,
                decay=self.decay,
                dead_below=self.dead_below,
            )
            state = {**state, "codebook": book}
        return VQVAEOutputs(x, z_e, codes, z_q, z, likelihood, self.num_codes), state

    @entry("num")
    def sample(self, params: Params, key: Key, num: int, *, state: State | None = None) -> Array:
        """Draws `num` new examples `[num, *shape]`: codes by their frequencies, then x ~ p(x | z).

        Raises:
            ValueError: The state, which holds the codebook, is not given.
        """
        key_codes, key_x = jax.random.split(key)
        logits = jnp.log(self._book(state)["count"])
        noise = random.gumbel(key_codes, (num, *self._grid(params), self.num_codes))
        codes = jnp.argmax(logits + noise, axis=-1)
        likelihood = self._likelihood(params, state, codes)
        return self.preprocess.restore(likelihood.sample(key_x), self.spec)

    @entry()
    def encode(
        self, params: Params, x: Array, *, key: Key | None = None, state: State | None = None
    ) -> Array:
        """Encodes examples to codes `[B, ...]`, int32; the key is for the preprocessing."""
        check_examples(x, self.spec)
        book = self._book(state)
        x = self.preprocess.apply(x, jax.random.key(0) if key is None else key, self.spec)
        return nearest_code(book, self._encode(params, state or {}, x)[0])

    @entry()
    def decode(self, params: Params, z: Array, *, state: State | None = None) -> Array:
        """Decodes codes `[B, ...]` to mean examples `[B, *shape]`, in the data's units."""
        return self.preprocess.restore(self._likelihood(params, state, z).mean(), self.spec)

    @entry("num_samples")
    def log_prob_bound(
        self,
        params: Params,
        x: Array,
        key: Key,
        num_samples: int = 1,
        *,
        state: State | None = None,
    ) -> Array:
        """The lower bound log p(x | z) + log p(z) `[B]`, in nats, at the code z of x.

        p(z) is as in `sample`. The likelihood is a sum over all codes, of which the bound takes
        one. The encoder is deterministic, so `num_samples` does not tighten the bound.
        """
        del num_samples
        check_examples(x, self.spec)
        y = self.preprocess.apply(x, key, self.spec)
        book = self._book(state)
        codes = nearest_code(book, self._encode(params, state or {}, y)[0])
        log_prior = jax.nn.log_softmax(jnp.log(book["count"]))[codes]
        log_prior = jnp.sum(log_prior.reshape(x.shape[0], -1), axis=-1)
        log_joint = self._likelihood(params, state, codes).log_prob(y) + log_prior
        return of_data(log_joint + self.preprocess.log_volume(self.spec), x, self.spec)

    def _encode(self, params: Params, state: State, x: Array, **kwargs) -> tuple[Array, State]:  # noqa: ANN003
        scaled = to_unit_range(x, self.preprocess.describe(self.spec))
        return apply_module("encoder", self.encoder, params, state, scaled, **kwargs)

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

    def _likelihood(self, params: Params, state: State | None, codes: Array) -> ExplicitMean:
        z = self._book(state)["embedding"][codes]
        return self._decode(params, state or {}, z)[0]

    def _grid(self, params: Params) -> tuple[int, ...]:
        """The shape of one example's codes."""
        x = jax.ShapeDtypeStruct((1, *self.spec.shape), jnp.float32)
        encode = functools.partial(self.encoder.apply, {"params": params["encoder"]})
        return jax.eval_shape(encode, x).shape[1:-1]

    def _book(self, state: State | None) -> Codebook:
        if not state or "codebook" not in state:
            raise ValueError(
                "a VQVAE keeps its codebook in its state, which was not given: pass "
                "state=train_state.state"
            )
        return state["codebook"]


@value
class EmbeddedCodes:
    """A VQ-VAE with real-valued codes, the codebook's vectors, for latent diffusion.

    Attributes:
        vqvae: The VQ-VAE.
    """

    vqvae: VQVAE

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.vqvae.spec

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the VQ-VAE's parameters and codebook."""
        return self.vqvae.init(key, batch)

    @entry()
    def encode(self, params: Params, x: Array, *, state: State | None = None) -> Array:
        """Encodes examples to the vectors of their codes `[B, ..., d]`."""
        codes = self.vqvae.encode(params, x, state=state)
        return (state or {})["codebook"]["embedding"][codes]

    @entry()
    def decode(self, params: Params, z: Array, *, state: State | None = None) -> Array:
        """Decodes the codes nearest to vectors `[B, ..., d]`."""
        codes = nearest_code((state or {})["codebook"], z)
        return self.vqvae.decode(params, codes, state=state)
