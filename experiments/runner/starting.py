"""Start of a run: whether it begins, goes on, or is refused because of its directory."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.runner import loading, loggers, records, runs
from experiments.runner.config import Config, differences
from experiments.runner.experiment import Experiment
from experiments.runner.files import LOCK

if TYPE_CHECKING:
    from genjax_models.data import Dataset


def check_start(
    directory: Path, experiment: Experiment[Any], config: Config[Any], restart: bool = False
) -> bool:
    """Returns True if a run of that configuration lies there already, to be resumed.

    Args:
        directory: The run directory.
        experiment: The experiment.
        config: Its configuration.
        restart: Whether to begin anew where all checkpoints are damaged.

    Raises:
        ValueError: The folder holds another run (says in what they differ), something else, or a
            run whose checkpoints are all damaged, and `restart` is not given.
    """
    from genjax_models.training import checkpoint

    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file: --run-dir must be a folder")
    if not (directory / runs.CONFIG).exists():
        if directory.is_dir() and any(path.name != LOCK for path in directory.iterdir()):
            raise ValueError(f"{directory} is not empty and holds no run: give another --run-dir")
        return False
    steps = checkpoint.all_steps(directory / runs.CHECKPOINTS)
    if not steps and not runs.is_trained(directory):
        damaged = checkpoint.all_damaged(directory / runs.CHECKPOINTS)
        if damaged and not restart:
            raise ValueError(
                f"{directory} holds damaged checkpoints alone ({', '.join(damaged)}): put a whole"
                " copy there, give another --run-dir, or begin anew with --restart"
            )
        return False  # it was stopped, or refused, before there was anything to keep
    record = loading.read(directory)
    if record.experiment.name != experiment.name:
        raise ValueError(
            f"{directory} holds a run of {record.experiment.name}, not of {experiment.name}:"
            " give another --run-dir"
        )
    if changed := differences(record.config, config):
        raise ValueError(
            f"{directory} holds a run of another configuration ({runs.listed(changed)}): give the"
            " same settings to resume it, or another --run-dir, with --initial"
            f" {shlex.quote(str(directory))} to start from what it has learned"
        )
    return True


def start_of(record: runs.Record, restart: bool) -> int:
    """The step that a run goes on from: that of its newest whole checkpoint, 0 without one.

    Damaged checkpoints are moved aside.

    Raises:
        ValueError: The checkpoints are another run's, or all are damaged and `restart` is not
            given, or one is whole and it is.
    """
    from genjax_models.training import checkpoint

    directory = record.directory
    step = checkpoint.newest_whole(directory / runs.CHECKPOINTS)
    if step is None:
        check_start(directory, record.experiment, record.config, restart)
        return 0
    if restart:
        raise ValueError(
            f"--restart is for a run whose checkpoints are all damaged, and {directory} has a whole"
            f" one of step {step}: leave it out to go on, or give another --run-dir"
        )
    runs.check_belongs(record, checkpoint.read_extra(directory / runs.CHECKPOINTS, step), directory)
    return step


def check_data(directory: Path, *splits: Dataset | None) -> None:
    """Refuses data that are not those that a run was trained and measured on.

    Raises:
        ValueError: In what they differ, by split.
    """
    from genjax_models.training import resume

    known = json.loads((directory / runs.CONFIG).read_text("utf-8")).get("data", {})
    for data in splits:
        if data is not None and data.split in known:
            if changed := resume.data_differences(known[data.split], resume.fingerprint(data)):
                raise ValueError(
                    f"{directory} is a run of other data than {data.spec.name} has now, in its"
                    f" split {data.split} ({'; '.join(changed)}): put those back, or train"
                    " another run"
                )


def clear(directory: Path) -> None:
    """Takes away what a run without a checkpoint may have written there."""
    for name in (runs.METRICS, runs.RESULT, records.RECORD, loggers.IDS):
        (directory / name).unlink(missing_ok=True)
    for folder in (runs.TENSORBOARD, runs.BEST):
        shutil.rmtree(directory / folder, ignore_errors=True)
