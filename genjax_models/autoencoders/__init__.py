"""Autoencoders: deterministic, variational, vector-quantised."""

from genjax_models.autoencoders import losses
from genjax_models.autoencoders.autoencoder import Autoencoder
from genjax_models.autoencoders.hierarchical import HierarchicalVAE, LatentLayer
from genjax_models.autoencoders.latents import (
    DiagonalNormal,
    Posterior,
    Prior,
    StandardNormal,
)
from genjax_models.autoencoders.losses import (
    AutoencoderOutputs,
    HierarchicalVAEOutputs,
    VAEOutputs,
    VQVAEOutputs,
)
from genjax_models.autoencoders.vae import VAE
from genjax_models.autoencoders.vqvae import VQVAE, EmbeddedCodes

__all__ = [
    "VAE",
    "VQVAE",
    "Autoencoder",
    "AutoencoderOutputs",
    "DiagonalNormal",
    "EmbeddedCodes",
    "HierarchicalVAE",
    "HierarchicalVAEOutputs",
    "LatentLayer",
    "Posterior",
    "Prior",
    "StandardNormal",
    "VAEOutputs",
    "VQVAEOutputs",
    "losses",
]
