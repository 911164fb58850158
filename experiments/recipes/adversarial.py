"""Adversarial models: points and stacks of digits whose modes are counted, digits, growing ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from flax import linen as nn

from experiments.recipes.autoencoders import DTYPES, DtypeName
from experiments.runner import needs
from experiments.runner.config import (
    Config,
    Evaluation,
    NonNegativeFloat,
    NonNegativeInt,
    Optimizer,
    PositiveFloat,
    PositiveInt,
)
from experiments.runner.experiment import Goal, Setup, every_label, experiment
from genjax_models import adversarial, networks
from genjax_models.adversarial import losses
from genjax_models.adversarial.progressive import Growth, ProgressiveGAN
from genjax_models.core import DataSpec, Loss
from genjax_models.data import densities
from genjax_models.networks.progressive import ProgressiveDiscriminator, ProgressiveGenerator

GameName = Literal[
    "minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"
]
GAMES: Mapping[GameName, losses.Game] = {
    "minimax": losses.minimax,
    "non_saturating": losses.non_saturating,
    "least_squares": losses.least_squares,
    "hinge": losses.hinge,
    "wasserstein": losses.wasserstein,
    "relativistic": losses.relativistic,
}


@dataclasses.dataclass(frozen=True)
class GameSettings:
    """Settings of a GAN's game, and of the discriminator's regularisation."""

    latent_dim: PositiveInt = 64
    """Size of the noise."""
    game: GameName = "non_saturating"
    """Losses of the two players."""
    turns: PositiveInt = 1
    """Updates of the discriminator a step."""
    r1: NonNegativeFloat = 0.0
    """Weight of half of the squared slope of its logits at the data."""
    r2: NonNegativeFloat = 0.0
    """Weight of the same at what was generated."""
    gradient_penalty: NonNegativeFloat = 0.0
    """Weight of the squared distance of the slope from 1 between the two."""


def held(loss: Loss, settings: GameSettings) -> Loss:
    """A discriminator's loss with the penalties that weigh something."""
    weights = {"r1": settings.r1, "r2": settings.r2, "gradient_penalty": settings.gradient_penalty}
    terms = {
        "r1": losses.r1, "r2": losses.r2, "gradient_penalty": losses.gradient_penalty,
    }  # fmt: skip
    weights = {name: weight for name, weight in weights.items() if weight}
    return loss.add(**{name: terms[name] for name in weights}).weigh(**weights)


def gan_setup(model: adversarial.GAN, settings: GameSettings, *figures: Any) -> Setup:
    """The experiment of a GAN: all labels in turn where it is conditional."""
    classes = model.num_classes
    return Setup(
        model,
        {"discriminator": held(model.discriminator_loss, settings)},
        condition=every_label(classes),
        measures=figures,
    )


def game_of(settings: GameSettings) -> dict[str, Any]:
    """The settings that a GAN takes by the same names."""
    return {
        "latent_dim": settings.latent_dim,
        "game": GAMES[settings.game],
        "turns": settings.turns,
    }


@dataclasses.dataclass(frozen=True)
class PointsSettings(GameSettings):
    """Fully connected players on points."""

    latent_dim: PositiveInt = 2
    """Size of the noise."""
    noise_scale: PositiveFloat = 6.0
    """Standard deviation of the noise."""
    game: GameName = "relativistic"
    """Losses of the two players."""
    r1: NonNegativeFloat = 0.01
    """Weight of half of the squared slope of its logits at the data."""
    r2: NonNegativeFloat = 0.01
    """Weight of the same at what was generated."""
    width: PositiveInt = 128
    """Size of the hidden layers."""
    layers: PositiveInt = 3
    """Hidden layers."""


