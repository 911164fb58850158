"""The shared training loop: state, step, fit, devices, checkpoints, hooks."""

from genjax_models.training import checkpoint, devices, hooks
from genjax_models.training.errors import (
    CheckpointDamaged,
    CheckpointError,
    Diverged,
    Interrupted,
    NonFiniteLoss,
    ProcessLost,
)
from genjax_models.training.fit import fit
from genjax_models.training.state import Optimizers, TrainState, init_state
from genjax_models.training.step import Step, ema_decay, make_step

__all__ = [
    "CheckpointDamaged",
    "CheckpointError",
    "Diverged",
    "Interrupted",
    "NonFiniteLoss",
    "Optimizers",
    "ProcessLost",
    "Step",
    "TrainState",
    "checkpoint",
    "devices",
    "ema_decay",
    "fit",
    "hooks",
    "init_state",
    "make_step",
]
