"""Vector-quantised autoencoders: codes from a codebook that lives in the model's state."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from genjax_models.autoencoders import codebook, losses
from genjax_models.core import likelihoods, preprocess, random
from genjax_models.core.conditions import check_examples
from genjax_models.core.distributions import ExplicitMean
from genjax_models.core.entry import entry
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.loss import Loss, Player
from genjax_models.core.modules import apply_module, init_modules
from genjax_models.core.preprocess import Preprocess, of_data, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State


@struct.dataclass
class VQVAEOutputs:
    """What one pass of a VQ-VAE gives; every array's first axis is the examples.

    Attributes:
        x: Data `[B, ...]`, as the model prepared them.
        z_e: What the encoder returned `[B, ..., d]`.
        codes: The nearest code at each position `[B, ...]`, int32.
        z_q: The codes' vectors `[B, ..., d]`.
        z: What was decoded: z_q, with z_e's gradient.
        likelihood: p(x | z) over `[B, ...]`.
        num_codes: Size of the codebook.
    """

    x: Array
    z_e: Array
    codes: Array
    z_q: Array
    z: Array
    likelihood: ExplicitMean
    num_codes: int = struct.field(pytree_node=False)


@dataclasses.dataclass(frozen=True)
class VQVAE:
    """A vector-quantised variational autoencoder.

    Each position of the encoder's grid is replaced by the nearest of `num_codes` vectors; the
    decoder's gradient passes straight through to the encoder. The codebook follows the encoder by
    moving averages, in the model's state: `sample`, `encode`, `decode` and `log_prob_bound` take
    it as `state=train_state.state`.

    `sample` draws every position on its own, from how often training used each code: a stand-in
    for a prior learned over the codes that `encode` gives.

    Attributes:
        encoder: Data in [-1, 1] `[B, *shape]` to vectors `[B, ..., d]`.
        decoder: Vectors to what the likelihood takes.
        num_codes: Size K of the codebook.
        spec: What one example is.
        likelihood: p(x | z), given the decoder's outputs.
        preprocess: What is done to the data first.
        decay: What a step keeps of the codebook's averages.
        dead_below: A code used fewer times a step than this, on average, starts anew.
        commitment: Weight of the term that holds the encoder near the codes, beta in the paper.

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
        """-log p(x | z) in nats, and the commitment (eq. 3; the codebook's part is not trained)."""
        terms = {"reconstruction": losses.reconstruction, "commitment": losses.commitment}
        watched = {"code_perplexity": losses.code_perplexity}
        return Loss(self.forward, terms, {"commitment": self.commitment}, watched)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns the networks; the codebook is nobody's."""
        return {"vqvae": Player(self.loss, owns=("encoder", "decoder", "likelihood"))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and a codebook of what the fresh encoder makes of the batch."""
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
            "codebook": codebook.fresh(key_codes, vectors, self.num_codes),
        }
        forward = functools.partial(self.forward, train=False)
        jax.eval_shape(forward, params, batch, key_forward, state=state)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[VQVAEOutputs, State]:
        """Encode, quantise, decode; in training, move the codebook."""
        key_x, key_codes, key_encoder, key_decoder = jax.random.split(key, 4)
        x = self.preprocess.apply(batch["x"], key_x, self.spec)
        z_e, state = self._encode(params, state, x, train=train, key=key_encoder)
        book = state["codebook"]
        codes = codebook.nearest(book, z_e)
        z_q = book["embedding"][codes]
        z = z_e + jax.lax.stop_gradient(z_q - z_e)  # straight-through
        likelihood, state = self._decode(params, state, z, train=train, key=key_decoder)
        if train:
            vectors, used = random.all_examples((jax.lax.stop_gradient(z_e), codes))
            book = codebook.update(
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
        """New examples `[num, *shape]`: codes by how often they are used, then x ~ p(x | z).

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
        """The codes of each example `[B, ...]`, int32; the key is the preprocessing's."""
        check_examples(x, self.spec)
        book = self._book(state)
        x = self.preprocess.apply(x, jax.random.key(0) if key is None else key, self.spec)
        return codebook.nearest(book, self._encode(params, state or {}, x)[0])

    @entry()
    def decode(self, params: Params, z: Array, *, state: State | None = None) -> Array:
        """The mean example `[B, *shape]` of codes `[B, ...]`, in the data's units."""
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
        """The bound log p(x | z) + log p(z) `[B]` in nats, at the code z of x; p(z) as in `sample`.

        A sum over all codes, of which the bound takes one: `num_samples` cannot tighten it, since
        the encoder is deterministic.
        """
        del num_samples
        check_examples(x, self.spec)
        y = self.preprocess.apply(x, key, self.spec)
        book = self._book(state)
        codes = codebook.nearest(book, self._encode(params, state or {}, y)[0])
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
        """Shape of one example's codes."""
        x = jax.ShapeDtypeStruct((1, *self.spec.shape), jnp.float32)
        encode = functools.partial(self.encoder.apply, {"params": params["encoder"]})
        return jax.eval_shape(encode, x).shape[1:-1]

    def _book(self, state: State | None) -> codebook.Codebook:
        if not state or "codebook" not in state:
            raise ValueError(
                "a VQVAE keeps its codebook in its state, which was not given: pass "
                "state=train_state.state"
            )
        return state["codebook"]
