"""Flax modules: arrays in, arrays out. Called as `network(x, context=None, *, train=False)`."""

from genjax_models.networks import attention
from genjax_models.networks.batch_norm import BatchNorm
from genjax_models.networks.causal import Causal
from genjax_models.networks.centred import Centred
from genjax_models.networks.convolutional import ConvDecoder, ConvEncoder
from genjax_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from genjax_models.networks.denoising_mlp import DenoisingMLP
from genjax_models.networks.dit import DiT
from genjax_models.networks.equalized import EqualizedConv, EqualizedDense
from genjax_models.networks.image_lstm import DiagonalBiLSTM, RowLSTM
from genjax_models.networks.inception import InceptionV3
from genjax_models.networks.instance_norm import InstanceNorm
from genjax_models.networks.layouts import FramesAsImages, PatchesAsChannels
from genjax_models.networks.made import MADE
from genjax_models.networks.minibatch_std import MinibatchStandardDeviation
from genjax_models.networks.mlp import MLP
from genjax_models.networks.patch import PatchDiscriminator
from genjax_models.networks.pixelcnn import GatedPixelCNN
from genjax_models.networks.pixelrnn import PixelRNN
from genjax_models.networks.progressive import ProgressiveDiscriminator, ProgressiveGenerator
from genjax_models.networks.projection import Projection
from genjax_models.networks.residual import ResidualNetwork
from genjax_models.networks.residual_pair import ResidualDiscriminator, ResidualGenerator
from genjax_models.networks.spectral_norm import SpectralNormalized
from genjax_models.networks.transformer import Transformer, gelu_erf, gelu_tanh
from genjax_models.networks.translators import ResNetTranslator, UNetTranslator
from genjax_models.networks.unet import UNet

__all__ = [
    "MADE",
    "MLP",
    "BatchNorm",
    "Causal",
    "Centred",
    "ConvDecoder",
    "ConvEncoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DenoisingMLP",
    "DiT",
    "DiagonalBiLSTM",
    "EqualizedConv",
    "EqualizedDense",
    "FramesAsImages",
    "GatedPixelCNN",
    "InceptionV3",
    "InstanceNorm",
    "MinibatchStandardDeviation",
    "PatchDiscriminator",
    "PatchesAsChannels",
    "PixelRNN",
    "ProgressiveDiscriminator",
    "ProgressiveGenerator",
    "Projection",
    "ResNetTranslator",
    "ResidualDiscriminator",
    "ResidualGenerator",
    "ResidualNetwork",
    "RowLSTM",
    "SpectralNormalized",
    "Transformer",
    "UNet",
    "UNetTranslator",
    "attention",
    "gelu_erf",
    "gelu_tanh",
]
