"""Diffusion and flow matching: schedules, networks' targets, samplers, guidance, likelihoods."""

from genjax_models.diffusion import (
    bound,
    couplings,
    dequantized,
    grids,
    guidance,
    inverse,
    losses,
    masked_losses,
    masking,
    ode,
    predictions,
    samplers,
    schedules,
    times,
)
from genjax_models.diffusion.conditioning import enlarged, low_resolution
from genjax_models.diffusion.consistency import Consistency, multistep_consistency
from genjax_models.diffusion.dequantized import DequantizedProbabilityFlow
from genjax_models.diffusion.flow_matching import FlowMatching
from genjax_models.diffusion.latent import LatentDiffusion
from genjax_models.diffusion.learned_schedule import Learned
from genjax_models.diffusion.masked import MaskedDiffusion
from genjax_models.diffusion.model import Diffusion
from genjax_models.diffusion.probability_flow import ProbabilityFlow
from genjax_models.diffusion.samplers import (
    ancestral,
    ddim,
    euler,
    fixed_large,
    fixed_small,
    heun,
    start,
)
from genjax_models.diffusion.schedules import (
    EDM,
    Cosine,
    LinearBeta,
    RectifiedFlow,
    VarianceExploding,
)
from genjax_models.diffusion.solvers import dpm_solver_2m, dpm_solver_2s, predictor_corrector

__all__ = [
    "EDM",
    "Consistency",
    "Cosine",
    "DequantizedProbabilityFlow",
    "Diffusion",
    "FlowMatching",
    "LatentDiffusion",
    "Learned",
    "LinearBeta",
    "MaskedDiffusion",
    "ProbabilityFlow",
    "RectifiedFlow",
    "VarianceExploding",
    "ancestral",
    "bound",
    "couplings",
    "ddim",
    "dequantized",
    "dpm_solver_2m",
    "dpm_solver_2s",
    "enlarged",
    "euler",
    "fixed_large",
    "fixed_small",
    "grids",
    "guidance",
    "heun",
    "inverse",
    "losses",
    "low_resolution",
    "masked_losses",
    "masking",
    "multistep_consistency",
    "ode",
    "predictions",
    "predictor_corrector",
    "samplers",
    "schedules",
    "start",
    "times",
]
