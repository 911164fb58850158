"""Autoregressive models: exact likelihoods over any causal network, and cached sampling."""

from genjax_models.autoregressive import filters, losses
from genjax_models.autoregressive.generation import generate
from genjax_models.autoregressive.model import Autoregressive, AutoregressiveOutputs
from genjax_models.core.preprocess import tokens

__all__ = [
    "Autoregressive",
    "AutoregressiveOutputs",
    "filters",
    "generate",
    "losses",
    "tokens",
]
