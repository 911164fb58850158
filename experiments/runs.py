"""Run directories: what lies in one, and how a run is loaded with nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import registry
from experiments.config import Config, differences, fields, flag, from_json, switch, to_json
from experiments.registry import Experiment, Setup

if TYPE_CHECKING:
    from genjax_models.core import DataSpec, Params
    from genjax_models.data import Dataset
    from genjax_models.training import TrainState

CONFIG = "config.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
SAMPLES = "samples.png"
TEXTS = "samples.txt"
DENSITY = "density.png"
RECONSTRUCTIONS = "reconstructions.png"
CURVES = "curves.png"
REPORT = "report.html"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
BEST = "best"
LOCK = "lock"


@dataclasses.dataclass(frozen=True)
class Record:
    """What `config.json` says of a run.

    Attributes:
        directory: The run directory.
        experiment: The experiment.
        config: The run's configuration.
        spec: What one example of its data set is.
        example: Name -> shape and type of each array of one example.
    """

    directory: Path
    experiment: Experiment[Any]
    config: Config[Any]
    spec: DataSpec
    example: Mapping[str, tuple[tuple[int, ...], str]]

    @property
    def setup(self) -> Setup:
        """The model, its losses and its optimizer."""
        return self.experiment.build(self.config, self.spec)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run with its model and what it has learned.

    Attributes:
        record: Experiment, configuration and data set.
        setup: The model, its losses and its optimizer.
        state: Everything that training carries.
    """

    record: Record
    setup: Setup
    state: TrainState

    @property
    def params(self) -> Params:
        """The averaged parameters, which are what is evaluated and sampled from."""
        return self.state.ema


def default_directory(name: str, config: Config[Any]) -> Path:
    """`runs/NAME-DATASET-seedN`."""
    dataset = Path(config.dataset).stem or "data"
    return Path("runs") / f"{name}-{dataset}-seed{config.seed}"


def command_line(name: str, config: Config[Any], directory: Path) -> str:
    """The command that starts, or resumes, that run."""
    default = registry.find(name).config
    values = {key: value for key, _, value in fields(config)}
    standard = {key: value for key, _, value in fields(default)}
    words = ["python", "-m", "experiments", "train", name]
    for key, value in sorted(values.items(), key=lambda item: "." in item[0]):
        if value == standard[key]:
            continue
        if isinstance(value, bool):
            words.append(switch(key, value))
        else:
            several = value if isinstance(value, tuple) else (value,)
            words += [flag(key), *map(str, several)]
    if directory != default_directory(name, config):
        words += ["--run-dir", str(directory)]
    return shlex.join(words)


def create(
    directory: Path, experiment: Experiment[Any], config: Config[Any], data: Dataset
) -> Record:
    """Makes a run directory, or brings the one that is resumed up to date."""
    row = data.rows(np.zeros(1, np.int64))
    example = {name: (array.shape[1:], str(array.dtype)) for name, array in row.items()}
    directory.mkdir(parents=True, exist_ok=True)
    write_json(
        directory / CONFIG,
        {
            "experiment": experiment.name,
            "config": to_json(config),
            "spec": dataclasses.asdict(data.spec),
            "example": example,
            "versions": versions(),
        },
    )
    return Record(directory, experiment, config, data.spec, example)


def read(directory: str | os.PathLike[str]) -> Record:
    """What a run directory says of its run.

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
        experiment = registry.find(values["experiment"])
        config = from_json(values["config"], experiment.config, str(path))
        spec = {**values["spec"], "shape": tuple(values["spec"]["shape"])}
        spec["vocabulary"] = tuple(spec["vocabulary"])
        example = {k: (tuple(shape), dtype) for k, (shape, dtype) in values["example"].items()}
        return Record(directory, experiment, config, DataSpec(**spec), example)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): train the run anew") from error


def _runs_nearby() -> str:
    found = [str(path.parent) for path in sorted(Path("runs").glob(f"*/{CONFIG}"))[:8]]
    return f"; runs here: {', '.join(found)}" if found else ""


def is_finished(directory: Path) -> bool:
    """Whether the run was trained and evaluated to its end."""
    return (directory / RESULT).is_file()


def check_start(directory: Path, experiment: Experiment[Any], config: Config[Any]) -> bool:
    """Whether a run of that configuration lies there already, to be resumed.

    Raises:
        ValueError: The folder holds another run (says in what they differ), or something else.
    """
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file: --run-dir must be a folder")
    if not (directory / CONFIG).exists():
        if directory.is_dir() and any(path.name != LOCK for path in directory.iterdir()):
            raise ValueError(f"{directory} is not empty and holds no run: give another --run-dir")
        return False
    if not any((directory / CHECKPOINTS).glob("[0-9]*")) and not is_finished(directory):
        return False  # it was stopped, or refused, before there was anything to keep
    record = read(directory)
    if record.experiment.name != experiment.name:
        raise ValueError(
            f"{directory} holds a run of {record.experiment.name}, not of {experiment.name}:"
            " give another --run-dir"
        )
    if changed := differences(record.config, config):
        listed = ", ".join(f"{flag(k)} {old} -> {new}" for k, (old, new) in changed.items())
        raise ValueError(
            f"{directory} holds a run of another configuration ({listed}): give another --run-dir,"
            " or the same settings to resume it"
        )
    return True


def clear(directory: Path) -> None:
    """Takes away what a run without a checkpoint may have written there."""
    (directory / METRICS).unlink(missing_ok=True)
    for folder in (TENSORBOARD, BEST):
        shutil.rmtree(directory / folder, ignore_errors=True)


def load_run(directory: str | os.PathLike[str]) -> Run:
    """A run from its directory alone: no data set is needed.

    Args:
        directory: The run directory.

    Returns:
        The run at its newest whole checkpoint.

    Raises:
        FileNotFoundError: There is no run there, or it has no checkpoint yet.
    """
    from genjax_models import training

    record = read(directory)
    checkpoints = record.directory / CHECKPOINTS
    best = record.directory / BEST
    if is_finished(record.directory) and best.is_dir():
        checkpoints = best
    elif not checkpoints.is_dir() or training.checkpoint.latest_step(checkpoints) is None:
        resume = command_line(record.experiment.name, record.config, record.directory)
        raise FileNotFoundError(f"{directory} has no checkpoint yet: train it first, by {resume}")
    setup = record.setup
    return Run(record, setup, load_state(record, setup, checkpoints))


def load_state(record: Record, setup: Setup, checkpoints: Path) -> TrainState:
    """The newest whole checkpoint of a run that lies in a folder."""
    import jax

    from experiments.optimizers import make_optimizer
    from genjax_models import training

    optimizer = setup.optimizer or make_optimizer(record.config.optimizer, record.config.steps)
    blank = {name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in record.example.items()}
    start = functools.partial(training.init_state, setup.model, optimizer, seed=record.config.seed)
    template = jax.eval_shape(start, blank)  # nothing is computed: the checkpoint has it all
    state, _ = training.checkpoint.load(checkpoints, template)
    return state


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps a run directory for this process: two that train there would spoil each other's files.

    The system gives the lock back when a process ends, however it ends.

    Raises:
        ValueError: Another process trains there.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"{directory} is being trained by process {file.read().strip() or 'unknown'}: wait"
                " for it, stop it, or give another --run-dir"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Writes JSON for people to read; the file is whole or as it was before."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(temporary, path)


def versions() -> dict[str, str]:
    """The versions that a run's numbers may depend on."""
    import platform
    from importlib.metadata import version

    packages = {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    return {"python": platform.python_version(), **packages}
