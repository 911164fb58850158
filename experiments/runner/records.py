"""Records: what was run, what was measured, and what it is compared to, as JSON that is kept.

`train` writes a record beside `result.json`; `python -m experiments results add RUN` takes it into
`experiments/results`, and `experiments/RESULTS.md` is written from what lies there.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.runner import runs

if TYPE_CHECKING:
    from experiments.runner.experiment import Goal

RECORD = "record.json"
FOLDER = Path(__file__).parents[1] / "results"
"""Folder of the project's records."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number that was measured.

    Attributes:
        metric: Its name.
        value: The number.
        unit: Its unit.
        low: Lower end of its interval.
        high: Upper end of its interval.
        interval: Kind of the interval: "95 %", "range over seeds".
        kind: Kind of figure: "exact", "upper bound, 100 samples".
        num: Number of examples or samples that it is a figure of; None where that is not recorded.
        at_most: Highest value that reaches the goal.
        at_least: Lowest value that reaches the goal.
        reference: Figure to compare with, and its publication.
    """

    metric: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    interval: str = ""
    kind: str = ""
    num: int | None = None
    at_most: float | None = None
    at_least: float | None = None
    reference: str = ""

    @property
    def reached(self) -> bool | None:
        """True if the goal is reached; None if there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


@dataclasses.dataclass(frozen=True)
class Record:
    """A run, or runs of several seeds, and what was measured of them.

    Attributes:
        summary: Description of the run, in one line.
        family: The part of the results page that it stands in.
        command: The command that runs it again; "" where it was measured by hand.
        seeds: The seeds that were run.
        seconds: Duration; of several seeds, that of each.
        timed: The part that was timed: "whole command", "training".
        commit: The commit that was run; None where it is not known.
        versions: Name -> version of the packages that computed it; empty where not known.
        machine: The machine.
        figures: The measured figures.
        note: A note for the reader.
    """

    summary: str
    family: str
    command: str
    seeds: tuple[int, ...]
    seconds: float | None
    timed: str
    commit: str | None
    versions: Mapping[str, str]
    machine: str
    figures: tuple[Figure, ...]
    note: str = ""


def read(path: Path) -> Record:
    """The record in a file.

    Raises:
        ValueError: The file holds no record.
    """
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    try:
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"it holds a {type(values).__name__}")
        return converter.structure(values, Record)
    except cattrs.BaseValidationError as error:
        problems = "; ".join(cattrs.transform_error(error))
        raise ValueError(f"{path} holds no record of a run: {problems}") from error
    except ValueError as error:
        raise ValueError(f"{path} holds no record of a run: {error}") from error


def read_all(folder: Path | None = None) -> dict[str, Record]:
    """The records in a folder, the project's own by default, by name in the names' order."""
    folder = FOLDER if folder is None else folder
    return {path.stem: read(path) for path in sorted(folder.glob("*.json"))}


def write(path: Path, record: Record) -> None:
    """Writes a record as JSON, a field a line; the file is whole or as it was before."""
    runs.write_json(path, dataclasses.asdict(record))


def of_result(
    result: Mapping[str, Any], summary: str, family: str, goal: Goal | None, note: str = ""
) -> Record:
    """The record of a finished run.

    Args:
        result: Contents of its `result.json`.
        summary: Description of the run, in one line.
        family: The experiment's family.
        goal: The figure to reach, if that is of this run's dataset.
        note: A note for the reader.
    """
    figures = [
        Figure(
            name,
            metric["value"],
            metric["unit"],
            kind=metric["kind"],
            num=result["examples"],
            at_most=goal.at_most if goal and goal.metric == name else None,
            at_least=goal.at_least if goal and goal.metric == name else None,
        )
        for name, metric in result["metrics"].items()
    ]
    return Record(
        summary=summary,
        family=family,
        command=result["command"],
        seeds=(result["seed"],),
        seconds=result["seconds"],
        timed="training",
        commit=commit(),
        versions=result["versions"],
        machine=result["devices"],
        figures=tuple(figures),
        note=note,
    )


def join_seeds(records: Sequence[Record]) -> Record:
    """One record of runs that differ in their seed alone: means, and ranges over the seeds.

    Raises:
        ValueError: They are not runs of the same configuration, or share a seed.
    """
    first, *others = records
    if not others:
        return first
    seeds = tuple(seed for record in records for seed in record.seeds)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"the runs have the seeds {', '.join(map(str, seeds))}: give each once")
    for other in others:
        for field in ("summary", "commit", "versions"):
            ours, theirs = getattr(first, field), getattr(other, field)
            if ours != theirs:
                raise ValueError(
                    f"the runs differ in more than their seed: {field} is {ours} and {theirs}"
                )
        if _without_seed(other.command) != _without_seed(first.command):
            raise ValueError(
                "the runs differ in more than their seed: "
                f"the commands are {first.command!r} and {other.command!r}"
            )
    figures = [
        _over_seeds([_figure_of(record, figure.metric) for record in records])
        for figure in first.figures
    ]
    seconds = [record.seconds for record in records if record.seconds is not None]
    return dataclasses.replace(
        first,
        seeds=seeds,
        seconds=statistics.fmean(seconds) if seconds else None,
        timed=f"{first.timed}, each seed",
        figures=tuple(figures),
    )


def _without_seed(command: str) -> list[str]:
    """A command's words without its seed and its run directory, which hangs on that."""
    words, kept = iter(command.split()), []
    for word in words:
        if word in ("--seed", "--run-dir"):
            next(words, None)
        else:
            kept.append(word)
    return kept


def _figure_of(record: Record, metric: str) -> Figure:
    for figure in record.figures:
        if figure.metric == metric:
            return figure
    raise ValueError(f"{record.command!r} has measured no {metric}, and another seed has")


def _over_seeds(figures: Sequence[Figure]) -> Figure:
    values = [figure.value for figure in figures]
    return dataclasses.replace(
        figures[0],
        value=statistics.fmean(values),
        low=min(values),
        high=max(values),
        interval="range over seeds",
    )


def commit() -> str | None:
    """The commit of this checkout, marked where files were changed; None outside of git."""

    def git(*words: str) -> str:
        end = subprocess.run(
            ["git", *words], cwd=FOLDER.parent, capture_output=True, text=True, check=True
        )
        return end.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def duration(seconds: float) -> str:
    """A time as the page says it: `13 s`, `20 min`, `1.3 h`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
