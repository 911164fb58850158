"""Normalizing flows: bijectors, the models that they make, and posteriors of VAEs."""

from genjax_models.core.dequantization import Dequantization, Uniform
from genjax_models.flows import losses, splines
from genjax_models.flows.architectures import glow, maf, neural_spline_flow, realnvp
from genjax_models.flows.bijector import Bijector, Chain, Inverse, Repeat
from genjax_models.flows.coupling import (
    AffineCoupling,
    Alternate,
    Checkerboard,
    Halves,
    Mask,
    SplineCoupling,
)
from genjax_models.flows.dequantized import Dequantized, DequantizedOutputs, Variational
from genjax_models.flows.diagnosis import first_non_finite
from genjax_models.flows.elementwise import Logit
from genjax_models.flows.flattened import Flattened, Spline
from genjax_models.flows.linear import ActNorm, InvertibleConv1x1, Permute
from genjax_models.flows.masked import Affine, Elementwise, MaskedAutoregressive
from genjax_models.flows.model import Flow, FlowOutputs, real_valued
from genjax_models.flows.multiscale import Split, Squeeze
from genjax_models.flows.planar_radial import Planar, Radial
from genjax_models.flows.posterior import FlowPosterior, FlowPrior

__all__ = [
    "ActNorm",
    "Affine",
    "AffineCoupling",
    "Alternate",
    "Bijector",
    "Chain",
    "Checkerboard",
    "Dequantization",
    "Dequantized",
    "DequantizedOutputs",
    "Elementwise",
    "Flattened",
    "Flow",
    "FlowOutputs",
    "FlowPosterior",
    "FlowPrior",
    "Halves",
    "Inverse",
    "InvertibleConv1x1",
    "Logit",
    "Mask",
    "MaskedAutoregressive",
    "Permute",
    "Planar",
    "Radial",
    "Repeat",
    "Spline",
    "SplineCoupling",
    "Split",
    "Squeeze",
    "Uniform",
    "Variational",
    "first_non_finite",
    "glow",
    "losses",
    "maf",
    "neural_spline_flow",
    "real_valued",
    "realnvp",
    "splines",
]
