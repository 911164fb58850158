"""`bench`: how fast an experiment trains, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import tyro

from experiments.commands.arguments import parse_experiment
from experiments.runner.config import Config, PositiveInt

M = TypeVar("M")


@dataclasses.dataclass(frozen=True)
class BenchArguments(Generic[M]):
    """Time an experiment's training loop, and print JSON."""

    configuration: Annotated[Config[M], tyro.conf.arg(name="")]
    """The configuration to time; `log_every` is the number of steps of one turn."""
    config: Path | None = None
    """A file to take the configuration from: a run's config.json, or YAML of some of its fields;
    options on the line win."""
    repeats: PositiveInt = 10
    """Turns of the loop and the bare step, of which the median counts."""


def main(argv: Sequence[str]) -> int:
    """The command `bench`."""
    found, arguments = parse_experiment(BenchArguments, "bench", argv)
    from experiments.benchmarks.training import bench
    from experiments.runner.datasets import with_absolute_paths

    times = bench(found, with_absolute_paths(arguments.configuration), arguments.repeats)
    print(json.dumps(times, indent=2))
    return 0
