"""Progressive growing, and a GAN on stacked MNIST, whose thousand modes are counted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.measures import coverage
from experiments.measures import images as measures
from experiments.recipes.adversarial import IMAGES, GameName, ImageSettings, game_of, gan_setup
from experiments.recipes.autoencoders import DTYPES, DtypeName
from experiments.runner import needs, runs, samples
from experiments.runner.config import (
    Config,
    Evaluation,
    NonNegativeFloat,
    NonNegativeInt,
    Optimizer,
    PositiveInt,
)
from experiments.runner.registry import Goal, Setup, experiment
from genjax_models import adversarial, networks
from genjax_models.adversarial import losses
from genjax_models.adversarial.progressive import Growth, ProgressiveGAN
from genjax_models.core import DataSpec
from genjax_models.data import stacked_mnist
from genjax_models.metrics import classified_modes, classify_channels
from genjax_models.networks.progressive import ProgressiveDiscriminator, ProgressiveGenerator

if TYPE_CHECKING:
    from genjax_models.data import Dataset

NUM_STACKS = 26_000


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
    """What the networks compute in."""


# The paper's Adam (app. A.1). The data are not distorted, and MNIST is taken as it is, 7x7 pixels
# growing to 28x28: enlarged to 32x32, samples could not be read by what reads all others.
GROWING: dict[str, Any] = {
    "batch_size": 64,
    "log_every": 200,
    "optimizer": Optimizer(learning_rate=1e-3, b1=0.0, b2=0.99),
    "evaluation": Evaluation(every=5000, examples=512, batch_size=64),
}


def _progressive(settings: ProgressiveSettings, spec: DataSpec) -> Setup:
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
        measures=(measures.distance_by_a_classifier,),
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


def modes_of_stacks(run: runs.Run, data: Dataset, seed: int) -> measures.Figures:
    """How many of the 1,000 modes samples cover, as a classifier of digits reads them."""
    classifier = measures.classifier(run.record.config, "mnist")

    def modes(x: np.ndarray) -> np.ndarray:
        return classify_channels(classifier.predict, x)

    drawn = modes(samples.draw_samples(run, NUM_STACKS, seed))
    real = np.concatenate([modes(batch["x"]) for batch in data.batches(1000)])
    found, of_data = (classified_modes(m, stacked_mnist.NUM_MODES) for m in (drawn, real))
    kind = f"{NUM_STACKS:,} samples, {classifier.name}"
    truth = f"{kind}; {len(real):,} real ones {of_data.covered} and {of_data.kl:.3f}"
    return {
        "modes": measures.figure(found.covered, "of 1000", truth),
        "kl_of_modes": measures.figure(found.kl, "nats", truth),
    }


@dataclasses.dataclass(frozen=True)
class StackedSettings(ImageSettings):
    """DCGAN's networks in a game that covers modes: both players' slopes are held."""

    game: GameName = "relativistic"
    """What each player wants to be small."""
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
    settings = config.model
    height, width, colours = spec.shape
    model = adversarial.GAN(
        networks.DCGANGenerator(settings.channels[::-1], (height, width, colours)),
        networks.DCGANDiscriminator(settings.channels, norm=None),
        spec=spec,
        **game_of(settings),
    )
    setup = gan_setup(model, settings, modes_of_stacks)
    return dataclasses.replace(setup, hooks=(coverage.of_stacks(model),))
