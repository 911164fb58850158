"""`fit`: the training loop, which knows players, hooks and checkpoints, and no family of models."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import numpy as np

from genjax_models.core.conditions import check_batch
from genjax_models.core.loss import Loss
from genjax_models.core.protocols import Model
from genjax_models.core.types import Device, Params, State
from genjax_models.training import checkpoint, checks
from genjax_models.training.devices import Partition, agree, device_strategy, peers
from genjax_models.training.diagnosis import Diagnosis, check_metrics, check_params
from genjax_models.training.feed import Data, batch_at, make_feed
from genjax_models.training.hooks import Hook
from genjax_models.training.interrupts import STOPPING, Interrupted, interrupts
from genjax_models.training.resume import RunCheckpoints, describe
from genjax_models.training.state import Optimizers, TrainState, init_state
from genjax_models.training.step import make_step

Initial: TypeAlias = tuple[Params, State]
"""Parameters and state to start from."""


def fit(
    model: Model,
    data: Data,
    optimizer: Optimizers,
    *,
    steps: int,
    losses: Mapping[str, Loss] | None = None,
    seed: int = 0,
    initial: Initial | Callable[[], Initial] | None = None,
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
    restart: bool = False,
    same_data: bool = True,
    on_start: Callable[[int], None] | None = None,
    stop_on: Sequence[int] = STOPPING,
    workers: int = 4,
) -> TrainState:
    """Trains a model.

    The run is a function of its arguments: batch t and the noise of step t depend on (seed, t)
    alone. A run that is stopped and resumed ends in the same bits as one that was not. In a run of
    several processes (`training.devices.initialize`) each calls this, with the same arguments.

    Args:
        model: Model to train, each of its players in turn.
        data: Dataset to train it on.
        optimizer: An Optax transformation, or one for each player by name. Clipping, schedules and
            weight decay are Optax's.
        steps: Length of the run in steps, including those done before it was resumed.
        losses: Loss by player, in place of the player's own.
        seed: Seed of the parameters, the order of the data, and the noise.
        initial: Parameters and state to start from, in place of fresh ones: `(s.ema, s.state)` of
            the final state `s` of another run; or a function that returns them, called only at
            step 0.
        batch_size: Number of examples a step, over all devices.
        ema: Decay of the moving average of the parameters, `TrainState.ema`.
        accumulate: Number of parts of a batch whose gradients are computed one after the other, to
            save memory.
        devices: Devices, or their number; all where None.
        mapping: "mesh" (`jit` over a mesh) or "pmap".
        partition: Partition of the state over the mesh (`training.devices.fully_sharded`);
            whole on each device where None.
        hooks: Called as `hook(state, metrics)` every `log_every` steps and at the end, or as often
            as a hook's attribute `every` says (`training.hooks.Every`). `metrics` are the means
            over the steps since the last log, named `player/term`. The state is overwritten by the
            steps that follow: a hook copies what it keeps.
        log_every: Number of steps between logs.
        checkpoint_dir: Folder of the checkpoints, from which the run is resumed if there are any:
            it must be the same run, of the same data, batch size, losses, optimizer and averages.
            Nothing is saved where None.
        checkpoint_every: Number of steps between checkpoints; there is one at the end as well.
        max_to_keep: Number of checkpoints that stay.
        config: JSON-able description of the run, stored with each checkpoint.
        restart: Whether to begin anew if all checkpoints are damaged, which is refused otherwise.
            They stay where they are.
        same_data: Whether a resumed run must be given the data that it was started with. False for
            data that change as training goes on (`applications.bias`).
        on_start: Called once, before the first step, with the number of steps done: 0, or those of
            the checkpoint that was loaded.
        stop_on: Signals at which the run is saved in `checkpoint_dir` and stopped: Ctrl-C, SIGTERM
            and SIGHUP; add `signal.SIGUSR1` where a scheduler sends it before the time is over.
        workers: Number of threads that read streamed or augmented data ahead of their steps; 0
            reads them between steps. The run is the same for any number.

    Returns:
        The state after the last step.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of its range or does not fit another, or `checkpoint_dir`
            holds another run.
        NonFiniteLoss: A term of a loss is not finite; the error names the player, the term and the
            step, and the place in the model if the model is `core.protocols.Diagnosed`.
        CheckpointError: A checkpoint cannot be written or read.
        CheckpointDamaged: All checkpoints are damaged, and `restart` is not given.
        ProcessLost: Another process of the run is gone.
        Interrupted: Ctrl-C, or another signal of `stop_on`; the run is saved in `checkpoint_dir`.
    """
    checks.check_model(model)
    checks.check_dataset(data)
    checks.check_positive(
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        max_to_keep=max_to_keep,
    )
    checks.check_not_negative(workers=workers)
    checks.check_seed(seed)
    checks.check_ema(ema)
    checks.check_hooks(hooks)
    checks.check_config(config)
    checks.check_spec(data.spec, model.spec)
    if data.arrays is not None:
        checks.check_arrays(model, data.arrays)
    strategy = device_strategy(devices, mapping, partition)
    checks.check_batch_size(batch_size, len(data), strategy.size, accumulate)
    step = make_step(model, optimizer, losses, ema, accumulate)

    # One compiled program: made piece by piece, hundreds of small ones would be compiled. The seed
    # is an argument of it, so that the next seed's run finds it in JAX's cache of programs.
    init = jax.jit(functools.partial(init_state, model, optimizer))
    first = batch_at(data, seed, 0, batch_size)
    check_batch(model, first)
    fresh = functools.partial(init, *jax.device_put((first, np.uint32(seed))))
    if initial is not None and not callable(initial):
        fresh = functools.partial(fresh, initial=initial)
    template = jax.eval_shape(fresh)

    checkpoints, found = None, None
    if checkpoint_dir is not None:
        numbers = {"batch_size": batch_size, "ema": ema, "accumulate": accumulate}
        compared = data if same_data else None
        described = describe(model, compared, optimizer, losses, template, **numbers)
        extra = {"config": config or {}, "run": described}
        checkpoint.prepare(checkpoint_dir)
        checkpoints = RunCheckpoints(Path(checkpoint_dir), max_to_keep, extra)
        found = checkpoints.resume(strategy.describe(template), seed, steps, restart)
    state, means = (found[0], MetricMeans(**found[1])) if found else (None, MetricMeans())
    done = 0 if state is None else int(state.step)
    if on_start is not None:
        on_start(done)
    if state is None:
        state = fresh(initial=initial()) if callable(initial) else fresh()
    state = strategy.put(state)
    check = functools.partial(check_batch, model)
    feed = make_feed(data, strategy.put_data, check, seed, batch_size, done, steps, workers)
    run = strategy.runner(step, feed.gather)
    cadence = Cadence(steps, log_every, checkpoint_every if checkpoints else None, tuple(hooks))
    batch_of = functools.partial(batch_at, data, seed, batch_size=batch_size)
    dispatch, diagnosis = DispatchSize(), Diagnosis(model, strategy, run, batch_of)
    with peers(), interrupts(checkpoints is not None, stop_on) as interrupted:
        while done < steps:
            chunk = feed.next_chunk(done, min(dispatch.steps, cadence.next_stop(done) - done))
            diagnosis.keep(state, done, chunk)
            with dispatch.timing(chunk.num):
                state, rows = run(state, *chunk)
            with diagnosis.of_failure():
                check_metrics(rows, first_step=done)
            means.add(rows)
            done += chunk.num
            for hook in cadence.hooks_at(done):
                hook(strategy.get(state), means.values())
            if cadence.logs_at(done):
                means.clear()
            # Asked once: between two answers Ctrl-C might come, and nothing would be saved.
            dispatch.steps, stop = agree(dispatch.steps, interrupted() or 0)
            if cadence.saves_at(done) or stop or done == steps:
                with diagnosis.of_failure():
                    check_params(strategy.get(state), done)
            if checkpoints and (cadence.saves_at(done) or stop):
                checkpoints.save(strategy.get(state), means.as_json())
            if checkpoints and stop:
                raise Interrupted(done, checkpoints.directory, stop)
    return strategy.get(state)


@dataclass(frozen=True)
class Cadence:
    """When a run logs, saves and calls hooks: a function of the step, so a resumed run keeps it.

    Attributes:
        steps: Length of the run in steps.
        log_every: Number of steps between logs.
        save_every: Number of steps between checkpoints; None where none are kept.
        hooks: Called at every log, or as often as their attribute `every` says.
    """

    steps: int
    log_every: int
    save_every: int | None
    hooks: tuple[Hook, ...]

    def next_stop(self, done: int) -> int:
        """Returns the next step after which something is due."""
        periods = {self.log_every, self.save_every or self.steps, *map(self._period, self.hooks)}
        return min(self.steps, *(done - done % period + period for period in periods))

    def hooks_at(self, done: int) -> list[Hook]:
        """Returns the hooks to call after `done` steps."""
        return [hook for hook in self.hooks if self._due(done, self._period(hook))]

    def logs_at(self, done: int) -> bool:
        """Whether the running means start anew; if the run ends before, a longer one goes on."""
        return done % self.log_every == 0

    def saves_at(self, done: int) -> bool:
        """Whether a checkpoint is due after `done` steps."""
        return self.save_every is not None and self._due(done, self.save_every)

    def _due(self, done: int, period: int) -> bool:
        return done % period == 0 or done == self.steps

    def _period(self, hook: Hook) -> int:
        return getattr(hook, "every", self.log_every)


class DispatchSize:
    """Number of steps to dispatch at once: about half a second's worth.

    So a small model does not wait for Python, and Ctrl-C does not wait for a large one.

    Attributes:
        seconds: Time that a dispatch should take.
        steps: Number of steps of the next dispatch.
    """

    seconds = 0.5

    def __init__(self) -> None:
        self.steps = 1  # the first call compiles; the second tells the speed

    @contextmanager
    def timing(self, num: int) -> Iterator[None]:
        """Times a call of `num` steps, and sets `steps`."""
        start = time.perf_counter()
        yield
        per_step = (time.perf_counter() - start) / num
        self.steps = min(max(1, int(self.seconds / per_step)), 8 * self.steps)


class MetricMeans:
    """Running means of the metrics since the last log.

    The sums are taken step by step, so they do not depend on the dispatch size. They are saved with
    a checkpoint, so a resumed run logs the same.
    """

    def __init__(self, num: int = 0, sums: Mapping[str, float] | None = None) -> None:
        """Args: the number of steps so far, and the sum of each metric over them."""
        self._num = num
        self._sums = dict(sums or {})

    def add(self, rows: Mapping[str, np.ndarray]) -> None:
        """Adds the metrics `[num]` of some steps."""
        for name, values in rows.items():
            sums = np.append(self._sums.get(name, 0.0), values.astype(np.float64))
            self._sums[name] = float(np.add.accumulate(sums)[-1])
        self._num += len(next(iter(rows.values())))

    def values(self) -> dict[str, float]:
        """Returns the mean of each metric."""
        return {name: value / self._num for name, value in self._sums.items()}

    def clear(self) -> None:
        """Starts anew."""
        self._num, self._sums = 0, {}

    def as_json(self) -> dict[str, Any]:
        """Returns the keyword arguments that build these means again."""
        return {"num": self._num, "sums": self._sums}
