"""Deep generative models of every family as pure functions, in one JAX library."""

from genjax_models import (
    adversarial,
    applications,
    autoencoders,
    autoregressive,
    core,
    data,
    diffusion,
    energy,
    flows,
    metrics,
    networks,
    plots,
    saving,
    training,
)
from genjax_models.adversarial import GAN, CycleGAN, Pix2Pix
from genjax_models.autoencoders import VAE, VQVAE, Autoencoder, HierarchicalVAE
from genjax_models.autoregressive import Autoregressive
from genjax_models.core import DataSpec, Loss, Player, likelihoods, partial, preprocess
from genjax_models.core.version import __version__
from genjax_models.data import Dataset, load
from genjax_models.diffusion import Diffusion, FlowMatching, MaskedDiffusion
from genjax_models.energy import EnergyModel, JointEnergyModel
from genjax_models.flows import Dequantized, Flow
from genjax_models.metrics import evaluate
from genjax_models.saving import load_model, load_run, save
from genjax_models.training import TrainState, fit, make_step

__all__ = [
    "GAN",
    "VAE",
    "VQVAE",
    "Autoencoder",
    "Autoregressive",
    "DataSpec",
    "EnergyModel",
    "Dataset",
    "CycleGAN",
    "Dequantized",
    "Diffusion",
    "Flow",
    "FlowMatching",
    "HierarchicalVAE",
    "JointEnergyModel",
    "Loss",
    "MaskedDiffusion",
    "Pix2Pix",
    "Player",
    "TrainState",
    "__version__",
    "adversarial",
    "applications",
    "autoencoders",
    "autoregressive",
    "core",
    "data",
    "diffusion",
    "energy",
    "evaluate",
    "fit",
    "flows",
    "likelihoods",
    "load",
    "load_model",
    "load_run",
    "make_step",
    "metrics",
    "networks",
    "partial",
    "plots",
    "preprocess",
    "save",
    "saving",
    "training",
]
