"""Hooks of runs: early stopping, which keeps the best state, and calls at chosen steps."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.runner import runs
from genjax_models import training
from genjax_models.training.hooks import read_json_lines

if TYPE_CHECKING:
    from genjax_models.training import TrainState
    from genjax_models.training.hooks import Hook


class StoppedEarly(Exception):
    """Raised out of `fit` by the hook that has seen enough."""


class Patience:
    """A report of validation metrics that keeps the best state and ends the run.

    What it knows of the steps before a checkpoint, it reads from the run's metrics, so that a run
    that is resumed ends as one that was never stopped.
    """

    def __init__(
        self,
        directory: Path,
        metric: str,
        patience: int,
        start: int,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes up a run.

        Args:
            directory: The run directory.
            metric: The validation metric that is to fall.
            patience: Evaluations without a new lowest value after which the run ends.
            start: The step that the run goes on from.
            config: The run's configuration, stored with the best state.
        """
        self._folder, self._config = directory / runs.BEST, config or {}
        self._metric, self._patience = metric, patience
        self._lowest, self._step, self._waited = math.inf, 0, 0
        for row in read_json_lines(directory / runs.METRICS):
            if row["split"] == "validation" and row["step"] <= start and metric in row:
                self._improves(row["step"], row[metric])

    def _improves(self, step: int, value: float) -> bool:
        better = value < self._lowest
        if better:
            self._lowest, self._step = value, step
        self._waited = 0 if better else self._waited + 1
        return better

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Keeps a state that is better than those before; raises when none was for too long."""
        if split != "validation":
            return
        if self._improves(int(state.step), metrics[self._metric]):
            # A run that was killed may have left this very step, or later ones.
            for step in training.checkpoint.all_steps(self._folder):
                if step >= int(state.step):
                    shutil.rmtree(self._folder / str(step))
            training.checkpoint.save(self._folder, state, {"config": self._config}, max_to_keep=1)
        elif self._waited >= self._patience:
            raise StoppedEarly(
                f"stopped at step {int(state.step)}: {self._metric} was lowest at step"
                f" {self._step}, {self._lowest:.5g}, whose parameters are kept"
            )


NEVER = 2**62


class AtSteps:
    """Calls a hook at these steps, and no other.

    `fit` asks a hook for its period `every` anew after each call. The next step that is wanted is
    itself a period that leads there: no multiple of it lies between.
    """

    def __init__(self, steps: Iterable[int], hook: Hook, start: int = 0) -> None:
        """Takes up a run.

        Args:
            steps: Steps at which the hook is called, in any order.
            hook: The hook.
            start: The step that the run goes on from.
        """
        self._left = sorted({step for step in steps if step > start}, reverse=True)
        self._hook = hook

    @property
    def every(self) -> int:
        """The next step at which it is to be called."""
        return self._left[-1] if self._left else NEVER

    def __call__(self, state: TrainState, metrics: Mapping[str, float], /) -> None:
        """Passes on to the hook if this is such a step; `fit` also calls at the run's end."""
        step = int(state.step)
        if self._left and step == self._left[-1]:
            self._left.pop()
            self._hook(state, metrics)


def log_spaced(first: int, last: int, num: int) -> tuple[int, ...]:
    """At most `num` different steps from `first` to `last`, about evenly on a log scale.

    Args:
        first: The first, at least 1.
        last: The last, at least the first.
        num: Number of steps; fewer if there are not as many whole numbers.

    Raises:
        ValueError: Any of them is not in its range.
    """
    if not 1 <= first <= last or num < 1:
        raise ValueError(
            f"{num} steps from {first} to {last} were asked for: give at least one, from a first of"
            " 1 or more to a last that is no less"
        )
    if num == 1:
        return (last,)
    ratio = last / first
    return tuple(dict.fromkeys(round(first * ratio ** (i / (num - 1))) for i in range(num)))