@experiment(
    Config(
        PointsSettings(),
        dataset="grid",
        steps=20_000,
        batch_size=256,
        log_every=500,
        optimizer=Optimizer(learning_rate=1e-3, b1=0.5, b2=0.99, schedule="cosine"),
        evaluation=Evaluation(every=5000, examples=10_000, batch_size=1000),
    ),
    Goal(
        "within_3_sigma",
        at_least=90.0,
        unit="%",
        also=(Goal("modes", at_least=25, unit="of 25"),),  # one mode alone is all within
    ),
    needs=(needs.POINTS,),
)
def gan_points(config: Config[PointsSettings], spec: DataSpec) -> Setup:
    """A GAN on a density in the plane whose modes are known: 25 Gaussians on a grid."""
    from experiments.measures import modes

    settings = config.model
    hidden = (settings.width,) * settings.layers
    model = adversarial.GAN(
        networks.MLP((*hidden, spec.num_dims), nn.leaky_relu),
        networks.MLP((*hidden, 1), nn.leaky_relu),
        spec=spec,
        noise=adversarial.GaussianNoise(settings.noise_scale),
        **game_of(settings),
    )
    setup = gan_setup(model, settings, modes.modes_of_points, modes.distance_of_points)
    density = densities.DENSITIES.get(config.dataset, lambda: None)()
    if not isinstance(density, densities.Mixture):
        return setup
    return dataclasses.replace(setup, hooks=(modes.watch_mixture(model, density),))


@dataclasses.dataclass(frozen=True)
class ImageSettings(GameSettings):
    """DCGAN's networks, the discriminator without normalisation and held by R1."""

    channels: tuple[PositiveInt, ...] = (64, 128)
    """Of the discriminator's levels; the generator's are these the other way round."""
    r1: NonNegativeFloat = 1.0
    """Weight of half of the squared slope of its logits at the data."""


IMAGES: Mapping[str, Any] = {
    "dataset": "mnist",
    "split": "train",
    "steps": 30_000,
    "batch_size": 64,
    "log_every": 200,
    "optimizer": Optimizer(learning_rate=2e-4, b1=0.0, b2=0.99),
    "evaluation": Evaluation(every=5000, split="test"),
}
GAN_GOAL = Goal(
    "labels_read",
    at_least=95.0,
    unit="% of samples read as asked",
    also=(Goal("frechet_distance", at_most=50.0),),  # one image a label is read as asked, too
)


def _image_gan(settings: ImageSettings, spec: DataSpec, classes: int | None) -> Setup:
    from experiments.measures.images import distance_by_a_classifier

    height, width, channels = spec.shape
    body = networks.DCGANDiscriminator(settings.channels, norm=None, num_outputs=None)
    model = adversarial.GAN(
        networks.DCGANGenerator(settings.channels[::-1], (height, width, channels)),
        networks.Projection(body),
        spec=spec,
        num_classes=classes,
        **game_of(settings),
    )
    return gan_setup(model, settings, distance_by_a_classifier)


@experiment(
    Config(ImageSettings(), **IMAGES),
    needs=(needs.IMAGES,),
)
def gan_mnist(config: Config[ImageSettings], spec: DataSpec) -> Setup:
    """A GAN of images by convolutions."""
    return _image_gan(config.model, spec, None)


@experiment(
    Config(ImageSettings(), **IMAGES),
    GAN_GOAL,
    needs=(needs.IMAGES, needs.LABELS),
)
def cgan_mnist(config: Config[ImageSettings], spec: DataSpec) -> Setup:
    """A GAN of images by convolutions, given their labels; the discriminator by projection."""
    return _image_gan(config.model, spec, spec.num_classes)


@dataclasses.dataclass(frozen=True)
class ProgressiveSettings:
    """Two networks that grow, and when they do."""

    latent_dim: PositiveInt = 64
    """Size of the noise."""
    channels: tuple[PositiveInt, ...] = (64, 32)
    """Of each stage, from the smallest images on; the last one has the data's size, each one before
    it half of the next one's."""
    stage_images: NonNegativeInt = 60_000
    """Images that a stage is shown when it is all there; the last one is shown what is left."""
    fade_images: PositiveInt = 60_000
    """Images that a stage is shown while it is faded in."""
    gradient_penalty: NonNegativeFloat = 10.0
    """Weight of the squared distance of the discriminator's slope from 1."""
    drift: NonNegativeFloat = 0.001
    """Weight of the square of its values for data."""
    dtype: DtypeName = "float32"
    """Number type of the networks' computations."""


