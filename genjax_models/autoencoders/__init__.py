"""Autoencoders: deterministic, variational, vector-quantised."""

from genjax_models.autoencoders import losses
from genjax_models.autoencoders.autoencoder import Autoencoder, AutoencoderOutputs
from genjax_models.autoencoders.embedded import EmbeddedCodes
from genjax_models.autoencoders.hierarchical import (
    HierarchicalVAE,
    HierarchicalVAEOutputs,
    LatentLayer,
)
from genjax_models.autoencoders.latents import (
    DiagonalNormal,
    Posterior,
    Prior,
    StandardNormal,
)
from genjax_models.autoencoders.vae import VAE, VAEOutputs
from genjax_models.autoencoders.vqvae import VQVAE, VQVAEOutputs

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
