"""Adversarial models: implicit densities, learned as a game between players."""

from genjax_models.adversarial import augmentation, losses, noise
from genjax_models.adversarial.losses import Game, Judgement
from genjax_models.adversarial.model import GAN
from genjax_models.adversarial.noise import interpolate
from genjax_models.adversarial.outputs import GANOutputs

__all__ = [
    "GAN",
    "GANOutputs",
    "Game",
    "Judgement",
    "augmentation",
    "interpolate",
    "losses",
    "noise",
]
