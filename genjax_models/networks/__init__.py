"""Flax modules: arrays in, arrays out. Called as `network(x, context=None, *, train=False)`."""

from genjax_models.networks import attention
from genjax_models.networks.causal import Causal
from genjax_models.networks.centred import Centred
from genjax_models.networks.convolutional import ConvDecoder, ConvEncoder
from genjax_models.networks.denoising_mlp import DenoisingMLP
from genjax_models.networks.dit import DiT
from genjax_models.networks.image_lstm import DiagonalBiLSTM, RowLSTM
from genjax_models.networks.made import MADE
from genjax_models.networks.mlp import MLP
from genjax_models.networks.pixelcnn import GatedPixelCNN
from genjax_models.networks.pixelrnn import PixelRNN
from genjax_models.networks.residual import ResidualNetwork
from genjax_models.networks.transformer import Transformer
from genjax_models.networks.unet import UNet

__all__ = [
    "MADE",
    "MLP",
    "Causal",
    "Centred",
    "ConvDecoder",
    "ConvEncoder",
    "DenoisingMLP",
    "DiT",
    "DiagonalBiLSTM",
    "GatedPixelCNN",
    "PixelRNN",
    "ResidualNetwork",
    "RowLSTM",
    "Transformer",
    "UNet",
    "attention",
]
