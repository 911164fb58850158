"""Runs that differ in their seed alone: where they lie, and what they give together."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.runner import runs
from experiments.runner.config import Config
from experiments.runner.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs of several seeds in one folder.

    Attributes:
        experiment: The experiment.
        config: Its configuration, of whatever seed.
        seeds: The seeds.
        directory: The folder.
    """

    experiment: Experiment[Any]
    config: Config[Any]
    seeds: Sequence[int]
    directory: Path

    @property
    def members(self) -> dict[Path, Config[Any]]:
        """The run directory of each seed, and its configuration."""
        configs = [dataclasses.replace(self.config, seed=seed) for seed in self.seeds]
        where = [runs.default_directory(self.experiment.name, config).name for config in configs]
        return {self.directory / name: c for name, c in zip(where, configs, strict=True)}

    @property
    def command(self) -> str:
        """The command that starts, or goes on with, these runs."""
        config = dataclasses.replace(self.config, seed=self.experiment.config.seed)
        name, where = self.experiment.name, self.directory
        if where == default_directory(name, config):
            where = runs.default_directory(name, config)  # which no option has to name
        line = runs.command_line(self.experiment, config, where)
        return f"{line} --seeds {' '.join(map(str, self.seeds))}"


def default_directory(name: str, config: Config[Any]) -> Path:
    """`runs/NAME-DATASET-seeds`."""
    one = runs.default_directory(name, config)
    return one.with_name(one.name.removesuffix(str(config.seed)) + "s")


def summary(group: Group) -> dict[str, Any]:
    """Joins the results of finished runs: mean and interval of each figure."""
    results = [runs.read_result(directory) for directory in group.members]
    first = results[0]
    shared = [name for name in first["metrics"] if all(name in r["metrics"] for r in results)]
    metrics = {
        name: first["metrics"][name] | interval([r["metrics"][name]["value"] for r in results])
        for name in shared
    }
    goal = group.experiment.goal_of(group.config)
    values = {name: metric["value"] for name, metric in metrics.items()}
    return {
        **{k: first[k] for k in ("experiment", "dataset", "split", "examples", "steps")},
        "seeds": list(group.seeds),
        "metrics": metrics,
        "goal": None if goal is None else str(goal),
        "reached": None if goal is None else goal.reached(values),
        "seconds": round(sum(result["seconds"] for result in results), 2),
        "runs": [directory.name for directory in group.members],
        "command": group.command,
        **{k: first[k] for k in ("devices", "versions")},
    }


def interval(values: Sequence[float]) -> Mapping[str, Any]:
    """The mean of figures of independent runs, and its 95 % interval by Student's t.

    Returns:
        `value`, `low`, `high` (None for one run alone), `interval`, what they are, and `values`.
    """
    from scipy import stats

    mean, num = statistics.fmean(values), len(values)
    half = None
    if num > 1:
        half = float(stats.t.ppf(0.975, num - 1)) * statistics.stdev(values) / num**0.5
    return {
        "value": mean,
        "low": None if half is None else mean - half,
        "high": None if half is None else mean + half,
        "interval": f"95 %, Student's t over {num} seeds" if num > 1 else "one seed",
        "values": list(values),
    }
