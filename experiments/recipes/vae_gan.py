"""A VAE whose reconstructions a discriminator judges: two families' terms in one loss.

Nothing of this is in the library. The model holds a VAE and a GAN, passes both in one `forward`,
and lets each family's own terms look at that family's part of the outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from experiments.recipes.adversarial import GAMES, GameName
from experiments.recipes.autoencoders import VAESettings, vae_setup
from experiments.runner import needs
from experiments.runner.config import Config, Evaluation, NonNegativeFloat, Optimizer, PositiveInt
from experiments.runner.experiment import Setup, experiment
from genjax_models import adversarial, autoencoders, networks
from genjax_models.core import Array, Batch, DataSpec, Key, Loss, Params, Player, State
from genjax_models.core.loss import Term
from genjax_models.core.modules import init_modules
from genjax_models.core.preprocess import to_unit_range
from genjax_models.core.values import register


@struct.dataclass
class VAEGANOutputs:
    """Outputs for the terms of each family."""

    vae: autoencoders.VAEOutputs
    gan: adversarial.GANOutputs


def of_vae(term: Term) -> Term:
    """A VAE's term, of the VAE's part of the outputs."""
    return lambda outputs: term(outputs.vae)


def of_gan(term: Term) -> Term:
    """A GAN's term, of the GAN's part of the outputs."""
    return lambda outputs: term(outputs.gan)


@register
@dataclasses.dataclass(frozen=True)
class VAEGAN:
    """A VAE that also plays a GAN's game: its decoder is the generator.

    Attributes:
        vae: The VAE.
        gan: The game and its discriminator; its generator is not used.

    References:
        Larsen et al. 2016, Autoencoding beyond pixels using a learned similarity metric,
        arXiv:1512.09300; what is reconstructed here are the entries, not the features.
    """

    vae: autoencoders.VAE
    gan: adversarial.GAN

    @property
    def spec(self) -> DataSpec:
        """Description of one example."""
        return self.vae.spec

    @property
    def loss(self) -> Loss:
        """The discriminator's loss."""
        return Loss(self.forward, {"adversarial": of_gan(self.gan.game.discriminator_term)})

    @property
    def vae_loss(self) -> Loss:
        """-ELBO, and the generator's term of what the decoder makes of the prior's codes."""
        terms = {name: of_vae(term) for name, term in self.vae.loss.terms.items()}
        return Loss(self.forward, terms).add(adversarial=of_gan(self.gan.game.generator_term))

    @property
    def players(self) -> Mapping[str, Player]:
        """The discriminator, then the VAE."""
        return {
            "discriminator": Player(self.loss, ("discriminator",)),
            "vae": Player(self.vae_loss, self.vae.players["vae"].owns),
        }

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """The VAE's parameters and the discriminator's."""
        key_vae, key_discriminator = jax.random.split(key)
        params, state = self.vae.init(key_vae, batch)
        x = to_unit_range(jnp.asarray(batch["x"]), self.spec)
        judge = {"discriminator": (self.gan.discriminator, (x,))}
        judging, kept = init_modules(key_discriminator, judge)
        return {**params, **judging}, {**state, **kept}

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[VAEGANOutputs, State]:
        """One pass of the VAE; then the discriminator on data and on decoded prior codes."""
        key_vae, key_judge = jax.random.split(key)
        vae, state = self.vae.forward(params, batch, key_vae, state=state, train=train)
        fake = to_unit_range(self.vae.decode(params, vae.z_prior, state=state), self.spec)
        real = to_unit_range(batch["x"], self.spec)
        gan, state = self.gan.discriminator_forward(
            params, real, fake, vae.z_prior, None, key_judge, state=state, train=train
        )
        return VAEGANOutputs(vae, gan), state

    def sample(self, params: Params, key: Key, num: int, *, state: State | None = None) -> Array:
        """The VAE's samples."""
        return self.vae.sample(params, key, num, state=state)


@dataclasses.dataclass(frozen=True)
class VAEGANSettings:
    """The VAE, and who judges it."""

    vae: VAESettings = VAESettings()
    """The VAE's settings."""
    game: GameName = "non_saturating"
    """Losses of the discriminator and the decoder."""
    weight: NonNegativeFloat = 5.0
    """Weight of the decoder's adversarial loss, in nats beside those of the bound."""
    r1: NonNegativeFloat = 1.0
    """Weight of half of the squared slope of the discriminator's logits at the data."""
    width: PositiveInt = 256
    """Size of the discriminator's hidden layers."""


@experiment(
    Config(
        VAEGANSettings(),
        steps=3000,
        optimizer=Optimizer(learning_rate=1e-3, b1=0.5),
        evaluation=Evaluation(num_samples=100),
    ),
    needs=(needs.LEVELS, needs.labels_if("model.vae.conditional")),
    family="adversarial",
)
def vae_gan(config: Config[VAEGANSettings], spec: DataSpec) -> Setup:
    """A VAE whose samples a discriminator judges, as a loss of two families' terms."""
    from experiments.measures.images import distance_by_a_classifier

    settings = config.model
    judge = networks.MLP((settings.width, settings.width, 1), nn.leaky_relu)
    vae: Any = vae_setup(settings.vae, spec).model
    model = VAEGAN(
        vae,
        adversarial.GAN(judge, judge, settings.vae.latent_dim, spec, game=GAMES[settings.game]),
    )
    r1 = of_gan(adversarial.losses.r1)
    return Setup(
        model,
        {
            "discriminator": model.loss.add(r1=r1).weigh(r1=settings.r1),
            "vae": model.vae_loss.weigh(adversarial=settings.weight),
        },
        measures=(distance_by_a_classifier,),
    )
