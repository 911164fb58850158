"""A VAE and a classifier of its codes as one model, of the library's parts: a DB-VAE's networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

import genjax_models as gm
from genjax_models.core import Array, Batch, DataSpec, Key, Loss, Params, Player, State
from genjax_models.core.loss import Term
from genjax_models.core.modules import apply_module, init_modules


@struct.dataclass
class ClassifyingOutputs:
    """Outputs for the terms of a VAE and of a classifier.

    Attributes:
        vae: The VAE's part.
        logits: Of each class, given a code of the posterior `[B, K]`.
        label: The right ones `[B]`.
    """

    vae: gm.autoencoders.VAEOutputs
    logits: Array
    label: Array


def of_vae(term: Term) -> Term:
    """A VAE's term, of the VAE's part of the outputs."""
    return lambda outputs: term(outputs.vae)


def cross_entropy(outputs: ClassifyingOutputs) -> Array:
    """-log p(label | z), nats `[B]`."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs.logits, outputs.label)


@dataclasses.dataclass(frozen=True)
class ClassifyingVAE:
    """A VAE and a classifier of its codes, p(label | z), trained as one.

    Attributes:
        vae: The VAE.
        head: Codes to logits.
        weight: Weight of a nat of the label beside one of the image.

    References:
        Amini et al. 2019, sec. 3.1, eq. 1.
    """

    vae: gm.VAE
    head: nn.Module
    weight: float = 1.0

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.vae.spec

    @property
    def loss(self) -> Loss:
        """-ELBO and the cross-entropy of the labels, nats."""
        terms = {name: of_vae(term) for name, term in self.vae.loss.terms.items()}
        loss = Loss(self.forward, {**terms, "cross_entropy": cross_entropy})
        return loss.weigh(cross_entropy=self.weight)

    @property
    def players(self) -> Mapping[str, Player]:
        """One player, who owns everything."""
        return {"vae": Player(self.loss, (*self.vae.players["vae"].owns, "head"))}

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """The VAE's parameters and the head's."""
        key_vae, key_head = jax.random.split(key)
        params, state = self.vae.init(key_vae, batch)
        z = jnp.zeros((1, self.vae.latent_dim))
        head, kept = init_modules(key_head, {"head": (self.head, (z,))})
        return {**params, **head}, {**state, **kept}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[ClassifyingOutputs, State]:
        """One pass of the VAE, whose codes the head reads."""
        vae, state = self.vae.forward(params, batch, key, state=state, train=train)
        logits, state = apply_module("head", self.head, params, state, vae.z)
        return ClassifyingOutputs(vae, logits, batch["label"]), state

    def sample(self, params: Params, key: Key, num: int, *, state: State | None = None) -> Array:
        """The VAE's samples."""
        return self.vae.sample(params, key, num, state=state)

    def encode(
        self, params: Params, x: Array, *, state: State | None = None, **condition: Any
    ) -> Array:
        """The mean code of each example `[B, latent_dim]`."""
        return self.vae.encode(params, x, state=state, **condition)

    def decode(
        self, params: Params, z: Array, *, state: State | None = None, **condition: Any
    ) -> Array:
        """The mean example of each code `[B, *shape]`."""
        return self.vae.decode(params, z, state=state, **condition)

    def logits(self, params: Params, x: Array, *, state: State | None = None) -> Array:
        """Of each class, given the mean code `[B, K]`."""
        z = self.encode(params, x, state=state)
        return apply_module("head", self.head, params, state or {}, z)[0]
