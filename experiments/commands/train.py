"""`train`: an experiment to its figures; goes on where a run was stopped."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from experiments.commands.arguments import in_options, parse_experiment
from experiments.commands.terminal import print_metrics
from experiments.runner.config import Config

M = TypeVar("M")


@dataclasses.dataclass(frozen=True)
class TrainArguments(Generic[M]):
    """Train an experiment."""

    configuration: Annotated[Config[M], tyro.conf.arg(name="")]
    """The run's configuration."""
    config: Path | None = None
    """A file to take the configuration from: a run's config.json, or YAML of some of its fields;
    options on the line win."""
    run_dir: Path | None = None
    """Where the run is kept; runs/NAME-DATASET-seedN by default."""
    compilation_cache: bool = True
    """Whether compiled steps are kept for the next run."""
    restart: bool = False
    """Whether to begin anew where all of the run's checkpoints are damaged."""
    stop_on_usr1: bool = False
    """Whether SIGUSR1, which a scheduler may send before a job's time is over, saves the run and
    stops it, as Ctrl-C, SIGTERM and SIGHUP do."""


def main(argv: Sequence[str]) -> int:
    """The command `train`."""
    found, arguments = parse_experiment(TrainArguments, "train", argv)
    from experiments.runner import runs, train
    from experiments.runner.datasets import with_absolute_paths
    from experiments.runner.files import keep_compiled_programs
    from genjax_models import training

    config = with_absolute_paths(arguments.configuration)
    directory = arguments.run_dir or runs.default_directory(found.name, config)
    again = runs.command_line(found, config, directory)
    if arguments.compilation_cache:
        keep_compiled_programs()
    try:
        run = train.train(
            found, config, directory, restart=arguments.restart, stop_on=_stop_on(arguments)
        )
    except training.Interrupted as stop:
        raise KeyboardInterrupt(f"step {stop.step} is saved; resume with: {again}") from stop
    except training.CheckpointDamaged as error:
        raise ValueError(f"{error}, or begin anew with --restart") from error
    except ValueError as error:
        raise ValueError(in_options(str(error), config)) from error
    if run is None:
        print(f"{directory} is finished: see {directory / runs.REPORT}, or give another --run-dir")
        return 0
    _print_result(run.record.directory)
    return 0


def _stop_on(arguments: TrainArguments[Any]) -> tuple[int, ...]:
    from genjax_models.training.interrupts import STOPPING

    return (*STOPPING, signal.SIGUSR1) if arguments.stop_on_usr1 else STOPPING


def _print_result(directory: Path) -> None:
    from experiments.runner import runs

    result = runs.read_result(directory)
    print_metrics(result["metrics"], result["split"])
    if result["goal"]:
        word = {True: "reached", False: "not reached"}.get(result["reached"], "not measured")
        print(f"goal {result['goal']}: {word}")
    print(f"report: {directory / runs.REPORT}")
