"""Music in four voices whose law is known: chord progressions with voice leading, by rules.

A step is a triad of C major: the bass sings its root, the three voices above all of its notes in
close position. From step to step the triads are a Markov chain, and a triad's voicing is drawn by
how little the voices move to it, those left out that move two voices in parallel fifths or octaves.
So the voicings are a Markov chain themselves, which begins in its stationary law: the probability
of any window is known, and so is the entropy rate, what no model can beat in nats a step.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np

from genjax_models.data.chorales import VOICES, Chorales
from genjax_models.data.dataset import Dataset

TRIADS = ((0, 4, 7), (2, 5, 9), (4, 7, 11), (5, 9, 0), (7, 11, 2), (9, 0, 4), (11, 2, 5))
"""Pitch classes of the triads on the seven degrees, the root first."""

CHAIN = (
    (0.15, 0.12, 0.05, 0.25, 0.25, 0.15, 0.03),  # I
    (0.00, 0.10, 0.00, 0.00, 0.65, 0.05, 0.20),  # ii
    (0.05, 0.00, 0.05, 0.35, 0.00, 0.55, 0.00),  # iii
    (0.25, 0.20, 0.00, 0.10, 0.40, 0.00, 0.05),  # IV
    (0.60, 0.00, 0.00, 0.05, 0.15, 0.20, 0.00),  # V
    (0.00, 0.35, 0.10, 0.35, 0.10, 0.10, 0.00),  # vi
    (0.75, 0.00, 0.10, 0.00, 0.10, 0.00, 0.05),  # vii
)
"""Probability of each next degree, by degree."""

SOPRANO, TENOR, BASS = (60, 79), (50, 67), (40, 60)
"""Lowest and highest notes of the voices; the alto lies between its neighbours."""
NUM_STEPS = 64
"""Steps of a piece of the data set."""


@dataclasses.dataclass(frozen=True)
class Progressions:
    """A stationary source of chords in four voices.

    P(v' | v) is proportional to CHAIN[degree(v), degree(v')] w(v, v') / sum_u w(v, u) over the
    voicings u of the same degree as v', with w = exp(-movement / temperature), or 0 where voices
    would move in parallel fifths or octaves.

    Attributes:
        temperature: Semitones of movement, of all voices together, that make a voicing e times
            less likely.

    References:
        T. M. Cover and J. A. Thomas. Elements of Information Theory, 2nd ed., 2006: theorem 4.2.4
        (entropy rate of a stationary Markov chain).
    """

    temperature: float = 3.0

    def __post_init__(self) -> None:
        """Refuses a temperature that is none."""
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}: it must be positive")

    @functools.cached_property
    def voicings(self) -> np.ndarray:
        """All chords of the source: soprano, alto, tenor, bass, uint8 `[S, 4]`."""
        return self._table[0]

    @functools.cached_property
    def transition(self) -> np.ndarray:
        """P(v' | v) `[S, S]`."""
        chords, degree = self._table
        v = chords.astype(int)
        move = v[None] - v[:, None]  # [from, to, 4]
        weight = np.exp(-np.abs(move).sum(-1) / self.temperature) * ~_parallels(v)
        p = np.zeros(weight.shape)
        for d in range(len(TRIADS)):
            inside = degree == d
            total = weight[:, inside].sum(1, keepdims=True)
            share = weight[:, inside] / np.where(total > 0, total, 1.0)
            p[:, inside] = np.array(CHAIN)[degree, d][:, None] * share
        return p / p.sum(1, keepdims=True)  # a degree without a voicing is passed over

    @functools.cached_property
    def stationary(self) -> np.ndarray:
        """Probability `[S]` of each chord at a step picked at random."""
        num = len(self.transition)
        # pi (P - 1) = 0 and sum(pi) = 1, in the least-squares sense.
        system = np.concatenate([self.transition.T - np.eye(num), np.ones((1, num))])
        solved = np.linalg.lstsq(system, np.append(np.zeros(num), 1.0), rcond=None)[0]
        return np.maximum(solved, 0.0)

    @functools.cached_property
    def entropy_rate(self) -> float:
        """Nats a step: sum_v pi(v) H(next chord | v)."""
        p = self.transition
        logs = np.log(np.where(p > 0, p, 1.0))
        return float(-np.sum(self.stationary[:, None] * p * logs))

    def sample(self, num: int, length: int, seed: int = 0) -> np.ndarray:
        """Pieces that begin anywhere: a pure function of the arguments.

        Args:
            num: Number of pieces.
            length: Steps of each.
            seed: Decides them.

        Returns:
            uint8 `[num, length, 4]`.
        """
        uniform = np.random.default_rng(seed).random((num, length))
        first, rows = np.cumsum(self.stationary), np.cumsum(self.transition, axis=1)
        state = np.empty((num, length), np.int64)
        last = len(first) - 1
        state[:, 0] = np.minimum(np.searchsorted(first, uniform[:, 0] * first[-1]), last)
        for t in range(1, length):
            at = rows[state[:, t - 1]]
            state[:, t] = (uniform[:, t, None] * at[:, -1:] >= at).sum(1).clip(0, last)
        return self.voicings[state]

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log p `[B]` in nats of windows `[B, T, 4]` that begin anywhere; -inf for what cannot be.

        Args:
            x: Notes, soprano first.
        """
        state = self._states(x)
        with np.errstate(divide="ignore"):
            first, step = np.log(self.stationary), np.log(self.transition)
        log_p = first[state[:, 0]] + step[state[:, :-1], state[:, 1:]].sum(1)
        return np.where((state >= 0).all(1), log_p, -np.inf)

    def follows(self, x: np.ndarray) -> np.ndarray:
        """Which chords obey the rules, bool `[B, T - 1]`: one of the source's, led to from before.

        Args:
            x: Notes `[B, T, 4]`, soprano first.
        """
        state = self._states(x)
        before, after = state[:, :-1], state[:, 1:]
        return (before >= 0) & (after >= 0) & (self.transition[before, after] > 0)

    def _states(self, x: np.ndarray) -> np.ndarray:
        """The number of each chord `[B, T]`, -1 for one that is none of the source's."""
        place = 128 ** np.arange(len(VOICES))
        known = self.voicings @ place.astype(np.int64)
        order = np.argsort(known)
        codes = np.asarray(x, np.int64) @ place
        at = order[np.searchsorted(known[order], codes).clip(0, len(known) - 1)]
        return np.where((self.voicings[at] == x).all(-1), at, -1)

    @functools.cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """The voicings `[S, 4]` and their degrees `[S]`."""
        chords = [
            (notes, degree) for degree, triad in enumerate(TRIADS) for notes in _voicings(triad)
        ]
        voicings, degrees = (np.array(part) for part in zip(*chords, strict=True))
        return voicings.astype(np.uint8), degrees

    def chorales(self, sizes: tuple[int, int, int] = (2_000, 200, 200)) -> Chorales:
        """Pieces of 64 steps as a data set.

        Args:
            sizes: Pieces of the training, validation and test splits.
        """
        names = ("train", "validation", "test")

        def read(split: str) -> list[np.ndarray]:
            seed = names.index(split)
            return list(self.sample(sizes[seed], NUM_STEPS, seed))

        return Chorales("progressions", names, read)


def _voicings(triad: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """Soprano, alto, tenor, bass of every voicing of a triad within the ranges."""
    basses = [note for note in range(BASS[0], BASS[1] + 1) if note % 12 == triad[0]]
    found = []
    for soprano in range(SOPRANO[0], SOPRANO[1] + 1):
        if soprano % 12 not in triad:
            continue
        below = [note for note in range(soprano - 11, soprano) if note % 12 in triad]
        tenor, alto = below  # the two other notes of the triad, within the octave
        if TENOR[0] <= tenor <= TENOR[1]:
            found += [(soprano, alto, tenor, bass) for bass in basses if bass < tenor]
    return found


def _parallels(v: np.ndarray) -> np.ndarray:
    """Which moves `[from, to]` take two voices in parallel fifths or octaves, v `[S, 4]`."""
    bad = np.zeros((len(v), len(v)), bool)
    for i, j in itertools.combinations(range(len(VOICES)), 2):
        interval = (v[:, i] - v[:, j]) % 12
        same = (interval[:, None] == interval[None]) & np.isin(interval, (0, 7))[:, None]
        up_i, up_j = v[None, :, i] - v[:, None, i], v[None, :, j] - v[:, None, j]
        bad |= same & (np.sign(up_i) == np.sign(up_j)) & (up_i != 0)
    return bad


@functools.cache
def usual() -> Progressions:
    """The source of `load("progressions")`."""
    return Progressions()


def dataset(split: str = "train") -> Dataset:
    """The usual source's pieces, as `load("progressions", split)` gives them."""
    return usual().chorales().dataset(split)
