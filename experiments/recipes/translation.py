"""Image translation: learned from pairs, and between two datasets without any."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import genjax_models as gm
from experiments.runner.config import (
    Config,
    Evaluation,
    NonNegativeFloat,
    NonNegativeInt,
    Optimizer,
    PositiveFloat,
    PositiveInt,
    Size,
)
from experiments.runner.datasets import of_test_split
from experiments.runner.experiment import Goal, Setup, experiment
from genjax_models.adversarial import augmentation
from genjax_models.adversarial.augmentation import Augment, no_augmentation
from genjax_models.adversarial.cyclegan import CycleGAN
from genjax_models.adversarial.pix2pix import Pix2Pix
from genjax_models.core import DataSpec
from genjax_models.data import Dataset
from genjax_models.data.augment import RandomFlip
from genjax_models.data.transforms import cropped, resized, swapped, unpaired
from genjax_models.networks.normalization import instance_norm
from genjax_models.networks.translators import PatchDiscriminator, ResNetTranslator, UNetTranslator

PAIRED = "condition"
"""Under which name the other image of a pair stands."""
WayName = Literal["to_photo", "to_map"]
AugmentName = Literal["nothing", "mirror", "jitter"]
ColorName = Literal["gray", "rgb"]
AUGMENTS: Mapping[AugmentName, Augment] = {
    "nothing": no_augmentation,
    "mirror": augmentation.random_flip,
    "jitter": augmentation.Chain((augmentation.random_flip, augmentation.RandomShift(8))),
}


@functools.lru_cache(maxsize=8)
def images(name: str, split: str, size: int, data_dir: str | None, margin: int = 0) -> Dataset:
    """A split of images without their margins, scaled once for all to `size` x `size`."""
    return resized(cropped(gm.load(name, split, data_dir), margin), size)


def _is_own(name: str) -> bool:
    """Returns True for a folder that is no dataset's name."""
    return name not in gm.data.names() and Path(name).expanduser().is_dir()


@functools.lru_cache(maxsize=8)
def own_pairs(folder: str, split: str, **options: Any) -> Dataset:
    """A split of the pairs in a folder of one's own, `x` of side b and `condition` of side a."""
    return gm.data.load_pairs(folder, split, **options)


def pairs(config: Config[Any], split: str, size: int) -> Dataset:
    """A split of pairs: of a folder, or of a dataset that has them, scaled to `size` x `size`.

    Raises:
        ValueError: The data have no pairs.
    """
    if not _is_own(config.dataset):
        return check_pairs(images(config.dataset, split, size, config.data_dir))
    options = {"crop": config.crop, "flip": config.flip, "color": config.color}
    return own_pairs(config.dataset, split, size=config.size or size, **options)


@functools.lru_cache(maxsize=8)
def own_images(folder: str, split: str, size: Size, color: ColorName) -> Dataset:
    """A split of the images of a folder of one's own, without their labels."""
    return gm.load(folder, split, size=size, color=color)


def domain(config: Config[Any], name: str, split: str, size: int) -> Dataset:
    """A split of one of two sets: of a folder, or of a dataset scaled to `size` x `size`.

    Raises:
        ValueError: A random part is asked for.
    """
    if not _is_own(name):
        return images(name, split, size, config.data_dir)
    if config.crop != "center":
        raise ValueError("--crop random is for one set of images or for pairs: leave it out")
    return own_images(name, split, config.size or size, config.color or "rgb")


def check_pairs(data: Dataset) -> Dataset:
    """The same data, if each example has its other image.

    Raises:
        ValueError: They have none.
    """
    if PAIRED not in (data.arrays or {}):
        raise ValueError(
            f"--dataset {data.spec.name} has no pairs of images ({PAIRED}): give one that has, as "
            "facades, or train a cyclegan, which needs none"
        )
    return data


@dataclasses.dataclass(frozen=True)
class Pix2PixSettings:
    """Pairs of images, scaled once when they are loaded, and the networks."""

    way: WayName = "to_photo"
    """From maps of parts to photos, or from photos to maps: of a folder of pairs, from side a to
    side b, or from b to a."""
    size: PositiveInt = 128
    """Height and width of the images."""
    num_halvings: PositiveInt = 7
    """Halvings of the generator: 7 for 128 pixels, 8 for 256."""
    channels: PositiveInt = 64
    """Of the generator's first level; the discriminator's first layer has as many."""
    discriminator_layers: PositiveInt = 3
    """Halvings before the discriminator's logits, each of which sees a patch: 70 pixels for 3."""
    l1: NonNegativeFloat = 100.0
    """Weight of the mean absolute error."""
    augment: AugmentName = "jitter"
    """Augmentation of pairs: mirrored, and moved by up to 8 pixels."""

    def load(self, config: Config[Any], split: str) -> Dataset:
        """A split of pairs, `x` what is to be made and `condition` what of.

        Raises:
            ValueError: The data have no pairs.
        """
        data = pairs(config, split, self.size)
        return data if self.way == "to_photo" else swapped(data, PAIRED)

    def model(self, spec: DataSpec) -> Pix2Pix:
        """The model of these settings."""
        return Pix2Pix(
            UNetTranslator(spec.shape[-1], self.channels, self.num_halvings),
            PatchDiscriminator(self.channels, self.discriminator_layers),
            spec,
            PAIRED,
            l1=self.l1,
            augment=AUGMENTS[self.augment],
        )


