"""Adversarial models: implicit densities, learned as a game between players."""

from genjax_models.adversarial import augmentation, jitter, losses, noise, translation_losses
from genjax_models.adversarial.cyclegan import CycleGAN
from genjax_models.adversarial.growth import Growth
from genjax_models.adversarial.losses import Game, Judgement
from genjax_models.adversarial.model import GAN
from genjax_models.adversarial.noise import interpolate
from genjax_models.adversarial.outputs import GANOutputs
from genjax_models.adversarial.pix2pix import Pix2Pix
from genjax_models.adversarial.progressive import ProgressiveGAN
from genjax_models.adversarial.translation_outputs import CycleGANOutputs, Pix2PixOutputs

__all__ = [
    "GAN",
    "CycleGAN",
    "CycleGANOutputs",
    "GANOutputs",
    "Game",
    "Growth",
    "Judgement",
    "Pix2Pix",
    "Pix2PixOutputs",
    "ProgressiveGAN",
    "augmentation",
    "interpolate",
    "jitter",
    "losses",
    "noise",
    "translation_losses",
]
