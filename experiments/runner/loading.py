"""A run from its directory and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

from experiments import recipes
from experiments.runner import runs
from experiments.runner.config import from_json
from experiments.runner.runs import BEST, CHECKPOINTS, CONFIG, Record, Run


def read(directory: str | os.PathLike[str]) -> Record:
    """Reads the record of a run from its directory.

    Raises:
        FileNotFoundError: There is no run there.
        ValueError: Its `config.json` cannot be read, or is of an experiment that is no more.
    """
    from genjax_models.core import DataSpec

    directory = Path(directory)
    path = directory / CONFIG
    if not path.is_file():
        problem = f"it has no {CONFIG}" if directory.is_dir() else "there is no such folder"
        raise FileNotFoundError(f"{directory} is no run directory: {problem}{_runs_nearby()}")
    try:
        values = json.loads(path.read_text("utf-8"))
        experiment = recipes.find(values["experiment"])
        config = from_json(values["config"], experiment.config, str(path))
        spec = {**values["spec"], "shape": tuple(values["spec"]["shape"])}
        spec["vocabulary"] = tuple(spec["vocabulary"])
        spec["class_names"] = tuple(spec.get("class_names", ()))
        example = {k: (tuple(shape), dtype) for k, (shape, dtype) in values["example"].items()}
        return Record(directory, experiment, config, DataSpec(**spec), example)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): train the run anew") from error


def _runs_nearby() -> str:
    found = [str(path.parent) for path in sorted(Path("runs").glob(f"*/{CONFIG}"))[:8]]
    return f"; runs here: {', '.join(found)}" if found else ""


def load_run(directory: str | os.PathLike[str], step: int | None = None) -> Run:
    """A run from its directory alone: no dataset is needed.

    Args:
        directory: The run directory.
        step: The step of the checkpoint; None for the best where the run watched for it, else the
            newest whole one.

    Returns:
        The run at that checkpoint.

    Raises:
        FileNotFoundError: There is no run there, or it has no checkpoint yet, or none of that step.
    """
    from genjax_models import training

    record = read(directory)
    checkpoints = record.directory / CHECKPOINTS
    best = record.directory / BEST
    if step is None and runs.is_trained(record.directory) and best.is_dir():
        checkpoints = best
    elif not checkpoints.is_dir() or training.checkpoint.latest_step(checkpoints) is None:
        resume = runs.command_line(record.experiment, record.config, record.directory)
        raise FileNotFoundError(f"{directory} has no checkpoint yet: train it first, by {resume}")
    setup = record.setup
    return Run(record, setup, runs.load_state(record, setup, checkpoints, step))
