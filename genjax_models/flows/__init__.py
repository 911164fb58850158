"""Normalizing flows: bijectors, models over them, and flows as posteriors and priors of VAEs."""

from genjax_models.core.dequantization import Dequantization, Uniform
from genjax_models.flows import losses, splines
from genjax_models.flows.architectures import glow, maf, neural_spline_flow, realnvp
from genjax_models.flows.bijector import (
    Bijector,
    Chain,
    Composite,
    Flattened,
    Inverse,
    Logit,
    Part,
    Repeat,
    first_non_finite,
    layers,
)
from genjax_models.flows.coupling import (
    AffineCoupling,
    Alternate,
    Checkerboard,
    Halves,
    Mask,
    SplineCoupling,
)
from genjax_models.flows.dequantized import Dequantized, DequantizedOutputs, Variational
from genjax_models.flows.flow import Flow, FlowOutputs, real_valued
from genjax_models.flows.linear import ActNorm, InvertibleConv1x1, Permute
from genjax_models.flows.masked import Affine, Elementwise, MaskedAutoregressive
from genjax_models.flows.multiscale import Split, Squeeze
from genjax_models.flows.planar_radial import Planar, Radial
from genjax_models.flows.posterior import FlowPosterior, FlowPrior
from genjax_models.flows.splines import Spline

__all__ = [
    "ActNorm",
    "Affine",
    "AffineCoupling",
    "Alternate",
    "Bijector",
    "Chain",
    "Checkerboard",
    "Composite",
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
    "Part",
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
    "layers",
    "losses",
    "maf",
    "neural_spline_flow",
    "real_valued",
    "realnvp",
    "splines",
]
