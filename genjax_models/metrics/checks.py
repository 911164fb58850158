"""What every metric asks of features, and how they are gone through some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_MOST_PAIRS = 2**23
"""Pairs of samples that are compared at a time: 64 MiB of distances."""


def checked(features: Any) -> np.ndarray:
    """Features as float64 `[N, D]`.

    Raises:
        ValueError: Not a matrix with a row a sample, no sample, or entries that are NaN, infinite
            or so large that their squares are.
    """
    return checked_floats(features).astype(np.float64, copy=False)


def checked_floats(features: Any) -> np.ndarray:
    """The same, float32 as they are, which are half as long to read."""
    x = np.asarray(features)
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"features have shape {x.shape}: give [N, D], a row a sample")
    if x.dtype != np.float32:
        x = x.astype(np.float64, copy=False)
    # One pass, and no array of booleans: it finds what is not finite, and what is too large.
    if np.isfinite(np.einsum("nd,nd->", x, x, dtype=np.float64)):
        return x
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(x)} samples have features that are NaN or infinite, the "
            f"first is row {int(np.argmax(bad))}: look at the samples, or leave those rows out"
        )
    raise ValueError(
        f"features are as large as {np.abs(x).max():.3g}, and their squares are beyond floating "
        "point: look at the samples, or give the features in a larger unit"
    )


def checked_pair(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features of one extractor as float64 `[N, D]`, `[M, D]`.

    Raises:
        ValueError: As of `checked`, or the sets have other numbers of features.
    """
    x, y = checked(x), checked(y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"the sets have {x.shape[1]} and {y.shape[1]} features: take both from one extractor"
        )
    return x, y


def at_least(num: int, needed: int, metric: str) -> None:
    """Refuses too few samples.

    Raises:
        ValueError: There are fewer than are needed, which it says.
    """
    if num < needed:
        raise ValueError(
            f"there are {num} samples, and the {metric} needs at least {needed}: give more samples"
        )


def at_least_groups(groups: int, needed: int = 2) -> None:
    """Refuses a jackknife over too few groups of samples.

    Raises:
        ValueError: There are fewer than are needed, which it says.
    """
    if groups < needed:
        raise ValueError(f"groups is {groups}: give at least {needed} groups of samples")


def square_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of `|x_i - y_j|^2` `[N, M]`, as many at a time as memory takes.

    By a product of matrices: about 1e-16 of the features' squares is lost, so subtract a mean first
    that is large beside their spread.

    Args:
        x: `[N, D]`.
        y: `[M, D]`.

    Yields:
        Which rows, and their distances `[n, M]`, which may be changed.
    """
    squares = np.einsum("md,md->m", y, y)
    for rows in blocks(len(x), len(y)):
        part = x[rows]
        distances = part @ y.T
        distances *= -2.0
        distances += squares
        distances += np.einsum("nd,nd->n", part, part)[:, None]
        yield rows, np.maximum(distances, 0.0, out=distances)


def blocks(num: int, width: int) -> Iterator[slice]:
    """Slices of `num` rows of `width` numbers each, as many rows at a time as memory takes."""
    size = max(1, _MOST_PAIRS // width)
    for start in range(0, num, size):
        yield slice(start, min(start + size, num))
