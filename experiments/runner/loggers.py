"""Loggers of a run: its own files, Weights & Biases, MLflow, behind one interface."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from experiments.runner import runs
from experiments.runner.config import Config, LoggerName, fields, to_json
from genjax_models.training import hooks

if TYPE_CHECKING:
    from genjax_models.training import TrainState

IDS = "loggers.json"
"""File of a run directory: the number that the run has with each logger, so that a run that goes on
is the same one there."""
PROJECT = "genjax_models"
PICTURES = (runs.SAMPLES, runs.RECONSTRUCTIONS, runs.DENSITY)


class Logger(hooks.Report, Protocol):
    """A report of metrics that is also given the configuration, the pictures and the result."""

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Takes the metrics of a split at a step."""
        ...

    def start(self, config: Config[Any]) -> None:
        """Takes the configuration, before anything else."""
        ...

    def end(self, pictures: Mapping[str, Path], result: Mapping[str, Any]) -> None:
        """Takes the run's pictures by name, and what its `result.json` holds.

        Called again where a later evaluation has more figures.
        """
        ...

    def close(self, whole: bool) -> None:
        """Ends the logging; `whole` is False where the run was stopped or has failed."""
        ...


class JsonLines:
    """`metrics.jsonl`: the configuration, pictures and result lie beside it as files."""

    def __init__(self, directory: Path) -> None:
        """Takes up the run of a directory."""
        self._report = hooks.json_lines(directory / runs.METRICS)

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Appends a line."""
        self._report(state, metrics, split=split)

    def start(self, config: Config[Any]) -> None:
        """Writes nothing."""

    def end(self, pictures: Mapping[str, Path], result: Mapping[str, Any]) -> None:
        """Writes nothing."""

    def close(self, whole: bool) -> None:
        """Does nothing: each line is written as it comes."""


class TensorBoard:
    """Event files of TensorBoard: scalars, images, and the configuration and result as texts."""

    def __init__(self, directory: Path) -> None:
        """Takes up the run of a directory."""
        self._folder = str(directory / runs.TENSORBOARD)
        self._report, self._config = hooks.tensorboard(self._folder), "{}"

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Writes the metrics under the tags `split/metric`."""
        self._report(state, metrics, split=split)

    def start(self, config: Config[Any]) -> None:
        """Keeps the configuration until the end."""
        self._config = json.dumps(to_json(config), indent=2)

    def end(self, pictures: Mapping[str, Path], result: Mapping[str, Any]) -> None:
        """Writes images under their names, figures under `result/metric`."""
        import numpy as np
        from PIL import Image
        from tensorboardX import SummaryWriter

        step = result["steps"]
        with SummaryWriter(self._folder) as writer:
            writer.add_text("config", _preformatted(self._config), step)
            writer.add_text("result", _preformatted(json.dumps(result, indent=2)), step)
            for name, path in pictures.items():
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert("RGB"))
                writer.add_image(name, pixels, step, dataformats="HWC")
            for name, metric in result["metrics"].items():
                writer.add_scalar(f"result/{name}", metric["value"], step)

    def close(self, whole: bool) -> None:
        """Does nothing: the files are flushed at each report."""


