"""`fit`: the one training loop, which knows players, hooks and checkpoints, and no family."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core.conditions import check_batch
from genjax_models.core.loss import Loss
from genjax_models.core.protocols import Model
from genjax_models.core.types import Array, Device, Params, State
from genjax_models.training import checkpoint, checks, hosts, identity
from genjax_models.training.devices import Partition, mapped
from genjax_models.training.diagnosis import Diagnosis
from genjax_models.training.errors import CheckpointDamaged, Interrupted, NonFiniteLoss
from genjax_models.training.feed import Data, make_feed
from genjax_models.training.interrupts import STOPPING, interrupts
from genjax_models.training.order import batch_indices
from genjax_models.training.pace import Hook, Pace, Schedule
from genjax_models.training.state import Optimizers, TrainState, init_state, keys_of
from genjax_models.training.step import make_step
from genjax_models.training.window import Window

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
) -> TrainState:
    """Trains a model.

    The run is a function of its arguments: batch t depends on (seed, t) alone, the noise of step t
    on (seed, t) alone. A run that is stopped and resumed ends in the same bits as one that was not.
    In a run of several processes (`training.devices.initialize`) each calls this, with the same
    arguments.

    Args:
        model: What is trained, by each of its players in turn.
        data: What it is trained on.
        optimizer: An Optax transformation, or one for each player by name. Clipping, schedules and
            weight decay are Optax's.
        steps: Length of the run in steps, those of a resumed run's first part included.
        losses: Player -> the loss that takes the place of the player's own.
        seed: Of parameters, data order and noise.
        initial: Parameters and state to start from, in place of fresh ones: `(s.ema, s.state)` of
            a run `s` before this one; or a function that gives them, called at step 0 alone.
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
            any: it must be the same run, of the same data, batch size, losses, optimizer and
            averages. Nothing is saved where None.
        checkpoint_every: Steps between checkpoints; there is one at the end as well.
        max_to_keep: How many checkpoints stay.
        config: JSON-able description of the run, stored with each checkpoint.
        restart: Whether to begin anew where there are damaged checkpoints alone; else that is
            refused. They stay where they are.
        same_data: Whether a run that is resumed must be given the data that it was started with.
            Data that are drawn anew as training goes on (`applications.bias`) are others.
        on_start: Called once, before the first step, with the number of steps done: 0, or those of
            the checkpoint that was loaded.
        stop_on: Signals at which the run is saved in `checkpoint_dir` and stopped: Ctrl-C, SIGTERM
            and SIGHUP; add `signal.SIGUSR1` where a scheduler sends it before the time is over.

    Returns:
        The state after the last step.

    Raises:
        TypeError: An argument of the wrong type.
        ValueError: An argument that cannot be, or does not fit another, or a `checkpoint_dir` of
            another run.
        NonFiniteLoss: A term of a loss is not finite; it names the player, the term and the step,
            and the place in the model where the model can say it (`core.protocols.Diagnosed`).
        CheckpointError: A checkpoint cannot be written or read.
        CheckpointDamaged: All checkpoints are damaged, and `restart` is not given.
        ProcessLost: Of several processes, another one is gone.
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
    checks.check_seed(seed)
    checks.check_ema(ema)
    checks.check_hooks(hooks)
    checks.check_config(config)
    checks.check_spec(data.spec, model.spec)
    if data.arrays is not None:
        checks.check_arrays(model, data.arrays)
    over = mapped(devices, mapping, partition)
    checks.check_batch_size(batch_size, len(data), over.size, accumulate)
    step = make_step(model, optimizer, losses, ema, accumulate)

    def batch_at(step: int) -> dict[str, np.ndarray]:
        return data.rows(batch_indices(seed, step, len(data), batch_size))

    # One compiled program: made piece by piece, hundreds of small ones would be compiled. The seed
    # is an argument of it, so that the next seed's run finds it in JAX's cache of programs.
    init = jax.jit(functools.partial(init_state, model, optimizer))
    first = batch_at(0)
    check_batch(model, first)
    fresh = functools.partial(init, *jax.device_put((first, np.uint32(seed))))
    if initial is not None and not callable(initial):
        fresh = functools.partial(fresh, initial=initial)
    template = jax.eval_shape(fresh)

    store, found = None, None
    if checkpoint_dir is not None:
        numbers = {"batch_size": batch_size, "ema": ema, "accumulate": accumulate}
        compared = data if same_data else None
        run_of = identity.describe(model, compared, optimizer, losses, template, **numbers)
        checkpoint.prepare(checkpoint_dir)
        store = _Store(Path(checkpoint_dir), max_to_keep, {"config": config or {}, "run": run_of})
        found = store.resume(over.describe(template), seed, steps, restart)
    state, window = found or (None, Window())
    done = 0 if state is None else int(state.step)
    if on_start is not None:
        on_start(done)
    if state is None:
        state = fresh(initial=initial()) if callable(initial) else fresh()
    state = over.put(state)
    check = functools.partial(check_batch, model)
    feed = make_feed(data, over.put_data, check, seed, batch_size, done, steps)
    run = over.run(step, feed.gather)
    schedule = Schedule(steps, log_every, checkpoint_every if store else None, tuple(hooks))
    pace, diagnosis = Pace(), Diagnosis(model, over, run, batch_at)
    with hosts.peers(), interrupts(store is not None, stop_on) as interrupted:
        while done < steps:
            portion = feed.portion(done, min(pace.steps, schedule.next_stop(done) - done))
            diagnosis.keep(state, done, portion)
            with pace.timing(portion.num):
                state, rows = run(state, *portion)
            with diagnosis.of_failure():
                window.add(rows, first_step=done)
            done += portion.num
            for hook in schedule.hooks_at(done):
                hook(over.get(state), window.means())
            if schedule.logs_at(done):
                window.clear()
            # Asked once: between two answers Ctrl-C might come, and nothing would be saved.
            pace.steps, stop = hosts.agree(pace.steps, interrupted() or 0)
            if schedule.saves_at(done) or stop or done == steps:
                with diagnosis.of_failure():
                    _check_finite(over.get(state), done)
            if store and (schedule.saves_at(done) or stop):
                store.save(over.get(state), window)
            if store and stop:
                raise Interrupted(done, store.directory, stop)
    return over.get(state)


