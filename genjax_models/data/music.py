"""Music in four voices: piano rolls from JSON files, rolls of a known distribution, and MIDI files.

A piano roll holds one MIDI note number a voice and step.

The JSON layout is that of the JSB chorales as they are commonly distributed: `{"train": [piece,
...], "valid": [...], "test": [...]}`, a piece a list of steps (quarters or sixteenths), a step a
list of MIDI note numbers. Where each step of a file has four entries, they are soprano, alto, tenor
and bass in that order (or the other way round), and a rest is null, NaN, -1 or 0. Where steps have
fewer notes, they are sets: from the highest down they belong to the voices, and a note that two
voices sing together stands once.

`Progressions` is a source of chords of known entropy rate. Writing MIDI needs `mido`, an
optional extra: `genjax_models[music]`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data.arrays import positive_int
from genjax_models.data.dataset import Dataset, parse_split, split_bounds

VOICES = ("soprano", "alto", "tenor", "bass")
REST = 0
"""Value of a silent voice; every other value is a MIDI note number."""
LEVELS = 128
WINDOW = 32
"""Steps of one example, unless another number is asked for."""

_SPLITS = {"train": ("train",), "validation": ("valid", "validation"), "test": ("test",)}
_HEAD = re.compile(r'\s*\{\s*"(train|valid|validation|test)"\s*:\s*\[')
_HEAD_SIZE = 200  # characters of a file that tell whether it is one of these


def is_roll(spec: DataSpec) -> bool:
    """Returns True if examples are piano rolls of four voices, `[T, 4]`."""
    return len(spec.shape) == 2 and spec.shape[1] == len(VOICES) and spec.num_levels == LEVELS


@dataclasses.dataclass(frozen=True)
class Chorales:
    """The splits of a set of pieces, before they are cut into windows.

    Attributes:
        name: The data set's name.
        splits: Names of the splits.
        read: Split -> pieces, uint8 `[L, 4]` each.
    """

    name: str
    splits: tuple[str, ...]
    read: Callable[[str], Sequence[np.ndarray]]

    def dataset(self, split: str, window: int | None = None) -> Dataset:
        """A split as examples of some steps each.

        Of `train`, a window begins at every step of a piece; those of the other splits do not
        overlap, so that a note counts once. A slice of a split counts pieces.

        Args:
            split: The split, or a slice of one.
            window: Steps of one example; 32 by default, fewer where all pieces are shorter.

        Returns:
            A data set with `x` uint8 `[N, window, 4]`: soprano, alto, tenor, bass.

        Raises:
            ValueError: There is no such split, or no piece in it is as long as the window.
        """
        base, start, stop = parse_split(split, self.splits, self.name)
        pieces = self.read(base)
        pieces = pieces[split_bounds(start, stop, len(pieces))]
        if window is None:
            window = min(WINDOW, max(map(len, self.read(self.splits[0]))))
        positive_int(window, "window")
        hop = 1 if base == "train" else window
        parts = [
            piece[i : i + window]
            for piece in pieces
            for i in range(0, len(piece) - window + 1, hop)
        ]
        if not parts:
            longest = max(map(len, pieces), default=0)
            raise ValueError(
                f"{self.name}[{split}] has {len(pieces)} pieces, the longest of {longest} steps,"
                f" and the window is {window}: give a smaller window, or longer pieces"
            )
        spec = DataSpec((window, len(VOICES)), LEVELS, name=self.name)
        return Dataset(spec, split, {"x": np.stack(parts)})


def transposed(data: Dataset, semitones: Sequence[int]) -> Dataset:
    """Every example in several keys: more to learn from than there was.

    Args:
        data: Piano rolls, in memory.
        semitones: By how many each example is raised; 0 is the example itself. Rests stay rests.

    Returns:
        The data set, as many times larger; examples with notes outside 1 .. 127 are dropped.

    Raises:
        ValueError: The data are no piano rolls in memory, or nothing is left.
    """
    if data.arrays is None or not is_roll(data.spec):
        raise ValueError(f"{data.spec.name} cannot be transposed: give piano rolls [N, T, 4]")
    x = data.arrays["x"].astype(np.int16)
    sounds = x != REST
    raised = [np.where(sounds, x + by, REST) for by in semitones]
    fit = [(~sounds | ((y > REST) & (y < LEVELS))).all(axis=(1, 2)) for y in raised]
    kept = np.concatenate([y[which] for y, which in zip(raised, fit, strict=True)] or [x[:0]])
    if not len(kept):
        raise ValueError(
            f"{data.spec.name} transposed by {list(semitones)} semitones leaves MIDI's 1 .. 127:"
            " give smaller steps"
        )
    return dataclasses.replace(data, arrays={"x": kept.astype(np.uint8)})


def is_chorales_file(path: Path) -> bool:
    """Returns True if a file begins as a file of chorales does."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return _HEAD.match(file.read(_HEAD_SIZE).decode("utf-8-sig", "replace")) is not None


