"""Labels as they come: numbers, truth values, words or one-hot rows become 0, 1, 2, ..."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from genjax_models.data import checks

_SHOWN = 20
"""Labels that a message lists at most."""


class Labels(NamedTuple):
    """The labels of a data set.

    Attributes:
        values: int32 `[N]`, 0 .. num_classes - 1.
        num_classes: Number of classes.
        names: What the classes are called, in order, or empty.
    """

    values: np.ndarray
    num_classes: int
    names: tuple[str, ...]


def read(
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
        num_classes: How many classes there are, where some may have no example here.
        names: What they are called, in order.
        name: The data set's name, for messages.

    Raises:
        ValueError: They are none of this, not one an example, or beyond the classes.
    """
    y = checks.array(values, f"{name}: labels")
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
        checks.finite(y, f"{name}: labels")
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
