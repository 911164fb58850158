"""Short films of digits that move and bounce off the walls, with known paths.

Along each axis a digit begins anywhere, moves by 1 or 2 pixels a frame in either direction, all as
likely, and turns round at the walls. Film i is a function of the digits, the seed and i alone.

References:
    Srivastava et al. 2015, Unsupervised Learning of Video Representations using LSTMs,
    arXiv:1502.04681, sec. 4.1.2 (the idea; these films are small, and move by whole pixels).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genjax_models.data.arrays import positive_int
from genjax_models.data.dataset import Dataset

FRAMES, SIDE = 8, 16
VELOCITIES = (-2, -1, 1, 2)
"""Pixels a frame along an axis, each as likely."""
SIZES: Mapping[str, int] = {"train": 10_000, "validation": 1_000, "test": 1_000}
"""Split -> number of its films."""

_SEEDS = {"train": 0, "validation": 1, "test": 2}
_PART = 1_000
"""Films that are drawn at a time, for a set in memory."""


def bounce(start: Any, velocity: Any, room: int, frames: int = FRAMES) -> np.ndarray:
    """Places along one axis, frame by frame, of what turns round at 0 and at `room`.

    Args:
        start: Initial position `[...]`, 0 .. room.
        velocity: Pixels a frame `[...]`.
        room: Last position, at least 1.
        frames: Number of frames, T.

    Returns:
        Integers `[..., T]`, 0 .. room.
    """
    unfolded = np.asarray(start)[..., None] + np.asarray(velocity)[..., None] * np.arange(frames)
    return room - np.abs(unfolded % (2 * room) - room)  # there and back again is 2 room


@dataclasses.dataclass(frozen=True, eq=False)
class Films:
    """Films `x`, drawn when they are asked for.

    Attributes:
        digits: Images `[N, h, w, C]`.
        labels: Their classes `[N]`.
        which: The digits of each film `[M, K]`.
        motion: Initial row and column of each digit, and their velocities `[M, K, 4]`.
        frames: Frames of a film, T.
        side: Height and width of a frame.
    """

    digits: np.ndarray
    labels: np.ndarray
    which: np.ndarray
    motion: np.ndarray
    frames: int
    side: int

    def __len__(self) -> int:
        """Number of films."""
        return len(self.which)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        """The films of those numbers."""
        films = self.arrays(np.asarray(record_keys, np.int64))
        return [{name: a[i] for name, a in films.items()} for i in range(len(record_keys))]

    def arrays(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """`x` `[B, T, side, side, C]`, `motion` `[B, K, 4]`, and `label` `[B]` where K is 1."""
        which, motion = self.which[indices], self.motion[indices]
        arrays = {"x": self._drawn(which, motion), "motion": motion}
        return arrays | ({"label": self.labels[which[:, 0]]} if which.shape[1] == 1 else {})

    def _drawn(self, which: np.ndarray, motion: np.ndarray) -> np.ndarray:
        _, height, width, channels = self.digits.shape
        shape = (len(which), self.frames, self.side, self.side, channels)
        x = np.zeros(shape, self.digits.dtype)
        film, frame = np.ogrid[: len(which), : self.frames]
        film, frame = film[..., None, None], frame[..., None, None]  # [B, T, h, w]
        for k in range(which.shape[1]):
            row, column = (
                bounce(motion[:, k, a], motion[:, k, 2 + a], self.side - size, self.frames)
                for a, size in enumerate((height, width))
            )
            rows = row[..., None, None] + np.arange(height)[:, None]
            columns = column[..., None, None] + np.arange(width)
            digit = self.digits[which[:, k]][:, None]  # [B, 1, h, w, C]
            under = x[film, frame, rows, columns]
            x[film, frame, rows, columns] = np.maximum(under, digit)
        return x


def dataset(
    digits: Dataset,
    split: str = "train",
    num: int | None = None,
    seed: int | None = None,
    *,
    num_digits: int = 1,
    frames: int = FRAMES,
    side: int = SIDE,
    in_memory: bool = True,
) -> Dataset:
    """Films of digits, drawn from a set of them with repetition.

    Args:
        digits: Images with labels, in memory.
        split: The split's name.
        num: Number of films; by default `SIZES[split]`.
        seed: By default one of each split's own.
        num_digits: Digits of a film; where they meet, the brighter pixel is seen.
        frames: Frames of a film, T.
        side: Height and width of a frame, more than a digit's.
        in_memory: False draws a film when it is asked for.

    Returns:
        Films `x` `[B, T, side, side, C]`, `motion` int32 `[B, num_digits, 4]` (row and column at
        the start, and velocities), and of one digit its `label`.

    Raises:
        ValueError: Digits that are not in memory or have no labels, or a number that cannot be.
    """
    arrays, spec = digits.arrays or {}, digits.spec
    if "label" not in arrays or len(spec.shape) != 3:
        raise ValueError(
            f"{spec.name}[{digits.split}] cannot be filmed: give images [N, H, W, C] with labels,"
            " in memory"
        )
    for name, value in {"num_digits": num_digits, "frames": frames}.items():
        positive_int(value, name)
    if side <= max(spec.shape[:2]):
        raise ValueError(f"side is {side}: {spec.name} needs more, to move in it")
    num, seed = SIZES[split] if num is None else num, _SEEDS[split] if seed is None else seed
    which, start, velocity = (np.random.default_rng([seed, part]) for part in range(3))
    rooms = np.array([side - size + 1 for size in spec.shape[:2]])
    motion = np.concatenate(
        [
            start.integers(rooms, size=(num, num_digits, 2)),
            np.array(VELOCITIES)[velocity.integers(len(VELOCITIES), size=(num, num_digits, 2))],
        ],
        axis=-1,
    )
    chosen = which.integers(len(digits), size=(num, num_digits))
    films = Films(arrays["x"], arrays["label"], chosen, motion.astype(np.int32), frames, side)
    spec = dataclasses.replace(
        spec,
        shape=(frames, side, side, spec.shape[2]),
        num_classes=spec.num_classes if num_digits == 1 else None,
        name=f"moving_{spec.name}",
    )
    if not in_memory:
        return Dataset(spec, split, source=films)
    parts = [films.arrays(np.arange(i, min(i + _PART, num))) for i in range(0, num, _PART)]
    return Dataset(spec, split, {k: np.concatenate([p[k] for p in parts]) for k in parts[0]})