@dataclasses.dataclass(frozen=True)
class CycleGANSettings:
    """The networks of a CycleGAN, and the size that both sets are scaled to when loaded."""

    size: PositiveInt = 16
    """Height and width of the images of both sets."""
    channels: PositiveInt = 16
    """Of the generators' first layer; their residual blocks have four times as many."""
    blocks: PositiveInt = 3
    """Residual blocks of a generator."""
    residual: bool = False
    """Let a generator give the change of an image, rather than the whole image."""
    discriminator_channels: PositiveInt = 32
    """Of the discriminators' first layer."""
    discriminator_layers: PositiveInt = 1
    """Halvings before a discriminator's logits: a logit sees 16 pixels each way for 1, 34 for 2."""
    discriminator_norm: bool = True
    """Normalise their layers image by image, which hides the amount of ink."""
    cycle: PositiveFloat = 10.0
    """Weight of coming back to where one started."""
    identity: NonNegativeFloat = 5.0
    """Weight of leaving alone what is of the target's kind already."""
    pool_size: PositiveInt = 48
    """Images that each discriminator is still shown: a multiple of the batch."""
    augment: AugmentName = "nothing"
    """Augmentation of the examples."""

    def model(self, spec: DataSpec) -> CycleGAN:
        """The model of these settings."""
        return CycleGAN(
            ResNetTranslator(spec.shape[-1], self.channels, self.blocks, residual=self.residual),
            PatchDiscriminator(
                self.discriminator_channels,
                self.discriminator_layers,
                instance_norm if self.discriminator_norm else None,
            ),
            spec,
            cycle=self.cycle,
            identity=self.identity,
            pool_size=self.pool_size,
            augment=AUGMENTS[self.augment],
        )


@dataclasses.dataclass(frozen=True)
class TwoSetsSettings(CycleGANSettings):
    """A CycleGAN between two datasets."""

    other: str = "usps"
    """The set of Y; --dataset is that of X."""
    margin: NonNegativeInt = 4
    """Pixels cut off every side of X's images: mnist's digits leave 4 empty, usps's none."""

    def images_of_x(self, config: Config[Any], split: str) -> Dataset:
        """A split of X as it is translated, with its labels."""
        return images(config.dataset, split, self.size, config.data_dir, self.margin)

    def load(self, config: Config[Any], split: str) -> Dataset:
        """Examples `x` of one set and `y` of the other, without labels and without pairs."""
        own = gm.data.training_split(config.dataset)
        other = gm.data.training_split(self.other) if split == own else split
        y = images(self.other, other, self.size, config.data_dir)
        return unpaired(self.images_of_x(config, split), y)


@dataclasses.dataclass(frozen=True)
class TwoSidesSettings(CycleGANSettings):
    """A CycleGAN between the two sides of pairs, which are pairs no more, or between two sets."""

    other: str | None = None
    """The set of Y, a folder of images or a dataset, where --dataset is that of X (--domain-a and
    --domain-b are other words for the two); None takes the two sides of the pairs of --dataset."""

    def load(self, config: Config[Any], split: str) -> Dataset:
        """Photos `x` and maps `y`, or examples of the two sets, shuffled.

        Raises:
            ValueError: The data have no pairs to break.
        """
        if self.other is None:
            data = pairs(config, split, self.size)
            return unpaired(data, swapped(data, PAIRED))
        x = domain(config, config.dataset, split, self.size)
        of_y = split
        if split == gm.data.training_split(config.dataset):
            of_y = gm.data.training_split(self.other)
        data = unpaired(x, domain(config, self.other, of_y, self.size))
        return data.augmented(RandomFlip()) if config.flip and split == "train" else data


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
    ),
    family="adversarial",
)
def pix2pix_facades(config: Config[Pix2PixSettings], spec: DataSpec) -> Setup:
    """Pix2Pix on pairs of facades, maps of parts to photos or back; or on a folder of pairs."""
    from experiments.measures.translation import error_of_pairs

    return Setup(
        config.model.model(spec),
        condition=of_test_split(config, PAIRED),
        measures=(error_of_pairs,),
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
    family="adversarial",
)
def cyclegan_mnist_usps(config: Config[TwoSetsSettings], spec: DataSpec) -> Setup:
    """A CycleGAN between two datasets of digits, without labels."""
    from experiments.measures.translation import read_as_the_other_set

    return _cyclegan(config, spec, read_as_the_other_set)


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
    ),
    family="adversarial",
    spellings={"--domain-a": "--dataset", "--domain-b": "--model.other"},
)
def cyclegan_facades(config: Config[TwoSidesSettings], spec: DataSpec) -> Setup:
    """A CycleGAN between photos of facades and maps of their parts, shuffled; or two folders."""
    from experiments.measures.translation import cycles

    return _cyclegan(config, spec, cycles)
