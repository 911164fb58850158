"""Where in a model a loss is not finite: the failing step once more, looked at by the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from genjax_models.core.protocols import Diagnosed, Model
from genjax_models.training.devices import Mapped, Run
from genjax_models.training.errors import NonFiniteLoss
from genjax_models.training.feed import Portion
from genjax_models.training.step import turn_key


class Diagnosis:
    """Asks a model that is `Diagnosed` where its loss is not finite; for others it does nothing.

    A dispatch makes many steps and overwrites the state that it was given, so a copy is kept of
    it: it takes memory as the state does, and one copying a dispatch. After a failure the steps
    before the failing one are made again, which gives the very parameters that it had.
    """

    def __init__(
        self, model: Model, over: Mapped, run: Run, batch_at: Callable[[int], Any]
    ) -> None:
        """Args: the model, how and by what it is run, and the batch of each step."""
        self._model, self._over, self._run, self._batch_at = model, over, run, batch_at
        # What one process of several holds of the state may not be all of it.
        self._asks = isinstance(model, Diagnosed) and jax.process_count() == 1
        self._kept: Any = None

    def keep(self, state: Any, done: int, portion: Portion) -> None:
        """Remembers the state after `done` steps, of which the portion is what follows."""
        if self._asks:
            self._kept = jax.tree.map(jnp.copy, state), done, portion

    @contextmanager
    def of_failure(self) -> Iterator[None]:
        """Adds to a `NonFiniteLoss` that is raised inside what the model says of its place."""
        try:
            yield
        except NonFiniteLoss as error:
            place = self._place(error) if self._asks else None
            if place is None:
                raise
            message = f"{error}; the first value that is not finite is in {place}"
            raise NonFiniteLoss(message, error.step, error.player) from None

    def _place(self, error: NonFiniteLoss) -> str | None:
        assert isinstance(self._model, Diagnosed)
        state, done, portion = self._kept
        # A term fails with the parameters before its step, parameters with those after it.
        num = error.step - done - (error.player is not None)
        if num:
            state, _ = self._run(state, portion.arrays, portion.indices, num)
        state, step = self._over.get(state), error.step - 1
        player = list(self._model.players).index(error.player) if error.player else 0
        key = turn_key(state.key, step, player, 0)
        return self._model.diagnose(state.params, self._batch_at(step), key, state=state.state)
