"""`train`: an experiment to its figures; goes on where a run was stopped."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from experiments.commands.arguments import in_options, parse_experiment
from experiments.commands.terminal import print_metrics
from experiments.runner.config import Config, LoggerName, Seed
from experiments.runner.experiment import Experiment

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
    """The run directory, new or of a run to go on with; runs/NAME-DATASET-seedN by default."""
    seeds: tuple[Seed, ...] = ()
    """Train a run of each seed, one after another, in a folder of its own below --run-dir
    (runs/NAME-DATASET-seeds by default), whose result.json has means and 95 % intervals."""
    logger: tuple[LoggerName, ...] = ()
    """Loggers beside the run's metrics.jsonl and TensorBoard files."""
    compilation_cache: bool = True
    """Keep compiled steps for the next run."""
    restart: bool = False
    """Begin anew if all of the run's checkpoints are damaged."""
    stop_on_usr1: bool = False
    """Save and stop the run on SIGUSR1, which a scheduler may send before a job's time is over, as
    on Ctrl-C, SIGTERM and SIGHUP."""


def main(argv: Sequence[str]) -> int:
    """The command `train`."""
    found, arguments = parse_experiment(TrainArguments, "train", argv)
    from experiments.runner import runs, seeds
    from experiments.runner.datasets import with_absolute_paths
    from experiments.runner.files import keep_compiled_programs

    _check_seeds(arguments.seeds, argv)
    config = with_absolute_paths(arguments.configuration)
    if arguments.compilation_cache:
        keep_compiled_programs()
    if not arguments.seeds:
        directory = arguments.run_dir or runs.default_directory(found.name, config)
        again = runs.command_line(found, config, directory)
        if _train(found, config, directory, arguments, again):
            _print_result(directory)
            print(f"report: {directory / runs.REPORT}")
        else:
            print(f"{_finished(directory)}, or give another --run-dir")
        return 0
    directory = arguments.run_dir or seeds.default_directory(found.name, config)
    group = seeds.Group(found, config, arguments.seeds, directory)
    for member, own in group.members.items():
        if not _train(found, own, member, arguments, group.command):
            print(_finished(member), file=sys.stderr)
    runs.write_json(directory / runs.RESULT, seeds.summary(group))
    _print_result(directory)
    print(f"result: {directory / runs.RESULT}")
    return 0


def _check_seeds(given: Sequence[int], argv: Sequence[str]) -> None:
    if len(set(given)) < len(given):
        raise ValueError(f"--seeds has {' '.join(map(str, given))}: give each seed once")
    if given and any(word.partition("=")[0] == "--seed" for word in argv):
        raise ValueError("--seed and --seeds are given: leave one of them out")


def _finished(directory: Path) -> str:
    from experiments.runner import runs

    return f"{directory} is finished: see {directory / runs.REPORT}"


def _train(
    found: Experiment[Any],
    config: Config[Any],
    directory: Path,
    arguments: TrainArguments[Any],
    again: str,
) -> bool:
    """Trains a run; False if it was finished before."""
    from experiments.runner import train
    from genjax_models import training

    how: dict[str, Any] = {
        "logged": arguments.logger,
        "restart": arguments.restart,
        "stop_on": _stop_on(arguments),
    }
    try:
        return train.train(found, config, directory, **how) is not None
    except training.Interrupted as stop:
        raise KeyboardInterrupt(f"step {stop.step} is saved; resume with: {again}") from stop
    except training.CheckpointDamaged as error:
        raise ValueError(f"{error}, or begin anew with --restart") from error
    except ValueError as error:
        raise ValueError(in_options(str(error), config)) from error


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
