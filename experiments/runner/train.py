"""Training an experiment: from a configuration to a run directory with a report."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.runner import (
    evaluate,
    loading,
    loggers,
    needs,
    rehearsal,
    runs,
    samples,
    starting,
)
from experiments.runner.config import Config, LoggerName, to_json
from experiments.runner.datasets import is_divided_here, load_splits, num_examples, size_in_words
from experiments.runner.experiment import Experiment, Setup
from experiments.runner.files import locked
from experiments.runner.hooks import Patience, StoppedEarly
from experiments.runner.loggers import Logger
from experiments.runner.optimizers import make_optimizer
from genjax_models import training
from genjax_models.data import Dataset
from genjax_models.training import hooks
from genjax_models.training.checks import check_batch_size
from genjax_models.training.interrupts import STOPPING


def train(
    experiment: Experiment[Any],
    config: Config[Any],
    directory: Path,
    *,
    restart: bool = False,
    stop_on: Sequence[int] = STOPPING,
    logged: Sequence[LoggerName] = (),
) -> runs.Run | None:
    """Trains, evaluates and reports; goes on where an unfinished run of the same kind stopped.

    Args:
        experiment: The experiment.
        config: Its configuration for this run.
        directory: The run directory, new or of that very run.
        restart: Whether to begin anew where all checkpoints are damaged.
        stop_on: Signals at which the run is saved and stopped.
        logged: Loggers that are told of it beside its own files.

    Returns:
        The run, or None if it was finished already.

    Raises:
        ValueError: The directory holds something else, or the run lacks something that it needs:
            of its data, its device, its disk.
        ImportError: A logger's package is not installed.
        training.Interrupted: Ctrl-C or another signal; a checkpoint was saved.
    """
    loggers.check_installed(logged)
    with locked(directory):  # before the look at it, which another process may change
        resumed = starting.check_start(directory, experiment, config, restart)
        if resumed and runs.is_trained(directory):
            if config.evaluation.none or runs.is_finished(directory):
                return None
            run = loading.load_run(directory)
            with loggers.opened(directory, config, logged):
                return evaluate.go_on(run, config)
        how = {"restart": restart, "stop_on": stop_on}
        return _train(experiment, config, directory, resumed, how, logged)


def _train(
    experiment: Experiment[Any],
    config: Config[Any],
    directory: Path,
    resumed: bool,
    how: Mapping[str, Any],
    logged: Sequence[LoggerName],
) -> runs.Run:
    data, held_back, test = load_splits(config)
    needs.check(experiment.name, experiment.needs, config, data.spec)
    try:
        setup = experiment.build(config, data.spec)
    except ValueError as error:
        raise rehearsal.with_size(error, experiment, config, data) from error
    optimizer = setup.optimizer or make_optimizer(config.optimizer, config.steps)
    size = training.devices.device_strategy(config.devices, config.mapping).size
    check_batch_size(config.batch_size, len(data), size, config.accumulate)  # before writing
    if setup.start is not None and config.initial is None:
        raise ValueError(
            f"{experiment.name} stands on another run: train that first, and name it by --initial"
        )
    if config.evaluation.patience is not None and held_back is None:
        raise ValueError(
            f"--evaluation.patience needs held-back data, and {data.spec.name} has no split"
            f" {config.evaluation.split}: leave it out, or name one with --evaluation.split"
        )
    start = 0
    if resumed:
        start = starting.start_of(loading.read(directory), how["restart"])
        starting.check_data(directory, data, held_back, test)
    if start == 0:
        if config.initial is not None:
            loading.read(config.initial)  # before writing
        try:
            size = rehearsal.rehearse(experiment.name, config, setup, data, optimizer)
        except ValueError as error:
            raise rehearsal.with_size(error, experiment, config, data) from error
        rehearsal.check_room(directory, size)
        starting.clear(directory)
    _tell_what_is_left_out(setup, config, data)
    record = runs.create(directory, experiment, config, data, held_back, test)
    began = time.perf_counter()
    with loggers.opened(directory, config, logged) as told:
        run, rate = _fit(record, setup, optimizer, data, held_back, start, how, told)
        finish(run, test, time.perf_counter() - began, rate)
    return run


def _fit(
    record: runs.Record,
    setup: Setup,
    optimizer: Any,
    data: Dataset,
    held_back: Dataset | None,
    start: int,
    how: Mapping[str, Any],
    told: Sequence[Logger],
) -> tuple[runs.Run, float | None]:
    """The trained run, and how many steps a second it made."""
    config, directory = record.config, record.directory

    def check_step(step: int) -> None:
        if step != start:  # of a release that wrote no checksums: what was told of it is not so
            raise training.CheckpointError(
                f"the checkpoint of step {start} in {directory} is damaged and was moved aside:"
                " give the same command again to go on from the one before it"
            )

    _announce(record, data, start)
    with hooks.progress_bar(config.steps) as bar:
        reports: tuple[hooks.Report, ...] = (bar, *told)
        callbacks: list[hooks.Hook] = list(reports)
        if held_back is not None:
            measure = evaluate.validation_loss(setup, held_back, config.evaluation)
            if config.evaluation.patience is not None:
                metric = f"{next(iter(setup.model.players))}/loss"
                patience = Patience(
                    directory, metric, config.evaluation.patience, start, to_json(config)
                )
                reports = (*reports, patience)
            callbacks.append(
                hooks.Every(config.evaluation.every, hooks.validation(measure, reports))
            )
        callbacks.extend(make(reports) for make in setup.hooks)
        state, stopped = None, ""
        try:
            state = training.fit(
                setup.model,
                data,
                optimizer,
                steps=config.steps,
                losses=setup.losses,
                initial=None
                if config.initial is None
                else functools.partial(_initial, config, setup, data),
                hooks=callbacks,
                checkpoint_dir=directory / runs.CHECKPOINTS,
                checkpoint_every=config.checkpoint_every,
                config=to_json(config),
                on_start=check_step,
                **how,
                **fit_options(config),
            )
        except StoppedEarly as stop:
            stopped = str(stop)
    if stopped:
        print(stopped, file=sys.stderr)
    if state is None or (directory / runs.BEST).is_dir():
        state = runs.load_state(record, setup, directory / runs.BEST)
    return runs.Run(record, setup, state), bar.rate


def _initial(config: Config[Any], setup: Setup, data: Dataset) -> Any:
    """Parameters and state that the run starts from, those of another."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    assert config.initial is not None
    before = loading.load_run(config.initial)
    learned = before.params, before.state.state
    if setup.start is None:
        return learned
    batch = jax.tree.map(jnp.asarray, data.rows(np.arange(min(1000, len(data)))))
    fresh = jax.jit(setup.model.init)(jax.random.key(config.seed), batch)
    return setup.start(fresh, learned, batch)


