"""What training raises when a run cannot go on."""

from __future__ import annotations

import signal
from pathlib import Path


class NonFiniteLoss(FloatingPointError):
    """A term of a player's loss, or what became of the parameters, is not a finite number.

    Attributes:
        step: The step that it was seen in, the first being 1.
        player: Whose loss it was; None for the parameters.
    """

    def __init__(self, message: str, step: int, player: str | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.player = player


class Diverged(FloatingPointError):
    """A number that was watched left its bounds.

    Attributes:
        step: The step that it was seen after.
        metric: Its name.
    """

    def __init__(self, message: str, step: int, metric: str) -> None:
        super().__init__(message)
        self.step = step
        self.metric = metric


class CheckpointError(OSError):
    """A checkpoint cannot be written or read."""


class CheckpointDamaged(CheckpointError):
    """No checkpoint holds what was written."""


class ProcessLost(RuntimeError):
    """Another process of the run is gone."""


class Interrupted(KeyboardInterrupt):
    """A run was interrupted, and saved.

    Attributes:
        step: Number of steps done.
        checkpoint_dir: Where its checkpoints are.
        signal: The signal that interrupted it; SIGINT is Ctrl-C.
    """

    def __init__(self, step: int, checkpoint_dir: Path, number: int = signal.SIGINT) -> None:
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        super().__init__(
            f"interrupted{by} at step {step}, which is saved in {checkpoint_dir}: run the same "
            "again to go on from there"
        )
        self.step = step
        self.checkpoint_dir = checkpoint_dir
        self.signal = number
