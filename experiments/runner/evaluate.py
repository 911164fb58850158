"""Evaluating a run anew, or going on where an evaluation was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.runner import evaluation, runs, starting, train
from experiments.runner.datasets import load_split, load_splits
from experiments.runner.figures import Figures, Measured, measure_all

if TYPE_CHECKING:
    from genjax_models.data import Dataset

PARTS = "evaluation.json"
"""What an evaluation that is not finished has measured; it goes when that is finished."""


class Evaluated(NamedTuple):
    """Figures of a run.

    Attributes:
        metrics: The figures.
        data: The split that they are of.
        step: The step of the parameters.
    """

    metrics: Figures
    data: Dataset
    step: int


def evaluate(
    directory: Path,
    split: str | None = None,
    *,
    num_samples: int | None = None,
    seed: int = 0,
    inception: str | None = None,
    classifier_steps: int | None = None,
) -> Evaluated:
    """Measures a run; goes on with what an evaluation that was stopped has not measured.

    Args:
        directory: The run directory.
        split: The split; None is test, or the best that there is.
        num_samples: Samples an example of a bound; None takes the run's own number.
        seed: Decides the noise.
        inception: A file of Inception-v3; None takes the run's own.
        classifier_steps: Steps of a classifier; None takes the run's own number.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was measured is kept.
    """
    run = runs.load_run(directory)
    asked = {"inception": inception, "classifier_steps": classifier_steps}
    config, given = run.record.config, {k: v for k, v in asked.items() if v is not None}
    settings = dataclasses.replace(config.evaluation, none=False, **given)
    config = dataclasses.replace(config, evaluation=settings)
    run = dataclasses.replace(run, record=dataclasses.replace(run.record, config=config))
    splits = load_splits(config)
    starting.check_data(directory, *splits)
    data, step = splits.test if split is None else load_split(config, split), int(run.state.step)
    own = num_samples is None and seed == config.seed and data.split == splits.test.split
    if own and not given and runs.is_trained(directory) and not runs.is_finished(directory):
        with runs.locked(directory):
            train.go_on(run, config, data)
        return Evaluated(runs.read_result(directory)["metrics"], data, step)
    of = {"split": data.split, "step": step, "num_samples": num_samples, "seed": seed, **given}
    path = directory / PARTS

    def keep(found: Measured) -> None:
        with contextlib.suppress(OSError):  # a directory that is only read: nothing is kept
            runs.write_json(path, {"of": of, **found._asdict()})

    figures = evaluation.figures_of(run, data, num_samples=num_samples, seed=seed)
    del figures["terms"]
    try:
        metrics = measure_all(figures, _kept(path, of), keep).metrics
    except KeyboardInterrupt as stop:
        again = f"go on by the same command, of {shlex.quote(str(directory))}"
        raise KeyboardInterrupt(f"what was measured is kept; {again}") from stop
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return Evaluated(metrics, data, step)


def _kept(path: Path, of: dict[str, Any]) -> Measured:
    """What an evaluation of that kind has measured before; nothing where there was none."""
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["of"] == of:
            return Measured(values["metrics"], tuple(values["done"]), {})
    except (OSError, ValueError, KeyError):
        pass
    return Measured()