def read_chorales(path: Path) -> Chorales:
    """The pieces of a JSON file.

    Args:
        path: The file.

    Raises:
        ValueError: It is no JSON, or not of the layout; says where.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON ({error}): write it anew") from error
    found: dict[str, list[list[list[int]]]] = {}
    for split, names in _SPLITS.items():
        key = next((name for name in names if name in content), None)
        pieces = [] if key is None else _items(content[key], f"{path}: {key}")
        if pieces:
            found[split] = [_steps(piece, f"{path}: {key}[{i}]") for i, piece in pieces]
    if "train" not in found:
        raise ValueError(f"{path} has no pieces under 'train': give some to learn from")
    voices = _order([step for pieces in found.values() for piece in pieces for step in piece])
    rolls = {
        split: [np.array([voices(step) for step in piece], np.uint8) for piece in pieces]
        for split, pieces in found.items()
    }
    return Chorales(path.name, tuple(rolls), rolls.__getitem__)


def _items(value: Any, where: str) -> list[tuple[int, Any]]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is {_shown(value)}, not a list: see data.music")
    return list(enumerate(value))


def _steps(piece: Any, where: str) -> list[list[int]]:
    """The notes of each step of a piece, rests as 0."""
    steps = []
    for i, step in _items(piece, where):
        notes = [_note(note, f"{where}[{i}]") for _, note in _items(step, f"{where}[{i}]")]
        if len(notes) > len(VOICES):
            raise ValueError(f"{where}[{i}] has {len(notes)} notes: there are four voices")
        steps.append(notes)
    if not steps:
        raise ValueError(f"{where} is a piece without steps: take it out")
    return steps


def _note(value: Any, where: str) -> int:
    if value is None:
        return REST
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and (value in (-1, 0) or value != value):  # NaN is not itself
        return REST
    if not number or value % 1 != 0 or not 0 < value < LEVELS:
        raise ValueError(
            f"{where} holds {_shown(value)}: a note is a MIDI number 1 .. 127, a rest null or -1"
        )
    return int(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:40]}..."


def _order(steps: Sequence[list[int]]) -> Callable[[list[int]], list[int]]:
    """Returns the function that orders a step as soprano, alto, tenor and bass."""
    if any(len(step) != len(VOICES) for step in steps):
        return _from_set
    falls = sum(step[0] - step[-1] for step in steps if step[0] and step[-1])
    return (lambda step: step) if falls >= 0 else (lambda step: step[::-1])


def _from_set(step: list[int]) -> list[int]:
    """The highest is the soprano's, the lowest of several the bass's."""
    notes = sorted((note for note in step if note != REST), reverse=True)
    upper, lowest = (notes[:-1], notes[-1:]) if len(notes) > 1 else (notes, [REST])
    return [*upper, *[REST] * (len(VOICES) - 1 - len(upper)), *lowest]


_TICKS = 480
"""Ticks of a step, a quarter note."""
_PROGRAM = 52
"""General MIDI's choir, counted from 0."""
_VELOCITY = 80
_SILENCE = 4
"""Steps of silence between pieces."""


