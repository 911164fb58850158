"""Diffusion: schedules, what networks predict, and samplers that see a denoiser alone."""

from genjax_models.diffusion import grids, predictions, schedules
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
    "Cosine",
    "LinearBeta",
    "RectifiedFlow",
    "VarianceExploding",
    "ancestral",
    "ddim",
    "dpm_solver_2m",
    "dpm_solver_2s",
    "euler",
    "fixed_large",
    "fixed_small",
    "grids",
    "heun",
    "predictions",
    "predictor_corrector",
    "schedules",
    "start",
]
