"""Energy-based models: training, Markov chains, and their density in nats."""

from genjax_models.energy import losses
from genjax_models.energy.annealing import (
    AnnealedSamples,
    LogPartition,
    anneal,
    geometric,
    log_evidence,
    sigmoidal,
    tune_step_sizes,
)
from genjax_models.energy.energy_model import EnergyModel
from genjax_models.energy.joint import FreeEnergy, JointEnergyModel
from genjax_models.energy.mcmc import (
    HMC,
    MALA,
    ChainInfo,
    ChainState,
    Gaussian,
    Kernel,
    Langevin,
    LogDensity,
    Reference,
    Replay,
    run_chains,
)
from genjax_models.energy.normalized import Normalized, NormalizedDiscrete, log_partition

__all__ = [
    "HMC",
    "MALA",
    "AnnealedSamples",
    "ChainInfo",
    "ChainState",
    "EnergyModel",
    "FreeEnergy",
    "Gaussian",
    "JointEnergyModel",
    "Kernel",
    "Langevin",
    "LogDensity",
    "LogPartition",
    "Normalized",
    "NormalizedDiscrete",
    "Reference",
    "Replay",
    "anneal",
    "geometric",
    "log_evidence",
    "log_partition",
    "losses",
    "run_chains",
    "sigmoidal",
    "tune_step_sizes",
]