def fit_options(config: Config[Any]) -> dict[str, Any]:
    """The arguments of `fit` that are written in a configuration."""
    names = ("seed", "batch_size", "ema", "accumulate", "devices", "mapping", "log_every")
    return {name: getattr(config, name) for name in names}


def finish(run: runs.Run, data: Dataset, seconds: float, rate: float | None) -> None:
    """Writes a trained run's pictures, its report and its result, then measures it.

    Args:
        run: The run.
        data: The split to evaluate on.
        seconds: Duration of the training since it was started or resumed.
        rate: Steps a second, without compiling; None if it is not known.
    """
    import jax

    record = run.record
    if not runs.is_trained(record.directory):
        import jax

        samples.write_pictures(run, data)
        try:
            runs.save_model(run, record.directory)
        except TypeError as error:
            print(f"the run has no model.json for gm.load_model: {error}", file=sys.stderr)
        result = {
            "experiment": record.experiment.name,
            "dataset": record.config.dataset,
            "split": data.split,
            "examples": num_examples(data),
            "seed": record.config.seed,
            "steps": int(run.state.step),
            "metrics": {},
            "seconds": round(seconds, 2),
            "steps_per_second": None if rate is None else round(rate, 2),
            "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "command": runs.command_line(record.experiment, record.config, record.directory),
            "versions": runs.versions(),
        }
        evaluate.keep(record, result, evaluate.Measured(), evaluate.figures_of(run, data))
    evaluate.go_on(run, record.config, data)


def _tell_what_is_left_out(setup: Setup, config: Config[Any], data: Dataset) -> None:
    """Says before the first step which figures cannot be had of such data; reads their files."""
    if config.evaluation.none:
        return
    if config.evaluation.inception is not None:
        from genjax_models.metrics import load_inception

        load_inception(config.evaluation.inception)
    for measure in evaluate.measures_of(setup, config):
        if need := needs.lacking(getattr(measure, "needs", ()), config, data.spec):
            print(
                f"{measure.__name__.replace('_', ' ')} will be left out: it needs {need.what},"
                f" and {needs.in_words(data.spec)}",
                file=sys.stderr,
            )


def _announce(record: runs.Record, data: Dataset, start: int) -> None:
    size = size_in_words(data)
    if is_divided_here(record.config):
        size += "; a tenth of every class is held back for validation, and a tenth for test"
    where = f"{record.experiment.name} on {data.spec.name} ({size})"
    what = f"resuming from step {start} of {record.config.steps}" if start else "training"
    print(f"{what}: {where} in {record.directory}", file=sys.stderr, flush=True)
