"""Time that a run has used: training on the clock, compiling apart, across resumes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from experiments.runner import runs
from experiments.runner.hooks import StoppedEarly
from genjax_models import training
from genjax_models.training import hooks

if TYPE_CHECKING:
    from genjax_models.training import TrainState

CLOCK = "clock.jsonl"
"""The file of a run directory: at each log, the seconds that were used and what was looked at."""
SECONDS, COMPILE = "seconds", "compile_seconds"


class CompileTime:
    """The time that JAX has traced, lowered and compiled for since this was made.

    JAX tells the length of each when it ends. A function that is traced within another is told
    twice, so what counts is the length of the union.
    """

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []  # apart from each other, in order of their ends
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith("/jax/core/compile/"):
            self.add(time.perf_counter() - duration_secs, time.perf_counter())

    def add(self, start: float, end: float) -> None:
        """Adds a span that ends no earlier than those before it."""
        while self._spans and self._spans[-1][1] >= start:
            start = min(start, self._spans.pop()[0])
        self._spans.append((start, end))

    @property
    def seconds(self) -> float:
        """The whole of it."""
        return sum(end - start for start, end in self._spans)

    def close(self) -> None:
        """Listens no more."""
        jax.monitoring.unregister_event_duration_listener(self._listen)


class Clock:
    """A hook that writes down the time used, looks at the model now and then, and ends the run.

    What led to the checkpoint that a run goes on from has been used; what was done after it, and
    was lost, has not. Looks and compiling are not on the clock.
    """

    def __init__(
        self,
        directory: Path,
        start: int,
        budget: float,
        steps: int,
        every: int,
        look: Callable[[TrainState], Mapping[str, float]],
        looks: Collection[int],
        compiling: CompileTime,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Takes up a run, and starts.

        Args:
            directory: The run directory.
            start: The step that the run goes on from.
            budget: Seconds of training.
            steps: The run's last step.
            every: Steps between looks at the clock.
            look: Figures of a state.
            looks: The steps after which to ask for them, multiples of `every`.
            compiling: The time of compiling.
            now: The time, in seconds.
        """
        self.every = every
        self._best, self._budget, self._steps = directory / runs.BEST, budget, steps
        self._look, self._looks, self._compiling, self._now = look, looks, compiling, now
        self._report = hooks.json_lines(directory / CLOCK)
        rows = [r for r in hooks.read_json_lines(directory / CLOCK) if r["step"] <= start]
        self._seconds = rows[-1][SECONDS] if rows else 0.0
        self._compile_seconds = rows[-1][COMPILE] if rows else 0.0
        self._mark()

    def _mark(self) -> None:
        self._began, self._compiled = self._now(), self._compiling.seconds

    def __call__(self, state: TrainState, metrics: Mapping[str, float], /) -> None:
        """Writes the time down; raises when there is no more of it."""
        compiled = self._compiling.seconds - self._compiled
        self._seconds += max(0.0, self._now() - self._began - compiled)
        self._compile_seconds += compiled
        step = int(state.step)
        out = self._seconds >= self._budget and step < self._steps
        seen = self._look(state) if out or step in self._looks or step == self._steps else {}
        used = {SECONDS: self._seconds, COMPILE: self._compile_seconds}
        self._report(state, {**used, **seen})
        if out:
            shutil.rmtree(self._best, ignore_errors=True)  # of a run that was killed just here
            training.checkpoint.save(self._best, state)
            raise StoppedEarly(
                f"stopped at step {step} of {self._steps}: {self._budget:g} s of training are used"
            )
        self._mark()


class Enough(Exception):
    """Raised out of `fit` by the hook that knows the speed."""


class Speedometer:
    """A hook that finds how many steps a second `fit` makes, compiling left out, and ends the run.

    It looks at steps 1, 2, 4, 8, ... so that what it costs is soon nothing.
    """

    def __init__(
        self, seconds: float, compiling: CompileTime, now: Callable[[], float] = time.perf_counter
    ) -> None:
        """Makes it.

        Args:
            seconds: Least time to measure.
            compiling: The time of compiling.
            now: The time, in seconds.
        """
        self.every, self.rate = 1, 0.0
        self._least, self._compiling, self._now = seconds, compiling, now
        self._first: tuple[int, float] | None = None

    def __call__(self, state: TrainState, metrics: Mapping[str, float], /) -> None:
        """Raises when enough is known."""
        step, clock = int(state.step), self._now() - self._compiling.seconds
        self.every = 2 * step
        if self._first is None:  # the first step compiles
            self._first = step, clock
            return
        steps, seconds = step - self._first[0], clock - self._first[1]
        self.rate = steps / max(seconds, 1e-9)
        if seconds >= self._least:
            raise Enough
