"""Flax modules: arrays in, arrays out. Called as `network(x, context=None, *, train=False)`."""

from genjax_models.networks.centred import Centred
from genjax_models.networks.convolutional import ConvDecoder, ConvEncoder
from genjax_models.networks.mlp import MLP

__all__ = ["MLP", "Centred", "ConvDecoder", "ConvEncoder"]
