"""Image translation: learned from pairs, and between sets without any."""

from __future__ import annotations

from typing import Any

from experiments.measures import translation as measures
from experiments.recipes.translation_settings import (
    PAIRED,
    CycleGANSettings,
    Pix2PixSettings,
    TwoSetsSettings,
    TwoSidesSettings,
)
from experiments.runner.config import Config, Evaluation, Optimizer
from experiments.runner.datasets import of_test_split
from experiments.runner.registry import Goal, Setup, experiment
from genjax_models.core import DataSpec

ADAM = Optimizer(learning_rate=2e-4, b1=0.5, schedule="linear")


@experiment(
    Config(
        Pix2PixSettings(),
        dataset="facades",
        steps=8000,
        batch_size=1,
        checkpoint_every=2000,
        optimizer=ADAM,
        evaluation=Evaluation(every=1000, examples=100, batch_size=10),
    )
)
def pix2pix_facades(config: Config[Pix2PixSettings], spec: DataSpec) -> Setup:
    """Pix2Pix on pairs of facades: maps of parts to photos, or photos to maps."""
    return Setup(
        config.model.model(spec),
        condition=of_test_split(config, PAIRED),
        measures=(measures.error_of_pairs,),
    )


def _cyclegan(config: Config[Any], spec: DataSpec, measure: Any) -> Setup:
    settings: CycleGANSettings = config.model
    return Setup(
        settings.model(spec),
        condition=of_test_split(config, "x"),
        measures=(measure,),
    )


@experiment(
    Config(
        TwoSetsSettings(discriminator_layers=2, discriminator_norm=False, residual=True),
        dataset="mnist",
        steps=9000,
        batch_size=8,
        optimizer=ADAM,
        evaluation=Evaluation(every=3000, examples=500),
    ),
    # The identity is read better than any translation, and is as far from usps as mnist is: 78.
    Goal(
        "labels_read",
        at_least=90.0,
        unit="% of translated digits read as their own label",
        also=(Goal("frechet_distance", at_most=45.0),),
    ),
)
def cyclegan_mnist_usps(config: Config[TwoSetsSettings], spec: DataSpec) -> Setup:
    """A CycleGAN between two sets of digits, without labels."""
    return _cyclegan(config, spec, measures.read_as_the_other_set)


@experiment(
    Config(
        TwoSidesSettings(
            size=64,
            channels=32,
            blocks=6,
            discriminator_channels=64,
            discriminator_layers=2,
            identity=0.0,
            pool_size=50,
            augment="jitter",
        ),
        dataset="facades",
        steps=20_000,
        batch_size=1,
        checkpoint_every=2000,
        optimizer=ADAM,
        evaluation=Evaluation(every=2000, examples=100, batch_size=10),
    )
)
def cyclegan_facades(config: Config[TwoSidesSettings], spec: DataSpec) -> Setup:
    """A CycleGAN between photos of facades and maps of their parts, shuffled."""
    return _cyclegan(config, spec, measures.cycles)
