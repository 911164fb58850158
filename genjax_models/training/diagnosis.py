"""Numbers that are not finite: which player, term and step, and where in the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.protocols import Diagnosed, Model
from genjax_models.core.types import Array, Params
from genjax_models.training.devices import DeviceStrategy, RunSteps
from genjax_models.training.feed import StepChunk
from genjax_models.training.state import TrainState
from genjax_models.training.step import turn_key


class NonFiniteLoss(FloatingPointError):
    """A term of a player's loss, or a parameter after a step, is not a finite number.

    Attributes:
        step: Step in which it was found, the first being 1.
        player: Player whose loss it was; None for the parameters.
    """

    def __init__(self, message: str, step: int, player: str | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.player = player


def check_metrics(rows: Mapping[str, np.ndarray], first_step: int) -> None:
    """Raises for the first step with a metric that is not finite, and names its likeliest cause.

    Args:
        rows: Metrics `[num]` of some steps, by `player/term`.
        first_step: Number of steps done before them.

    Raises:
        NonFiniteLoss: A metric is not finite.
    """
    first = {name: np.flatnonzero(~np.isfinite(values)) for name, values in rows.items()}
    first = {name: int(bad[0]) for name, bad in first.items() if bad.size}
    if not first:
        return
    step = min(first.values())  # of the steps after it, everything is lost
    name = min((n for n, s in first.items() if s == step), key=_how_indirect)
    value, (player, term) = rows[name][step], name.split("/", 1)
    raise NonFiniteLoss(
        f"step {first_step + step + 1}: {term!r} of player {player!r} is {value}: the run is "
        "stopped and its last checkpoint is as it was; lower the learning rate, clip the gradient "
        "(optax.clip_by_global_norm), or look at the data",
        step=first_step + step + 1,
        player=player,
    )


def _how_indirect(name: str) -> int:
    """A term says more than the loss that it is a part of, which says more than its gradient."""
    return {"loss": 1, "gradient_norm": 2}.get(name.split("/", 1)[1], 0)


def check_params(state: TrainState, done: int) -> None:
    """Raises if a step made parameters that are not finite: its own terms cannot show it.

    Raises:
        NonFiniteLoss: The parameters of a network are not finite.
    """
    for name, finite in _all_finite(state.params).items():
        if not finite:
            raise NonFiniteLoss(
                f"step {done}: the optimizer made parameters of {name!r} that are not finite: the "
                "run is stopped and its last checkpoint is as it was; lower the learning rate",
                step=done,
            )


@jax.jit
def _all_finite(params: Params) -> dict[str, Array]:
    def finite(tree: Any) -> Array:
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(tree)]))

    return {name: finite(tree) for name, tree in params.items() if jax.tree.leaves(tree)}


class Diagnosis:
    """Asks a model that is `Diagnosed` where its loss is not finite; ignores other models.

    A dispatch makes many steps and overwrites the state passed to it, so a copy of that state is
    kept: memory for one more state, and one copy a dispatch. After a failure, the steps before the
    failing one are repeated from the copy, which gives the same parameters again.
    """

    def __init__(
        self,
        model: Model,
        strategy: DeviceStrategy,
        run: RunSteps,
        batch_at: Callable[[int], Any],
    ) -> None:
        """Args: the model, its strategy and runner of steps, and the batch of each step."""
        self._model, self._strategy, self._run, self._batch_at = model, strategy, run, batch_at
        # One process of several may not hold the whole state.
        self._asks = isinstance(model, Diagnosed) and jax.process_count() == 1
        self._kept: Any = None

    def keep(self, state: Any, done: int, chunk: StepChunk) -> None:
        """Copies the state after `done` steps, before it is passed to the steps of `chunk`."""
        if self._asks:
            self._kept = jax.tree.map(jnp.copy, state), done, chunk

    @contextmanager
    def of_failure(self) -> Iterator[None]:
        """Adds the place in the model to a `NonFiniteLoss` that is raised inside."""
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
        state, done, chunk = self._kept
        # A term fails with the parameters before its step, parameters with those after it.
        num = error.step - done - (error.player is not None)
        if num:
            state, _ = self._run(state, chunk.arrays, chunk.indices, num)
        state, step = self._strategy.get(state), error.step - 1
        player = list(self._model.players).index(error.player) if error.player else 0
        key = turn_key(state.key, step, player, 0)
        return self._model.diagnose(state.params, self._batch_at(step), key, state=state.state)
