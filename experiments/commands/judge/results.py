"""Results: figures with intervals, and every judgement as a table."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.commands.judge.intervals import Rate, bradley_terry, mean_of, rate
from experiments.commands.judge.modes import DATA, MODES, ModeName, Session, Trial
from experiments.commands.judge.store import Answer
from experiments.commands.terminal import plain_cell


class Row(NamedTuple):
    """One figure.

    Attributes:
        name: Its name.
        value: The figure; None where there is none yet.
        low: Lower end of its 95 % interval.
        high: Upper end.
        note: The counts behind it, in words.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    note: str


class Table(NamedTuple):
    """Figures that are compared with each other.

    Attributes:
        title: Their title.
        note: How to read them.
        unit: Theirs.
        neutral: Their value if nothing can be told apart.
        rows: The figures.
    """

    title: str
    note: str
    unit: str
    neutral: float
    rows: list[Row]


def tables(session: Session, answers: Sequence[Answer]) -> list[Table]:
    """The figures of a session so far."""
    trials = [MODES[session.mode].trial(session, answer.trial) for answer in answers]
    choices = [answer.choice for answer in answers]
    return _KINDS[session.mode].find(session, trials, choices)


def _errors(session: Session, trials: Sequence[Trial], choices: Sequence[int]) -> list[Table]:
    """Share of wrong judgements of each source, and HYPE of each run."""
    count = np.zeros((len(session.names) + 1, 2), int)  # [source, whether wrong]
    for ((source, _),), choice in zip(trials, choices, strict=True):
        count[source, int(choice != (source != DATA))] += 1
    names = (f"real {session.dataset}", *session.names)
    wrong, num = count[:, 1], count.sum(1)
    rates = [rate(int(w), int(n)) if n else None for w, n in zip(wrong, num, strict=True)]
    said = ("taken for generated", *len(session.names) * ("taken for real",))
    parts = [
        _row(name, found, f"{w} of {n} {words}")
        for name, found, w, n, words in zip(names, rates, wrong, num, said, strict=True)
    ]
    of_data, *of_runs = rates
    hype = [
        _row(name, mean_of(fake, of_data) if fake and of_data else None, f"{n + num[DATA]} judged")
        for name, fake, n in zip(session.names, of_runs, num[1:], strict=True)
    ]
    note = "The share that is judged wrongly, real and generated alike: guessing gives 50 %"
    return [
        Table("HYPE", note, "%", 50.0, hype),
        Table("Errors", "How often each was judged wrongly", "%", 50.0, [*parts[1:], parts[0]]),
    ]


def _preferences(session: Session, trials: Sequence[Trial], choices: Sequence[int]) -> list[Table]:
    """Strengths of the runs, and how often each was preferred to each other one."""
    wins = np.zeros((len(session.names), len(session.names)), int)
    for trial, choice in zip(trials, choices, strict=True):
        wins[trial[choice].source - 1, trial[1 - choice].source - 1] += 1
    found = bradley_terry(wins)
    strengths = []
    for i, name in enumerate(session.names):
        note = f"preferred {wins[i].sum()} of {wins[i].sum() + wins[:, i].sum()} times"
        value = low = high = None
        if found is not None:
            value, (low, high) = float(found.values[i]), found.intervals[i].tolist()
        strengths.append(Row(name, value, low, high, note))
    shares = []
    for i, j in itertools.combinations(range(len(wins)), 2):
        num = wins[i, j] + wins[j, i]
        name = f"{session.names[i]} over {session.names[j]}"
        share = rate(int(wins[i, j]), int(num)) if num else None
        shares.append(_row(name, share, f"{wins[i, j]} of {num}"))
    note = "Bradley-Terry: a difference of two is the log odds that the first is preferred"
    if found is None:
        note += "; not known while one has lost to no other, or won against none"
    return [
        Table("Strengths", note, "", 0.0, strengths),
        Table("Preferences", "How often the first is preferred", "%", 50.0, shares),
    ]


def _row(name: str, found: Rate | None, note: str) -> Row:
    value, low, high = (None, None, None) if found is None else (100 * v for v in found)
    return Row(name, value, low, high, note)


def lines(found: Sequence[Table]) -> list[str]:
    """The figures in words, a line each."""
    written = []
    for table in found:
        written.append(f"{table.title}. {table.note}.")
        unit, digits = table.unit and f" {table.unit}", 1 if table.unit else 2
        for name, value, low, high, note in table.rows:
            figure = (
                "not known yet"
                if value is None
                else f"{value:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"
            )
            written.append(f"  {name}: {figure}, {note}")
    return written


def to_csv(session: Session, answers: Sequence[Answer]) -> str:
    """Every judgement as a row: what was shown, what was answered, and when.

    Columns: trial, time, then of real or generated: shown (a run, or `data`), number, answer, wrong
    (0 or 1); of pairs: left, right, number, preferred.
    """
    kind, trial = _KINDS[session.mode], MODES[session.mode].trial
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("trial", "time", *kind.columns))
    for answer in answers:
        cells = kind.cells(session, trial(session, answer.trial), answer.choice)
        writer.writerow((answer.trial, answer.time, *map(plain_cell, cells)))
    return buffer.getvalue()


def _error_cells(session: Session, trial: Trial, choice: int) -> tuple[Any, ...]:
    ((source, number),) = trial
    answer = MODES[session.mode].choices[choice].lower()
    return ("data", *session.names)[source], number, answer, int(choice != (source != DATA))


def _preference_cells(session: Session, trial: Trial, choice: int) -> tuple[Any, ...]:
    left, right = (session.names[shown.source - 1] for shown in trial)
    return left, right, trial[0].number, (left, right)[choice]


class _Kind(NamedTuple):
    """Figures of a mode's answers."""

    find: Callable[[Session, Sequence[Trial], Sequence[int]], list[Table]]
    columns: tuple[str, ...]
    cells: Callable[[Session, Trial, int], tuple[Any, ...]]


_KINDS: Mapping[ModeName, _Kind] = {
    "real_or_generated": _Kind(_errors, ("shown", "number", "answer", "wrong"), _error_cells),
    "pairs": _Kind(_preferences, ("left", "right", "number", "preferred"), _preference_cells),
}
