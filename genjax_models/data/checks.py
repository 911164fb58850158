"""What an array must be to serve as data; every refusal is one line with the mend."""

from __future__ import annotations

from typing import Any

import numpy as np


def positive_int(value: Any, name: str) -> None:
    """Refuses anything but a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}: it must be a whole number of at least 1")


def text_window(num_tokens: int, window: int, name: str, split: str) -> None:
    """Refuses a window that is longer than its text."""
    if num_tokens < window:
        raise ValueError(
            f"{name}[{split}] has {num_tokens} tokens but the window is {window}: give a longer"
            " text or a smaller window"
        )


def examples(images: Any, levels: int | None, name: str) -> tuple[np.ndarray, int | None]:
    """Examples as the models take them, and their number of levels.

    Args:
        images: `[N, H, W, C]`, `[N, H, W]` or `[N, T]` of integers, or `[N, D]` of floats.
        levels: Number of values an entry can take, or None to read it off the type.
        name: The data set's name, for messages.

    Returns:
        `x` and its levels: uint8 or int32 `[N, ...]`, or float32 `[N, D]` and None.

    Raises:
        ValueError: A shape, a type or a value that no example can have.
    """
    x = array(images, f"{name}: examples")
    if x.ndim not in (2, 3, 4):
        raise ValueError(
            f"{name}: examples have shape {x.shape}; give images [N, H, W, C] or [N, H, W],"
            " sequences [N, T] or points [N, D]"
        )
    if x.size == 0:
        raise ValueError(f"{name}: examples have shape {x.shape}: there is nothing to learn from")
    if np.issubdtype(x.dtype, np.floating):
        return _points(x, levels, name), None
    if x.dtype != np.bool_ and not np.issubdtype(x.dtype, np.integer):
        raise ValueError(
            f"{name}: examples are of type {x.dtype}; give integers 0 .. levels - 1, or float"
            " points [N, D]"
        )
    if x.ndim == 3:
        x = x[..., None]  # [N, H, W] -> [N, H, W, 1]
    if x.ndim == 4 and x.shape[-1] not in (1, 2, 3, 4):
        raise ValueError(
            f"{name}: images have shape {x.shape[1:]} with {x.shape[-1]} channels; put the"
            " channels last, 1 to 4 of them: [N, H, W, C]"
        )
    return _levels(x, levels, name)


def _points(x: np.ndarray, levels: int | None, name: str) -> np.ndarray:
    finite(x, name)
    if levels is not None or x.ndim != 2:
        raise ValueError(
            f"{name}: examples are {x.dtype} of shape {x.shape}; give images as uint8 levels"
            " (0 .. 255), or points as floats [N, D] without levels"
        )
    largest = np.abs(x).max()
    if largest > np.finfo(np.float32).max:
        row = int(np.argwhere(np.abs(x) == largest)[0][0])
        raise ValueError(
            f"{name}: row {row} holds {x[row][np.abs(x[row]).argmax()]:.3g}, beyond float32's"
            f" {np.finfo(np.float32).max:.3g}; scale the data"
        )
    return np.ascontiguousarray(x, np.float32)


def array(values: Any, what: str) -> np.ndarray:
    """Any array-like as a NumPy array.

    Raises:
        ValueError: It has rows of different lengths, or values that a mask hides.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"{what} hide values behind a mask: fill them, or remove those rows")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{what} are rows of different lengths: make them one array") from error


def finite(x: np.ndarray, name: str) -> None:
    """Refuses NaN and infinities, naming how many and the first row."""
    bad = ~np.isfinite(x)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise ValueError(
            f"{name}: {int(bad.sum())} values are NaN or infinite, the first in row {row}; remove"
            " or repair those rows"
        )


def _levels(x: np.ndarray, levels: int | None, name: str) -> tuple[np.ndarray, int]:
    lowest, highest = int(x.min()), int(x.max())
    if levels is None:
        levels = {"bool": 2, "uint8": 256}.get(x.dtype.name)
    levels = highest + 1 if levels is None else levels
    if lowest < 0:
        raise ValueError(
            f"{name}: values lie in {lowest} .. {highest}, and levels count from 0: shift the data"
        )
    positive_int(levels, f"{name}: levels")
    if levels > np.iinfo(np.int32).max:
        raise ValueError(
            f"{name}: {levels} levels are more than int32 counts; give real numbers as floats"
        )
    if highest >= levels:
        raise ValueError(
            f"{name}: values lie in {lowest} .. {highest} but {levels} levels allow 0 .."
            f" {levels - 1}; rescale the data or give levels={highest + 1}"
        )
    narrow = levels <= 256 and (x.ndim == 4 or x.dtype in (np.bool_, np.uint8))
    return np.ascontiguousarray(x, np.uint8 if narrow else np.int32), levels


def extra_array(value: np.ndarray, num_examples: int, key: str, name: str) -> np.ndarray:
    """A further array of a data set: numbers, one row an example, no NaN."""
    if key in ("x", "label") or value.ndim == 0 or len(value) != num_examples:
        raise ValueError(
            f"{name}: extra array {key!r} has shape {value.shape} for {num_examples} examples;"
            " give one row an example, under a name other than x and label"
        )
    if value.dtype != np.bool_ and not np.issubdtype(value.dtype, np.number):
        raise ValueError(f"{name}: extra array {key!r} is of type {value.dtype}; give numbers")
    if np.issubdtype(value.dtype, np.inexact):
        finite(value, f"{name}: extra array {key!r}")
    return value
