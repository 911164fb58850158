"""Deep generative models of every family as pure functions, in one JAX library."""

from genjax_models import autoencoders, core, data, metrics, networks, plots, training
from genjax_models.autoencoders import VAE, VQVAE, Autoencoder
from genjax_models.core import DataSpec, Loss, Player, likelihoods, preprocess
from genjax_models.data import Dataset, load
from genjax_models.metrics import evaluate
from genjax_models.training import TrainState, fit, make_step

__all__ = [
    "VAE",
    "VQVAE",
    "Autoencoder",
    "DataSpec",
    "Dataset",
    "Loss",
    "Player",
    "TrainState",
    "autoencoders",
    "core",
    "data",
    "evaluate",
    "fit",
    "likelihoods",
    "load",
    "make_step",
    "metrics",
    "networks",
    "plots",
    "preprocess",
    "training",
]
