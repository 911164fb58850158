"""`list`: the experiments, the figure that each must reach, and what is on record of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import recipes
from experiments.commands.arguments import PROGRAM, parse
from experiments.commands.terminal import in_columns
from experiments.runner import records
from experiments.runner.experiment import Experiment, FamilyName
from experiments.runner.records import Figure, Record

COMMAND = f"{PROGRAM} train"


@dataclasses.dataclass(frozen=True)
class ListArguments:
    """List the experiments, with the figure and the time of each that are on record."""

    family: FamilyName | None = None
    """The family whose experiments are listed; None lists all."""
    json: bool = False
    """Print JSON."""


def main(argv: Sequence[str]) -> int:
    """The command `list`."""
    arguments = parse(ListArguments, "list", argv, ListArguments())
    on_record = {
        name: record
        for record in records.read_all().values()
        if (name := experiment_of(record)) is not None
    }
    rows = [
        row(experiment, on_record.get(experiment.name))
        for experiment in recipes.experiments().values()
        if arguments.family in (None, experiment.family)
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    head = ("experiment", "family", "dataset", "steps", "must reach", "on record", "time")
    cells = [
        (
            r["experiment"],
            r["family"],
            r["dataset"],
            f"{r['steps']:,}",
            r["goal"] or "reports only",
            _in_words(r),
            "" if r["seconds"] is None else records.duration(r["seconds"]),
        )
        for r in rows
    ]
    print(in_columns([head, *cells]))
    return 0


def experiment_of(record: Record) -> str | None:
    """The experiment whose own configuration a record is of; None for what is no such run.

    A record of a command with other options than a seed, or a run to start from, is of another
    configuration.
    """
    if not record.command.startswith(f"{COMMAND} "):
        return None
    name, *options = record.command.removeprefix(COMMAND).split()
    own = all(word in ("--seed", "--initial", "--run-dir") for word in options[::2])
    return name if own else None


def row(experiment: Experiment[Any], record: Record | None) -> dict[str, Any]:
    """Row of an experiment in the list."""
    figure = None if record is None else main_figure(experiment, record)
    return {
        "experiment": experiment.name,
        "family": experiment.family,
        "dataset": experiment.config.dataset,
        "steps": experiment.config.steps,
        "goal": None if experiment.goal is None else str(experiment.goal),
        "metric": None if figure is None else figure.metric,
        "value": None if figure is None else figure.value,
        "unit": None if figure is None else figure.unit,
        "reached": None if figure is None else figure.reached,
        "seconds": None if record is None else record.seconds,
        "summary": experiment.summary,
    }


def main_figure(experiment: Experiment[Any], record: Record) -> Figure | None:
    """The record's figure that the goal is about; the first one where there is no goal."""
    goal = experiment.goal
    if goal is None:
        return next(iter(record.figures), None)
    named = (figure for figure in record.figures if figure.metric == goal.metric)
    aimed = (figure for figure in record.figures if figure.reached is not None)
    return next(named, None) or next(aimed, None)


def _in_words(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return ""
    missed = " (not reached)" if row["reached"] is False else ""
    return f"{row['metric']} {row['value']:.4g}{missed}"
