"""`fit`: the one training loop, which knows players, hooks and checkpoints, and no family."""

from __future__ import annotations

import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jax

from genjax_models.core.loss import Loss
from genjax_models.core.protocols import Model
from genjax_models.core.types import Device, Params, State
from genjax_models.training import checkpoint
from genjax_models.training.checks import (
    check_batch_size,
    check_ema,
    check_positive,
    check_spec,
)
from genjax_models.training.devices import Mapped, Partition, mapped
from genjax_models.training.errors import Interrupted
from genjax_models.training.feed import Data, make_feed
from genjax_models.training.order import batch_indices
from genjax_models.training.state import Optimizers, TrainState, init_state
from genjax_models.training.step import make_step
from genjax_models.training.window import Window

Hook = Callable[[TrainState, Mapping[str, float]], None]


def fit(
    model: Model,
    data: Data,
    optimizer: Optimizers,
    *,
    steps: int,
    losses: Mapping[str, Loss] | None = None,
    seed: int = 0,
    initial: tuple[Params, State] | None = None,
    batch_size: int = 128,
    ema: float = 0.999,
    accumulate: int = 1,
    devices: Sequence[Device] | int | None = None,
    mapping: Literal["mesh", "pmap"] = "mesh",
    partition: Partition | None = None,
    hooks: Sequence[Hook] = (),
    log_every: int = 100,
    checkpoint_dir: str | Path | None = None,
    checkpoint_every: int = 1000,
    max_to_keep: int = 3,
    config: Mapping[str, Any] | None = None,
) -> TrainState:
    """Trains a model.

    The run is a function of its arguments: batch t depends on (seed, t) alone, the noise of step t
    on (seed, t) alone. A run that is stopped and resumed ends in the same bits as one that was not.

    Args:
        model: What is trained, by each of its players in turn.
        data: What it is trained on.
        optimizer: An Optax transformation, or one for each player by name. Clipping, schedules and
            weight decay are Optax's.
        steps: Length of the run in steps, those of a resumed run's first part included.
        losses: Player -> the loss that takes the place of the player's own.
        seed: Of parameters, data order and noise.
        initial: Parameters and state to start from, in place of fresh ones: `(s.ema, s.state)` of
            a run `s` before this one.
        batch_size: Examples a step, over all devices.
        ema: Decay of the parameters' moving average, `TrainState.ema`.
        accumulate: In how many parts a batch is passed for its gradient, to save memory.
        devices: Devices, or how many; all where None.
        mapping: "mesh" (`jit` over a mesh) or "pmap".
        partition: How the state lies on the mesh (`training.devices.fully_sharded`); whole on every
            device where None.
        hooks: Called as `hook(state, metrics)` every `log_every` steps and at the end, or as often
            as its attribute `every` says (`training.hooks.Every`). `metrics` are the means over
            the steps since the last log, named `player/term`. The state is overwritten by the
            steps that follow: a hook copies what it keeps.
        log_every: Steps between logs.
        checkpoint_dir: Where checkpoints are kept, and where the run is resumed from if there are
            any; nothing is saved where None.
        checkpoint_every: Steps between checkpoints; there is one at the end as well.
        max_to_keep: How many checkpoints stay.
        config: JSON-able description of the run, stored with each checkpoint.

    Returns:
        The state after the last step.

    Raises:
        ValueError: An argument that cannot be, or does not fit another.
        NonFiniteLoss: A term of a loss is not finite; it names the player, the term and the step.
        CheckpointError: A checkpoint cannot be written or read.
        Interrupted: Ctrl-C; the run has been saved in `checkpoint_dir`.
    """
    check_positive(
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        max_to_keep=max_to_keep,
    )
    check_ema(ema)
    check_spec(data.spec, model.spec)
    over = mapped(devices, mapping, partition)
    check_batch_size(batch_size, len(data), over.size, accumulate)

    store = None
    if checkpoint_dir is not None:
        store = _Store(Path(checkpoint_dir), max_to_keep, config or {})
    batch = data.rows(batch_indices(seed, 0, len(data), batch_size))
    fresh = functools.partial(init_state, model, optimizer, seed=seed)
    # One compiled program: made piece by piece, hundreds of small ones would be compiled.
    state, window, done = _start(jax.jit(fresh)(batch, initial=initial), over, store)
    feed = make_feed(data, over.put_data, seed, batch_size, done, steps)
    run = over.run(make_step(model, optimizer, losses, ema, accumulate), feed.gather)
    schedule = _Schedule(steps, log_every, checkpoint_every if store else steps, tuple(hooks))
    pace = Pace()
    with _interrupts(deferred=store is not None) as interrupted:
        while done < steps:
            portion = feed.portion(done, min(pace.steps, schedule.next_stop(done) - done))
            with pace.timing(portion.num):
                state, rows = run(state, *portion)
            window.add(rows, first_step=done)
            done += portion.num
            for hook in schedule.hooks_at(done):
                hook(over.get(state), window.means())
            if (
                done % log_every == 0
            ):  # what the end of the run cut short, a longer run goes on with
                window.clear()
            if store and (schedule.saves_at(done) or interrupted()):
                store.save(over.get(state), window)
            if store and interrupted():
                raise Interrupted(done, store.directory)
    return over.get(state)


def _start(fresh: TrainState, over: Mapped, store: _Store | None) -> tuple[Any, Window, int]:
    """The state on the devices, the window and the step that a run starts or goes on with."""
    if store is None or checkpoint.latest_step(store.directory) is None:
        return over.put(fresh), Window(), 0
    state, extra = checkpoint.load(store.directory, fresh)
    return over.put(state), Window(extra["window"]), int(state.step)


@dataclasses.dataclass(frozen=True)
class _Store:
    """Where a run keeps its checkpoints."""

    directory: Path
    max_to_keep: int
    config: Mapping[str, Any]

    def save(self, state: TrainState, window: Window) -> None:
        extra = {"config": dict(self.config), "window": window.as_json()}
        checkpoint.save(self.directory, state, extra, self.max_to_keep)


@dataclasses.dataclass(frozen=True)
class _Schedule:
    """What happens after which step: a function of the step alone, so a resumed run keeps it."""

    steps: int
    log_every: int
    save_every: int
    hooks: tuple[Hook, ...]

    def next_stop(self, done: int) -> int:
        """The next step after which something happens."""
        periods = {self.log_every, self.save_every, *map(self._period, self.hooks)}
        return min(self.steps, *(done - done % period + period for period in periods))

    def hooks_at(self, done: int) -> list[Hook]:
        return [hook for hook in self.hooks if self._due(done, self._period(hook))]

    def saves_at(self, done: int) -> bool:
        return self._due(done, self.save_every)

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


@contextmanager
def _interrupts(deferred: bool) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, so that the loop can stop where its state is whole.

    A second Ctrl-C interrupts at once. Where it is not to be deferred, or this is not the main
    thread, which alone may handle signals, Ctrl-C does what it always does.
    """
    if not deferred or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    event = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield event.is_set
    finally:
        signal.signal(signal.SIGINT, before)
