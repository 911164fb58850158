"""How far a dispatch goes: to the next thing that is due, and not for longer than a moment."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

from genjax_models.training.state import TrainState

Hook: TypeAlias = Callable[[TrainState, Mapping[str, float]], None]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What happens after which step: a function of the step alone, so a resumed run keeps it.

    Attributes:
        steps: The run's last step.
        log_every: Steps between logs.
        save_every: Steps between checkpoints; None where none are kept.
        hooks: Called at every log, or as often as their attribute `every` says.
    """

    steps: int
    log_every: int
    save_every: int | None
    hooks: tuple[Hook, ...]

    def next_stop(self, done: int) -> int:
        """The next step after which something happens."""
        periods = {self.log_every, self.save_every or self.steps, *map(self._period, self.hooks)}
        return min(self.steps, *(done - done % period + period for period in periods))

    def hooks_at(self, done: int) -> list[Hook]:
        """The hooks to call after that step."""
        return [hook for hook in self.hooks if self._due(done, self._period(hook))]

    def logs_at(self, done: int) -> bool:
        """Whether the metrics start anew; what the end cuts short, a longer run goes on with."""
        return done % self.log_every == 0

    def saves_at(self, done: int) -> bool:
        """Whether there is a checkpoint of that step."""
        return self.save_every is not None and self._due(done, self.save_every)

    def _due(self, done: int, period: int) -> bool:
        return done % period == 0 or done == self.steps

    def _period(self, hook: Hook) -> int:
        return getattr(hook, "every", self.log_every)


class Pace:
    """How many steps to dispatch at once: about half a second's worth.

    So neither does a small model wait for Python, nor a person who presses Ctrl-C for a large one.
    """

    seconds = 0.5

    def __init__(self) -> None:
        self.steps = 1  # the first call compiles; the second tells the speed

    @contextmanager
    def timing(self, num: int) -> Iterator[None]:
        """Times a call of `num` steps."""
        start = time.perf_counter()
        yield
        per_step = (time.perf_counter() - start) / num
        self.steps = min(max(1, int(self.seconds / per_step)), 8 * self.steps)
