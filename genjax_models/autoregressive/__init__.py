"""Autoregressive models: exact likelihoods over any causal network, and cached sampling."""

from genjax_models.autoregressive import losses, sampling
from genjax_models.autoregressive.generation import generate
from genjax_models.autoregressive.losses import AutoregressiveOutputs
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.autoregressive.sampling import LogitFilter
from genjax_models.core.preprocess import tokens

__all__ = [
    "Autoregressive",
    "AutoregressiveOutputs",
    "LogitFilter",
    "generate",
    "losses",
    "sampling",
    "tokens",
]
