"""Music in four voices as data: piano rolls of one pitch a voice and step, read from JSON.

The layout is that of the JSB chorales as they are commonly handed on: `{"train": [piece, ...],
"valid": [...], "test": [...]}`, a piece a list of steps (quarters or sixteenths), a step a list of
MIDI note numbers. Where every step of a file has four entries, they are soprano, alto, tenor and
bass in that order (or the other way round), and a rest is null, NaN, -1 or 0. Where steps have
fewer notes, they are sets: from the highest down they are the voices', and what two voices sing
together stands once.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data import checks, splits
from genjax_models.data.dataset import Dataset

VOICES = ("soprano", "alto", "tenor", "bass")
REST = 0
"""What stands where a voice is silent; every other value is a MIDI note number."""
LEVELS = 128
WINDOW = 32
"""Steps of one example, unless another number is asked for."""

_SPLITS = {"train": ("train",), "validation": ("valid", "validation"), "test": ("test",)}
_HEAD = re.compile(r'\s*\{\s*"(train|valid|validation|test)"\s*:\s*\[')
_HEAD_SIZE = 200  # characters of a file that tell whether it is one of these


def is_roll(spec: DataSpec) -> bool:
    """Whether examples are piano rolls of four voices, `[T, 4]`."""
    return len(spec.shape) == 2 and spec.shape[1] == len(VOICES) and spec.levels == LEVELS


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
            A data set whose `x` is uint8 `[N, window, 4]`: soprano, alto, tenor, bass.

        Raises:
            ValueError: There is no such split, or no piece in it is as long as the window.
        """
        base, start, stop = splits.parse(split, self.splits, self.name)
        pieces = self.read(base)
        pieces = pieces[splits.bounds(start, stop, len(pieces))]
        if window is None:
            window = min(WINDOW, max(map(len, self.read(self.splits[0]))))
        checks.positive_int(window, "window")
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
        The data set, as many times larger; an example whose notes would leave 1 .. 127 is left out.

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


def is_file(path: Path) -> bool:
    """Whether a file begins as one of these does."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return _HEAD.match(file.read(_HEAD_SIZE).decode("utf-8-sig", "replace")) is not None


def read(path: Path) -> Chorales:
    """The pieces of a JSON file.

    Args:
        path: The file.

    Raises:
        ValueError: It is no JSON, or not of the layout; says where.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no readable JSON ({error}): write it anew") from error
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
        raise ValueError(f"{where} is {_shown(value)}, not a list: see data.chorales")
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
    """How a step of this file becomes soprano, alto, tenor and bass."""
    if any(len(step) != len(VOICES) for step in steps):
        return _from_set
    falls = sum(step[0] - step[-1] for step in steps if step[0] and step[-1])
    return (lambda step: step) if falls >= 0 else (lambda step: step[::-1])


def _from_set(step: list[int]) -> list[int]:
    """The highest is the soprano's, the lowest of several the bass's."""
    notes = sorted((note for note in step if note != REST), reverse=True)
    upper, lowest = (notes[:-1], notes[-1:]) if len(notes) > 1 else (notes, [REST])
    return [*upper, *[REST] * (len(VOICES) - 1 - len(upper)), *lowest]


def splits_of(path: Path) -> Mapping[str, str]:
    """The splits that a file has, by name."""
    return {split: split for split in read(path).splits}
