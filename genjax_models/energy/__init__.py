"""Energy-based models: training, Markov chains, and their density in nats."""

from genjax_models.energy import cells, losses
from genjax_models.energy.annealing import (
    Annealed,
    LogPartition,
    anneal,
    geometric,
    log_evidence,
    sigmoidal,
    tuned_step_sizes,
)
from genjax_models.energy.joint import FreeEnergy, JointEnergyModel
from genjax_models.energy.mcmc import HMC, MALA, Kernel, Langevin, LogDensity, Trace, chains
from genjax_models.energy.model import EnergyModel
from genjax_models.energy.normalized import Normalized, NormalizedLevels, log_partition
from genjax_models.energy.reference import Gaussian, Reference
from genjax_models.energy.replay import Replay

__all__ = [
    "HMC",
    "MALA",
    "Annealed",
    "EnergyModel",
    "FreeEnergy",
    "Gaussian",
    "JointEnergyModel",
    "Kernel",
    "Langevin",
    "LogDensity",
    "LogPartition",
    "Normalized",
    "NormalizedLevels",
    "Reference",
    "Replay",
    "Trace",
    "anneal",
    "cells",
    "chains",
    "geometric",
    "log_evidence",
    "log_partition",
    "losses",
    "sigmoidal",
    "tuned_step_sizes",
]