def check_midi() -> None:
    """Refuses, before the work, to write MIDI without `mido`.

    Raises:
        ImportError: It is not installed; says how it is.
    """
    try:
        import mido  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "MIDI needs mido, which is not installed: pip install 'genjax_models[music]'"
        ) from error


def write_midi(path: str | os.PathLike[str], rolls: Any, *, tempo: float = 90.0) -> None:
    """Writes piano rolls as a MIDI file, a track a voice, the pieces one after the other.

    A note that a voice has in several steps on end is one long note.

    Args:
        path: The file.
        rolls: Notes `[T, 4]` or `[N, T, 4]`, soprano first; 0 is a rest.
        tempo: Steps a minute.

    Raises:
        ValueError: The array is no piano roll.
        ImportError: `mido` is not installed.
        OSError: The file cannot be written.
    """
    x = np.asarray(rolls)
    if x.shape[-1:] != (len(VOICES),) or x.ndim not in (2, 3) or not x.size:
        raise ValueError(f"the music has shape {x.shape}: give notes [T, 4] or [N, T, 4]")
    if not np.issubdtype(x.dtype, np.integer) or x.min() < 0 or x.max() >= LEVELS:
        raise ValueError(f"the music has values {x.min()} .. {x.max()}: MIDI has notes 0 .. 127")
    check_midi()
    import mido

    pieces = x if x.ndim == 3 else x[None]
    gap = np.full((len(pieces), _SILENCE, len(VOICES)), REST, x.dtype)
    voices = np.concatenate([pieces, gap], axis=1).reshape(-1, len(VOICES)).T  # [4, steps]
    file = mido.MidiFile(type=1, ticks_per_beat=_TICKS)
    for channel, (name, notes) in enumerate(zip(VOICES, voices, strict=True)):
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
        if channel == 0:
            track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
        track.append(mido.Message("program_change", channel=channel, program=_PROGRAM))
        wait = 0
        for note, steps in held(notes):
            if note != REST:
                length, say = steps * _TICKS, functools.partial(mido.Message, channel=channel)
                track.append(say("note_on", note=note, velocity=_VELOCITY, time=wait))
                track.append(say("note_off", note=note, time=length))
            wait = 0 if note != REST else wait + steps * _TICKS
        track.append(mido.MetaMessage("end_of_track", time=wait))
        file.tracks.append(track)
    with Path(path).open("wb") as out:
        file.save(file=out)


def held(notes: np.ndarray) -> list[tuple[int, int]]:
    """One voice's notes `[T]` as (note, steps), equal ones on end as one."""
    changes = np.flatnonzero(np.diff(notes)) + 1
    return [(int(part[0]), len(part)) for part in np.split(notes, changes)]


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
        """True for chords that the source can reach from the chord before, bool `[B, T - 1]`.

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
    """True for moves `[from, to]` with parallel fifths or octaves, v `[S, 4]`."""
    bad = np.zeros((len(v), len(v)), bool)
    for i, j in itertools.combinations(range(len(VOICES)), 2):
        interval = (v[:, i] - v[:, j]) % 12
        same = (interval[:, None] == interval[None]) & np.isin(interval, (0, 7))[:, None]
        up_i, up_j = v[None, :, i] - v[:, None, i], v[None, :, j] - v[:, None, j]
        bad |= same & (np.sign(up_i) == np.sign(up_j)) & (up_i != 0)
    return bad


@functools.cache
def usual_progressions() -> Progressions:
    """The source of `load("progressions")`."""
    return Progressions()


def progressions_dataset(split: str = "train") -> Dataset:
    """The usual source's pieces, as `load("progressions", split)` gives them."""
    return usual_progressions().chorales().dataset(split)
