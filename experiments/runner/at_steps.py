"""A hook that is called at chosen steps, and steps that are chosen evenly on a log scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genjax_models.training import TrainState
    from genjax_models.training.hooks import Hook

NEVER = 2**62


class AtSteps:
    """Calls a hook at these steps, and no other.

    `fit` asks a hook for its period `every` anew after each call. The next step that is wanted is
    itself a period that leads there: no multiple of it lies between.
    """

    def __init__(self, steps: Iterable[int], hook: Hook, start: int = 0) -> None:
        """Takes up a run.

        Args:
            steps: When to call the hook, in any order.
            hook: What to call.
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
        num: How many, fewer where whole numbers are too few.

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
