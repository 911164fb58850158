"""Training: the state, the step, the loop `fit`, devices, checkpoints and hooks."""

from genjax_models.training import checkpoint, devices, hooks
from genjax_models.training.checkpoint import CheckpointDamaged, CheckpointError
from genjax_models.training.devices import ProcessLost
from genjax_models.training.diagnosis import NonFiniteLoss
from genjax_models.training.fit import fit
from genjax_models.training.hooks import Diverged
from genjax_models.training.interrupts import Interrupted
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
