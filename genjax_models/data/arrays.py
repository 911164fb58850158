"""Arrays as users give them: examples, labels and further arrays, checked and brought to one form.

Each refusal is one line that says what was given, what is expected, and how to mend it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


def positive_int(value: Any, name: str) -> None:
    """Refuses anything but a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}: it must be a whole number of at least 1")


def check_window(num_tokens: int, window: int, name: str, split: str) -> None:
    """Refuses a window that is longer than its text."""
    if num_tokens < window:
        raise ValueError(
            f"{name}[{split}] has {num_tokens} tokens but the window is {window}: give a longer"
            " text or a smaller window"
        )


def examples(images: Any, num_levels: int | None, name: str) -> tuple[np.ndarray, int | None]:
    """Examples as the models take them, and their number of levels.

    Args:
        images: `[N, H, W, C]`, `[N, H, W]` or `[N, T]` of integers, or `[N, D]` of floats.
        num_levels: Number of values an entry can take, or None to read it off the type.
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
        return _points(x, num_levels, name), None
    if x.dtype != np.bool_ and not np.issubdtype(x.dtype, np.integer):
        raise ValueError(
            f"{name}: examples are of type {x.dtype}; give integers 0 .. num_levels - 1, or float"
            " points [N, D]"
        )
    if x.ndim == 3:
        x = x[..., None]  # [N, H, W] -> [N, H, W, 1]
    if x.ndim == 4 and x.shape[-1] not in (1, 2, 3, 4):
        raise ValueError(
            f"{name}: images have shape {x.shape[1:]} with {x.shape[-1]} channels; put the"
            " channels last, 1 to 4 of them: [N, H, W, C]"
        )
    return _levels(x, num_levels, name)


def _points(x: np.ndarray, num_levels: int | None, name: str) -> np.ndarray:
    finite(x, name)
    if num_levels is not None or x.ndim != 2:
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


def _levels(x: np.ndarray, num_levels: int | None, name: str) -> tuple[np.ndarray, int]:
    lowest, highest = int(x.min()), int(x.max())
    if num_levels is None:
        num_levels = {"bool": 2, "uint8": 256}.get(x.dtype.name)
    num_levels = highest + 1 if num_levels is None else num_levels
    if lowest < 0:
        raise ValueError(
            f"{name}: values lie in {lowest} .. {highest}, and levels count from 0: shift the data"
        )
    positive_int(num_levels, f"{name}: levels")
    if num_levels > np.iinfo(np.int32).max:
        raise ValueError(
            f"{name}: {num_levels} levels are more than int32 counts; give real numbers as floats"
        )
    if highest >= num_levels:
        raise ValueError(
            f"{name}: values lie in {lowest} .. {highest} but {num_levels} levels allow 0 .."
            f" {num_levels - 1}; rescale the data or give num_levels={highest + 1}"
        )
    narrow = num_levels <= 256 and (x.ndim == 4 or x.dtype in (np.bool_, np.uint8))
    return np.ascontiguousarray(x, np.uint8 if narrow else np.int32), num_levels


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


_SHOWN = 20
"""Labels that a message lists at most."""


class Labels(NamedTuple):
    """The labels of a data set.

    Attributes:
        values: int32 `[N]`, 0 .. num_classes - 1.
        num_classes: Number of classes.
        names: Names of the classes, in order, or empty.
    """

    values: np.ndarray
    num_classes: int
    names: tuple[str, ...]


def read_labels(
    values: Any,
    num_examples: int,
    num_classes: int | None = None,
    names: Sequence[str] = (),
    name: str = "arrays",
) -> Labels:
    """Labels, checked and numbered from 0.

    Without `num_classes` and `names` the classes are those that have an example: a class without
    one cannot be learned. Gaps between their numbers are closed up, with a warning, and the classes
    are then named by the numbers that they had.

    Args:
        values: `[N]` or `[N, 1]` of integers, of floats that are whole, of truth values or of words
            (the classes' names), or `[N, num_classes]` of zeros with one 1 a row.
        num_examples: N.
        num_classes: Number of classes, some of which may have no example here.
        names: Their names, in order.
        name: The data set's name, for messages.

    Raises:
        ValueError: They are none of this, not one an example, or beyond the classes.
    """
    y = array(values, f"{name}: labels")
    if y.ndim == 2 and len(y) == num_examples:
        y, num_classes = _of_rows(y, num_classes, name)
    if y.shape != (num_examples,):
        raise ValueError(
            f"{name}: labels have shape {y.shape} for {num_examples} examples; give one label an"
            f" example, shape ({num_examples},)"
        )
    names = tuple(map(str, names))
    if len(set(names)) < len(names) or (names and num_classes not in (None, len(names))):
        raise ValueError(
            f"{name}: class_names has {len(names)} names, {len(set(names))} of them different, for"
            f" {num_classes or len(names)} classes; give each class one of its own"
        )
    num_classes = len(names) or num_classes
    if y.dtype.kind in "UST":
        return _of_words(y, num_classes, names, name)
    y = _whole(y, name)
    lowest, highest = int(y.min()), int(y.max())
    if lowest < 0 or (num_classes is not None and highest >= num_classes):
        allowed = "0, 1, 2, ..." if num_classes is None else f"0 .. {num_classes - 1}"
        raise ValueError(
            f"{name}: labels lie in {lowest} .. {highest} but {num_classes or 'the'} classes allow"
            f" {allowed}; number the classes from 0"
        )
    if num_classes is None:
        return _closed_up(y, highest, name)
    return Labels(y.astype(np.int32), num_classes, names)


def _of_rows(y: np.ndarray, num_classes: int | None, name: str) -> tuple[np.ndarray, int | None]:
    """Labels of a column, or of one-hot rows, and how many classes those are of."""
    if y.shape[1] == 1:
        return y[:, 0], num_classes
    is_number = y.dtype.kind in "biuf"
    if not is_number or not np.isin(y, (0, 1)).all() or (y.sum(1) != 1).any():
        raise ValueError(
            f"{name}: labels have shape {y.shape}, and not one 1 and else 0 in each row; give one"
            f" label an example, shape ({len(y)},), or one-hot rows"
        )
    return y.argmax(1), y.shape[1] if num_classes is None else num_classes


def _of_words(y: np.ndarray, num_classes: int | None, names: tuple[str, ...], name: str) -> Labels:
    there = sorted({_word(value) for value in y.tolist()})
    if not names and num_classes not in (None, len(there)):
        raise ValueError(
            f"{name}: labels are {len(there)} different words for {num_classes} classes; give"
            " class_names= with all of them in order"
        )
    number = {word: i for i, word in enumerate(names or there)}
    strange = [word for word in there if word not in number]
    if strange:
        raise ValueError(
            f"{name}: a label is {strange[0]!r}, which is none of class_names"
            f" ({', '.join(names[:_SHOWN])})"
        )
    values = np.array([number[_word(value)] for value in y.tolist()], np.int32)
    return Labels(values, len(number), names or tuple(there))


def _word(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _whole(y: np.ndarray, name: str) -> np.ndarray:
    """Numbers as integers."""
    if y.dtype.kind in "biu":
        return y.astype(np.int64) if y.dtype.kind == "b" else y
    if y.dtype.kind == "f":
        finite(y, f"{name}: labels")
        whole = np.floor(y.astype(np.float64))
        if (y == whole).all() and np.abs(whole).max() < 2**31:
            return whole.astype(np.int64)
    raise ValueError(
        f"{name}: labels are of type {y.dtype} and no whole numbers or words; give integers 0, 1,"
        " 2, ... or the classes' names"
    )


def _closed_up(y: np.ndarray, highest: int, name: str) -> Labels:
    there, closed = np.unique(y, return_inverse=True)
    if len(there) == highest + 1:
        return Labels(y.astype(np.int32), len(there), ())
    shown = ", ".join(map(str, there[:_SHOWN])) + (", ..." if len(there) > _SHOWN else "")
    warnings.warn(
        f"{name}: labels are {shown}, with gaps: they become 0 .. {len(there) - 1}, for a class"
        " without examples cannot be learned (num_classes= keeps their numbers)",
        stacklevel=4,
    )
    return Labels(closed.astype(np.int32), len(there), tuple(map(str, there.tolist())))