# The paper's Adam (app. A.1). The data are not distorted, and MNIST is taken as it is, 7x7 pixels
# growing to 28x28: enlarged to 32x32, samples could not be read by what reads all others.
GROWING: dict[str, Any] = {
    "batch_size": 64,
    "log_every": 200,
    "optimizer": Optimizer(learning_rate=1e-3, b1=0.0, b2=0.99),
    "evaluation": Evaluation(every=5000, examples=512, batch_size=64),
}


def _progressive(settings: ProgressiveSettings, spec: DataSpec) -> Setup:
    from experiments.measures.images import distance_by_a_classifier

    height, width, colours = spec.shape
    channels, dtype = settings.channels, DTYPES[settings.dtype]
    gan = adversarial.GAN(
        ProgressiveGenerator((height, width, colours), channels, dtype=dtype),
        ProgressiveDiscriminator(channels, dtype=dtype),
        settings.latent_dim,
        spec,
        game=losses.wasserstein,
    )
    growth = Growth(len(channels), settings.stage_images, settings.fade_images)
    model = ProgressiveGAN(gan, growth)
    weights = {"gradient_penalty": settings.gradient_penalty, "drift": settings.drift}
    return Setup(
        model,
        {"discriminator": model.discriminator_loss.weigh(**weights)},
        measures=(distance_by_a_classifier,),
    )


@experiment(
    Config(ProgressiveSettings(), steps=8_000, **GROWING),
    needs=(needs.IMAGES,),
)
def progan_digits(config: Config[ProgressiveSettings], spec: DataSpec) -> Setup:
    """A GAN that grows from 4x4 to 8x8 pixels."""
    return _progressive(config.model, spec)


@experiment(
    Config(
        ProgressiveSettings(channels=(64, 32, 16), stage_images=100_000, fade_images=100_000),
        dataset="mnist",
        split="train",
        steps=20_000,
        **GROWING,
    ),
    needs=(needs.IMAGES,),
)
def progan_mnist(config: Config[ProgressiveSettings], spec: DataSpec) -> Setup:
    """A GAN that grows from 7x7 to 28x28 pixels."""
    return _progressive(config.model, spec)


@experiment(
    Config(
        ProgressiveSettings(
            latent_dim=128,
            channels=(256, 256, 128, 64),
            stage_images=600_000,
            fade_images=600_000,
        ),
        dataset="cifar10",
        steps=100_000,
        **GROWING,
    ),
    needs=(needs.IMAGES,),
)
def progan_cifar10(config: Config[ProgressiveSettings], spec: DataSpec) -> Setup:
    """A GAN that grows from 4x4 to 32x32 pixels, in colour; for an accelerator."""
    return _progressive(config.model, spec)


@dataclasses.dataclass(frozen=True)
class StackedSettings(ImageSettings):
    """DCGAN's networks in a game that covers modes: both players' slopes are held."""

    game: GameName = "relativistic"
    """Losses of the two players."""
    r2: NonNegativeFloat = 1.0
    """Weight of half of the squared slope of its logits at what was generated."""


STACKED: dict[str, Any] = {**IMAGES, "dataset": "stacked_mnist", "split": "train"}


@experiment(
    Config(StackedSettings(), **STACKED),
    Goal("modes", at_least=950, unit="of 1000 modes"),
    needs=(needs.IMAGES, needs.the_set("stacked_mnist")),
)
def gan_stacked_mnist(config: Config[StackedSettings], spec: DataSpec) -> Setup:
    """A GAN of three digits as one image in colour: 1,000 modes, which are counted."""
    from experiments.measures import modes

    settings = config.model
    height, width, colours = spec.shape
    model = adversarial.GAN(
        networks.DCGANGenerator(settings.channels[::-1], (height, width, colours)),
        networks.DCGANDiscriminator(settings.channels, norm=None),
        spec=spec,
        **game_of(settings),
    )
    setup = gan_setup(model, settings, modes.modes_of_stacks)
    return dataclasses.replace(setup, hooks=(modes.watch_stacks(model),))
