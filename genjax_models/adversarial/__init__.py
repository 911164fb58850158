"""Adversarial models: implicit densities, learned as a game between players."""

from genjax_models.adversarial import augmentation, losses
from genjax_models.adversarial.cyclegan import CycleGAN
from genjax_models.adversarial.gan import GAN, GaussianNoise, uniform_noise
from genjax_models.adversarial.losses import (
    CycleGANOutputs,
    Game,
    GANLoss,
    GANOutputs,
    Pix2PixOutputs,
)
from genjax_models.adversarial.pix2pix import Pix2Pix
from genjax_models.adversarial.progressive import Growth, ProgressiveGAN

__all__ = [
    "GAN",
    "CycleGAN",
    "CycleGANOutputs",
    "GANLoss",
    "GANOutputs",
    "Game",
    "GaussianNoise",
    "Growth",
    "Pix2Pix",
    "Pix2PixOutputs",
    "ProgressiveGAN",
    "augmentation",
    "losses",
    "uniform_noise",
]
