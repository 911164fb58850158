"""Questions and their order: a trial is a pure function of the session and its index."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np

ModeName = Literal["real_or_generated", "pairs"]

DATA = 0
"""The source of real examples; run r is source r + 1."""


class Session(NamedTuple):
    """One session: the questions that a person is asked.

    Attributes:
        mode: The mode's name.
        seed: Decides the order of the trials.
        num: Samples of each run.
        names: The runs' names, each a different one.
        dataset: The dataset of all of them.
    """

    mode: ModeName
    seed: int
    num: int
    names: tuple[str, ...]
    dataset: str


class Shown(NamedTuple):
    """One example on the page.

    Attributes:
        source: `DATA`, or r + 1 for run r.
        number: Index of the example in its source.
    """

    source: int
    number: int


Trial = tuple[Shown, ...]
"""One trial: the examples that are shown at once, from left to right."""


@dataclasses.dataclass(frozen=True)
class Mode:
    """One way of asking.

    Attributes:
        question: The question.
        choices: The two answers, in words; the answer is kept as 0 or 1.
        keys: A letter for each, beside 1 and 2 and the arrows.
        fewest_runs: Runs that it needs.
        total: Number of trials of a session.
        num_real: Real examples that a session shows.
        trial: The session's trial of that index, 0 .. total - 1.
    """

    question: str
    choices: tuple[str, str]
    keys: tuple[str, str]
    fewest_runs: int
    total: Callable[[Session], int]
    num_real: Callable[[Session], int]
    trial: Callable[[Session, int], Trial]


def real_or_generated(session: Session, index: int) -> Trial:
    """One example: of the data half of the time, of each run equally often, in random order.

    References:
        Zhou et al. 2019, HYPE: A Benchmark for Human eYe Perceptual Evaluation of Generative
        Models, arXiv:1904.01121, sec. 2.2 (HYPE-infinity: no limit of time).
    """
    num_fake = len(session.names) * session.num
    k = _at(session, 2 * num_fake, index)
    if k >= num_fake:
        return (Shown(DATA, k - num_fake),)
    number, run = divmod(k, len(session.names))
    return (Shown(run + 1, number),)


def pairs(session: Session, index: int) -> Trial:
    """The same-numbered samples of two runs: every pair of runs equally often, sides at random."""
    both = _pairs_of_runs(session)
    k = _at(session, len(both) * session.num, index)
    number, which = divmod(k, len(both))
    trial = tuple(Shown(run + 1, number) for run in both[which])
    swapped = np.random.default_rng((session.seed, index)).random() < 0.5
    return trial[::-1] if swapped else trial


def _at(session: Session, total: int, index: int) -> int:
    """The trial at that place of a random order, which is balanced wherever the person stops."""
    return int(np.random.default_rng(session.seed).permutation(total)[index])


def _pairs_of_runs(session: Session) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(len(session.names)), 2))


MODES: Mapping[ModeName, Mode] = {
    "real_or_generated": Mode(
        question="Is this real, or was it generated?",
        choices=("Real", "Generated"),
        keys=("R", "G"),
        fewest_runs=1,
        total=lambda session: 2 * len(session.names) * session.num,
        num_real=lambda session: len(session.names) * session.num,
        trial=real_or_generated,
    ),
    "pairs": Mode(
        question="Which of the two looks more real?",
        choices=("Left", "Right"),
        keys=("L", "R"),
        fewest_runs=2,
        total=lambda session: len(_pairs_of_runs(session)) * session.num,
        num_real=lambda session: 0,
        trial=pairs,
    ),
}
"""Modes by their names on the command line."""
