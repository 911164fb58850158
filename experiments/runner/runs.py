"""Runs, and what lies in the directory of one."""

from __future__ import annotations

import dataclasses
import functools
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.runner.config import Config, differences, fields, flag, from_json, switch, to_json
from experiments.runner.experiment import Experiment, Setup
from genjax_models.core.files import replaced

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


@dataclasses.dataclass(frozen=True)
class Record:
    """Contents of a run's `config.json`.

    Attributes:
        directory: The run directory.
        experiment: The experiment.
        config: The run's configuration.
        spec: Description of one example of its dataset.
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
        record: Experiment, configuration and dataset.
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


def command_line(experiment: Experiment[Any], config: Config[Any], directory: Path) -> str:
    """The command that starts, or resumes, that run."""
    name, default = experiment.name, experiment.config
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
    directory: Path,
    experiment: Experiment[Any],
    config: Config[Any],
    data: Dataset,
    *others: Dataset | None,
) -> Record:
    """Makes a run directory, or brings the one that is resumed up to date.

    Args:
        directory: The run directory.
        experiment: The experiment.
        config: Its configuration.
        data: Data for training.
        *others: Other splits that are looked at.
    """
    from genjax_models.training import resume

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
            "data": {d.split: resume.fingerprint(d) for d in (*others, data) if d is not None},
            "versions": versions(),
        },
    )
    return Record(directory, experiment, config, data.spec, example)


def is_finished(directory: Path) -> bool:
    """Returns True if the run was trained and evaluated to its end."""
    return is_trained(directory) and not read_result(directory).get("pending")


def is_trained(directory: Path) -> bool:
    """Returns True if the run was trained to its end, and its samples and report written."""
    return (directory / RESULT).is_file()


def read_result(directory: Path) -> dict[str, Any]:
    """Reads the result of a trained run, as far as it was measured.

    Raises:
        ValueError: The file cannot be read.
    """
    path = directory / RESULT
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): remove it, and evaluate again") from error


def listed(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Differences of configurations in words: `--seed 0 -> 3`."""
    return ", ".join(f"{flag(k)} {old} -> {new}" for k, (old, new) in changed.items())


def check_belongs(record: Record, extra: Mapping[str, Any], where: Path) -> None:
    """Refuses a checkpoint that was saved by another run than `config.json` tells of.

    Args:
        record: Contents of `config.json`.
        extra: Values saved with the checkpoint.
        where: Where it lies, for messages.

    Raises:
        ValueError: In what they differ.
    """
    words = []
    if extra.get("config"):
        saved = from_json(extra["config"], record.experiment.config, f"a checkpoint in {where}")
        words = [listed(differences(saved, record.config))]
    spec = record.spec
    own = {"shape": list(spec.shape), "levels": spec.num_levels, "labels": spec.num_classes}
    data = extra.get("run", {}).get("data", own)
    words += [f"{k} of the data {data[k]} -> {v}" for k, v in own.items() if data[k] != v]
    if changed := ", ".join(filter(None, words)):
        raise ValueError(
            f"the checkpoints in {where} are of another run than its {CONFIG} tells of ({changed}):"
            f" put back the {CONFIG}, or the checkpoints, that belong together"
        )


def load_state(
    record: Record, setup: Setup, checkpoints: Path, step: int | None = None
) -> TrainState:
    """The newest whole checkpoint of a run that lies in a folder, or that of a step."""
    import jax

    from experiments.runner.optimizers import make_optimizer
    from genjax_models import training

    optimizer = setup.optimizer or make_optimizer(record.config.optimizer, record.config.steps)
    blank = {name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in record.example.items()}
    start = functools.partial(training.init_state, setup.model, optimizer, seed=record.config.seed)
    template = jax.eval_shape(start, blank)  # nothing is computed: the checkpoint has it all

    def check(extra: Mapping[str, Any]) -> None:
        check_belongs(record, extra, checkpoints.parent)

    # What reads a run moves nothing in it.
    state, _ = training.checkpoint.load(
        checkpoints, template, step=step, move_damaged=False, check=check
    )
    return state


def save_model(run: Run, folder: Path) -> None:
    """Writes the run's model and averaged parameters, which `gm.load_model` reads.

    Raises:
        TypeError: The model holds something without a public name.
    """
    import genjax_models as gm

    record = run.record
    about = {"experiment": record.experiment.name, "dataset": record.config.dataset}
    metadata = {**about, "seed": record.config.seed, "step": int(run.state.step)}
    gm.save(folder, run.setup.model, run.params, run.state.state, metadata)


def write_json(path: Path, values: Any) -> None:
    """Writes JSON for people to read; the file is whole or as it was before."""
    with replaced(path) as fresh:
        fresh.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def versions() -> dict[str, str]:
    """The versions that a run's numbers may depend on."""
    import platform
    from importlib.metadata import version

    packages = {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    return {"python": platform.python_version(), **packages}
