"""Flax modules: arrays in, arrays out. Called as `network(x, context=None, *, train=False)`."""

from genjax_models.networks import attention
from genjax_models.networks.causal import Causal
from genjax_models.networks.convolutional import ConvDecoder, ConvEncoder, ResidualNetwork
from genjax_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from genjax_models.networks.dit import DiT
from genjax_models.networks.inception import InceptionV3
from genjax_models.networks.layers import Centred, MinibatchStandardDeviation, Unconditional
from genjax_models.networks.layouts import FramesAsImages, PatchesAsChannels
from genjax_models.networks.made import MADE
from genjax_models.networks.mlp import MLP, DenoisingMLP
from genjax_models.networks.normalization import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    SpectralNormalized,
    group_norm,
    instance_norm,
)
from genjax_models.networks.pixelcnn import GatedPixelCNN
from genjax_models.networks.pixelrnn import DiagonalBiLSTM, PixelRNN, RowLSTM
from genjax_models.networks.progressive import (
    EqualizedConv,
    EqualizedDense,
    ProgressiveDiscriminator,
    ProgressiveGenerator,
)
from genjax_models.networks.residual_gan import Projection, ResidualDiscriminator, ResidualGenerator
from genjax_models.networks.transformer import Transformer, gelu_erf, gelu_tanh
from genjax_models.networks.translators import PatchDiscriminator, ResNetTranslator, UNetTranslator
from genjax_models.networks.unet import UNet

__all__ = [
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
    "GroupNorm",
    "InceptionV3",
    "InstanceNorm",
    "MADE",
    "MLP",
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
    "Unconditional",
    "attention",
    "gelu_erf",
    "gelu_tanh",
    "group_norm",
    "instance_norm",
]