def _check_finite(state: TrainState, done: int) -> None:
    """What a step makes of the parameters, only the next one's terms would tell."""
    for name, finite in _all_finite(state.params).items():
        if not finite:
            raise NonFiniteLoss(
                f"step {done}: the optimizer made parameters of {name!r} that are not finite: the "
                "run is stopped and its last checkpoint is as it was; lower the learning rate",
                step=done,
            )


@jax.jit
def _all_finite(params: Params) -> dict[str, Array]:
    def of(tree: Any) -> Array:
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(tree)]))

    return {name: of(tree) for name, tree in params.items() if jax.tree.leaves(tree)}


@dataclasses.dataclass(frozen=True)
class _Store:
    """Where a run keeps its checkpoints, and what it keeps with each."""

    directory: Path
    max_to_keep: int
    extra: Mapping[str, Any]

    def save(self, state: TrainState, window: Window) -> None:
        extra = {**self.extra, "window": window.as_json()}
        checkpoint.save(self.directory, state, extra, self.max_to_keep)

    def resume(
        self, template: TrainState, seed: int, steps: int, restart: bool
    ) -> tuple[TrainState, Window] | None:
        """The state and the window that the run goes on with; None where it begins."""
        if checkpoint.latest_step(self.directory) is None:
            if (damaged := checkpoint.all_damaged(self.directory)) and not restart:
                raise CheckpointDamaged(
                    f"{self.directory} holds damaged checkpoints alone ({', '.join(damaged)}): put "
                    "a whole copy there, or begin anew with restart=True"
                )
            return None
        try:
            state, extra = checkpoint.load(self.directory, template, check=self.check)
        except CheckpointDamaged:
            if restart:
                return None
            raise
        done, key = int(state.step), keys_of(seed)[1]
        if not np.array_equal(jax.random.key_data(state.key), jax.random.key_data(key)):
            raise ValueError(
                f"{self.directory} holds a run of another seed than {seed}: give the seed that it "
                "was started with, or another folder"
            )
        if done > steps:
            raise ValueError(
                f"{self.directory} holds a run that is at step {done}, and steps is {steps}: give "
                f"at least {done}, or another folder"
            )
        if restart:
            raise ValueError(
                f"restart is for a folder whose checkpoints are all damaged, and {self.directory} "
                f"has a whole one of step {done}: leave it out to go on, or give another folder"
            )
        return state, Window(**extra["window"])

    def check(self, extra: Mapping[str, Any]) -> None:
        """Refuses a checkpoint of another run."""
        if changed := identity.differences(extra.get("run", {}), self.extra["run"]):
            raise ValueError(
                f"{self.directory} holds another run ({'; '.join(changed)}): give what it was "
                "started with, or another folder"
            )