class WandB:
    """Weights & Biases, as its own settings say: `WANDB_MODE=offline`, `WANDB_PROJECT`."""

    def __init__(self, directory: Path) -> None:
        """Takes up the run of a directory."""
        self._directory = directory
        self._run: Any = None

    def start(self, config: Config[Any]) -> None:
        """Begins the run, or goes on with it."""
        import wandb  # pyright: ignore[reportMissingImports]

        number = _ids(self._directory).get("wandb") or secrets.token_hex(4)
        _keep_id(self._directory, "wandb", number)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self._directory.name,
            dir=self._directory,
            id=number,
            resume="allow",
            config=to_json(config),
        )

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Logs the metrics as `split/metric`."""
        values = {f"{split}/{name}": float(value) for name, value in metrics.items()}
        self._run.log(values, step=int(state.step))

    def end(self, pictures: Mapping[str, Path], result: Mapping[str, Any]) -> None:
        """Logs images under their names, figures in the summary as `result/metric`."""
        import wandb  # pyright: ignore[reportMissingImports]

        images = {name: wandb.Image(str(path)) for name, path in pictures.items()}
        self._run.log(images, step=result["steps"])
        found = {f"result/{name}": m["value"] for name, m in result["metrics"].items()}
        self._run.summary.update(found)

    def close(self, whole: bool) -> None:
        """Ends the run there, as one that failed if it did."""
        if self._run is not None:
            self._run.finish(exit_code=0 if whole else 1)


class MLflow:
    """MLflow, as its own settings say: `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`."""

    def __init__(self, directory: Path) -> None:
        """Takes up the run of a directory."""
        self._directory = directory
        self._client: Any = None
        self._run = ""

    def start(self, config: Config[Any]) -> None:
        """Begins the run, or goes on with it."""
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        self._client = client = MlflowClient()
        known = _ids(self._directory).get("mlflow")
        if known is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            there = client.get_experiment_by_name(name)
            where = client.create_experiment(name) if there is None else there.experiment_id
            known = client.create_run(where, run_name=self._directory.name).info.run_id
            params = [Param(name, str(value)) for name, _, value in fields(config)]
            for i in range(0, len(params), 100):  # at most so many at a time
                client.log_batch(known, params=params[i : i + 100])
            _keep_id(self._directory, "mlflow", known)
        else:
            client.update_run(known, status="RUNNING")
        self._run = known

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Logs the metrics as `split/metric`."""
        self._log({f"{split}/{name}": value for name, value in metrics.items()}, int(state.step))

    def end(self, pictures: Mapping[str, Path], result: Mapping[str, Any]) -> None:
        """Keeps images and the result as files, figures as `result/metric`."""
        for path in pictures.values():
            self._client.log_artifact(self._run, str(path))
        self._client.log_dict(self._run, dict(result), runs.RESULT)
        found = {f"result/{name}": m["value"] for name, m in result["metrics"].items()}
        self._log(found, result["steps"])

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, whole: bool) -> None:
        """Ends the run there, as one that failed if it did."""
        if self._run:
            self._client.set_terminated(self._run, "FINISHED" if whole else "FAILED")


OF_OTHERS: Mapping[LoggerName, Callable[[Path], Logger]] = {"wandb": WandB, "mlflow": MLflow}
"""Name -> logger, for those that are asked for; each needs the extra of its name."""


def check_installed(names: Sequence[LoggerName]) -> None:
    """Raises unless the packages of these loggers are installed.

    Raises:
        ImportError: One is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ImportError(
                f"--logger {name} needs {name}, which is not installed: pip install -e '.[{name}]'"
            )


@contextlib.contextmanager
def opened(
    directory: Path, config: Config[Any], names: Sequence[LoggerName] = ()
) -> Iterator[tuple[Logger, ...]]:
    """The loggers of a run, of process 0 alone: its own files, and those that are named.

    If the block ends without an error, they are given pictures and result.
    """
    import jax

    kinds = (JsonLines, TensorBoard, *(OF_OTHERS[name] for name in names))
    loggers = tuple(kind(directory) for kind in kinds) if jax.process_index() == 0 else ()
    whole = False
    try:
        for logger in loggers:
            logger.start(config)
        yield loggers
        there = {Path(name).stem: directory / name for name in PICTURES}
        pictures = {name: path for name, path in there.items() if path.is_file()}
        for logger in loggers:
            logger.end(pictures, runs.read_result(directory))
        whole = True
    finally:
        for logger in loggers:
            logger.close(whole)


def _ids(directory: Path) -> dict[str, str]:
    path = directory / IDS
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _keep_id(directory: Path, name: str, number: str) -> None:
    runs.write_json(directory / IDS, {**_ids(directory), name: number})


def _preformatted(text: str) -> str:
    """A text as the Markdown that TensorBoard shows line by line."""
    return "\n".join(f"    {line}" for line in text.splitlines())
