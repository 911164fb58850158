"""Generative adversarial networks: a generator and a discriminator, two players of one game."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.special import ndtr, ndtri

from genjax_models.adversarial import losses
from genjax_models.adversarial.augmentation import Augment, no_augmentation
from genjax_models.adversarial.losses import Game, GANOutputs
from genjax_models.core import random
from genjax_models.core.conditions import check_examples, label_context, labels_to_sample
from genjax_models.core.entry import entry
from genjax_models.core.loss import Loss, Player, Term
from genjax_models.core.modules import apply_module, apply_with_features, init_modules
from genjax_models.core.preprocess import bounded, from_unit_range, to_unit_range
from genjax_models.core.types import DIGITS, Array, Batch, DataSpec, Key, Params, State
from genjax_models.core.values import value

Noise: TypeAlias = Callable[[Key, tuple[int, int], float], Array]
"""`(key, (num, latent_dim), truncation) -> z [num, latent_dim]`."""
TAIL = 2.0
"""Bound of the normal noise for truncation just below 1, in standard deviations."""


@value
class GaussianNoise:
    """Normal noise; when truncated, all entries lie within `TAIL * truncation` deviations.

    Attributes:
        scale: Standard deviation. A larger one makes a fresh generator steeper, which helps when
            the data's modes lie far apart.

    References:
        Brock et al. 2019, Large Scale GAN Training, arXiv:1809.11096, sec. 3.1 (the truncation
        trick: entries beyond a threshold are drawn again).
    """

    scale: float = 1.0

    def __call__(self, key: Key, shape: tuple[int, int], truncation: float = 1.0) -> Array:
        """Draws noise `[num, latent_dim]`.

        Args:
            key: PRNG key.
            shape: Number of examples, and of entries of each.
            truncation: In (0, 1]; 1 is the whole distribution.
        """
        if truncation == 1.0:
            return self.scale * random.normal(key, shape)
        # Inverse CDF sampling between the two cuts: no draw is rejected.
        low = ndtr(-TAIL * truncation)
        quantile = low + (1.0 - 2.0 * low) * random.uniform(key, shape)
        return self.scale * ndtri(quantile)


def uniform_noise(key: Key, shape: tuple[int, int], truncation: float = 1.0) -> Array:
    """Draws uniform noise in [-truncation, truncation), as in the first GANs."""
    return truncation * (2.0 * random.uniform(key, shape) - 1.0)


@value
class GAN:
    """A generator that turns noise into examples, and a discriminator that tells them from data.

    An implicit model: it can be sampled, and has no density. In each step the discriminator makes
    `turns` updates, then the generator makes one. Terms can be added to either player's loss:

        critic = gan.discriminator_loss.add(gradient_penalty=losses.gradient_penalty)
        fit(gan, data, optimizers, losses={"discriminator": critic.weigh(gradient_penalty=10.0)})

    Attributes:
        generator: Network from noise `[B, latent_dim]` to `[B, *shape]`, any real numbers:
            `bounded` brings them into the data's range.
        discriminator: Network from examples in [-1, 1] to logits `[B, ...]`, high for data.
        latent_dim: Number of entries of the noise.
        spec: Description of one example.
        num_classes: Number of labels to condition both networks on; None for none.
        game: Loss of each player: a `losses.GANLoss`, or another `losses.Game`.
        turns: Number of discriminator updates per step.
        noise: Distribution of the noise: `GaussianNoise`, `uniform_noise`.
        augment: Augmentation of the discriminator's inputs (`augmentation`).

    References:
        Goodfellow et al. 2014, arXiv:1406.2661. Mirza and Osindero 2014, arXiv:1411.1784.
    """

    generator: nn.Module
    discriminator: nn.Module
    latent_dim: int
    spec: DataSpec = DIGITS
    num_classes: int | None = None
    game: Game = losses.non_saturating
    turns: int = 1
    noise: Noise = GaussianNoise()
    augment: Augment = no_augmentation

    def __post_init__(self) -> None:
        """Checks the size of the noise."""
        if self.latent_dim < 1:
            raise ValueError(f"latent_dim is {self.latent_dim}: give at least 1")

    @property
    def loss(self) -> Loss:
        """The loss of the discriminator, which moves first."""
        return self.discriminator_loss

    @property
    def discriminator_loss(self) -> Loss:
        """The game's term for the discriminator; logs its accuracies."""
        return self._loss(self.game.discriminator_term).watch(
            real_accuracy=losses.real_accuracy, fake_accuracy=losses.fake_accuracy
        )

    @property
    def generator_loss(self) -> Loss:
        """The game's term for the generator."""
        return self._loss(self.game.generator_term)

    def _loss(self, term: Term) -> Loss:
        return Loss(self.forward, {"adversarial": term})

    @property
    def players(self) -> Mapping[str, Player]:
        """The discriminator, then the generator."""
        return {
            "discriminator": Player(self.discriminator_loss, ("discriminator",), self.turns),
            "generator": Player(self.generator_loss, ("generator",)),
        }

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Initialises the parameters of both networks.

        Raises:
            ValueError: The examples, or the generator's outputs, do not have `spec`'s shape.
        """
        check_examples(batch["x"], self.spec)
        key, key_forward = jax.random.split(key)
        x = to_unit_range(batch["x"], self.spec)
        z = jnp.zeros((x.shape[0], self.latent_dim))
        context = label_context(batch.get("label"), self.num_classes)
        modules = {
            "generator": (self.generator, (z, context)),
            "discriminator": (self.discriminator, (x, context)),
        }
        params, state = init_modules(key, modules)
        forward = functools.partial(self.forward, train=False)
        jax.eval_shape(forward, params, batch, key_forward, state=state)
        return params, state

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[GANOutputs, State]:
        """Generates as many examples as the batch has, and passes both to the discriminator."""
        x = to_unit_range(batch["x"], self.spec)
        key_z, key_g, key_d = jax.random.split(key, 3)
        context = label_context(batch.get("label"), self.num_classes)
        z = self.noise(key_z, (x.shape[0], self.latent_dim), 1.0)
        fake, state = self._generate(params, z, context, state, train=train, key=key_g)
        return self.discriminator_forward(
            params, x, fake, z, context, key_d, state=state, train=train
        )

    def discriminator_forward(
        self,
        params: Params,
        x: Array,
        fake: Array,
        z: Array,
        context: Array | None,
        key: Key,
        *,
        state: State,
        train: bool,
    ) -> tuple[GANOutputs, State]:
        """Passes data and generated examples through the discriminator.

        Args:
            params: Parameters, of the discriminator at least.
            x: Data in [-1, 1] `[B, *shape]`.
            fake: Generated examples in the same range `[B, *shape]`.
            z: Noise of the generated examples `[B, ...]`.
            context: One-hot labels of both `[B, K]`, or None.
            key: PRNG key of the augmentation, the network and the terms.
            state: The model's state.
            train: If True, this is a training pass.
        """
        key_epsilon, key_real, key_fake, key_d = jax.random.split(key, 4)
        apply = functools.partial(
            apply_with_features, "discriminator", self.discriminator, params, key=key_d, train=train
        )
        x, fake = self.augment(key_real, x), self.augment(key_fake, fake)
        real_logits, real_features, state = apply(state, x, context)
        fake_logits, fake_features, state = apply(state, fake, context)

        def discriminator(x: Array, context: Array | None) -> Array:
            return self.discriminate(params, x, context, state=state)

        epsilon = random.uniform(key_epsilon, (x.shape[0],))
        outputs = GANOutputs(
            x, fake, z, real_logits, fake_logits, real_features, fake_features, context, epsilon,
            discriminator,
        )  # fmt: skip
        return outputs, state

    def discriminate(
        self, params: Params, x: Array, context: Array | None = None, *, state: State | None = None
    ) -> Array:
        """Computes the discriminator's logits `[B, ...]` of examples in [-1, 1] `[B, *shape]`."""
        network = self.discriminator
        return apply_module("discriminator", network, params, state or {}, x, context)[0]

    @entry("num", "truncation")
    def sample(
        self,
        params: Params,
        key: Key,
        num: int,
        *,
        label: Array | int | None = None,
        truncation: float = 1.0,
        state: State | None = None,
    ) -> Array:
        """Draws `num` new examples `[num, *shape]`, in the data's units.

        Args:
            params: The model's parameters; usually a run's averaged ones.
            key: PRNG key.
            num: Number of examples.
            label: Labels of a conditional model: `[num]`, one for all, or None for random ones.
            truncation: Scale of the noise in (0, 1]: less gives likelier and less varied examples.
            state: The model's state, if the networks have any (batch normalisation).

        Raises:
            ValueError: The truncation is not in (0, 1], or a label is not one of the model's.
        """
        if not 0.0 < truncation <= 1.0:
            raise ValueError(f"truncation is {truncation}: give a number above 0 and at most 1")
        key_label, key_z = jax.random.split(key)
        labels = labels_to_sample(label, self.num_classes, num, key_label)
        z = self.noise(key_z, (num, self.latent_dim), truncation)
        return self.generate(params, z, label=labels, state=state)

    @entry()
    def generate(
        self,
        params: Params,
        z: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Array:
        """Turns noise `[B, latent_dim]` into examples `[B, *shape]`, in the data's units."""
        context = label_context(label, self.num_classes)
        fake, _ = self._generate(params, z, context, state or {}, train=False)
        return from_unit_range(fake, self.spec)

    def _generate(
        self,
        params: Params,
        z: Array,
        context: Array | None,
        state: State,
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Array, State]:
        raw, state = apply_module(
            "generator", self.generator, params, state, z, context, key=key, train=train
        )
        return to_examples(raw, self.spec), state


def to_examples(raw: Array, spec: DataSpec, name: str = "the generator") -> Array:
    """Maps a generator's outputs to the examples' shape, and to the networks' input range.

    Args:
        raw: Outputs `[B, ...]`, as many numbers as an example has entries.
        spec: Description of one example.
        name: The network, for messages.

    Returns:
        Examples `[B, *spec.shape]`.

    Raises:
        ValueError: The number of outputs is not that of an example's entries.
    """
    if raw.size != raw.shape[0] * spec.num_dims:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}, but {name} returned "
            f"{raw.shape[1:]}: give it {spec.num_dims} outputs"
        )
    return bounded(raw.reshape(raw.shape[0], *spec.shape), spec)
