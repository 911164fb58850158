"""Whether samples are copies of training examples: how near they lie, beside held-out examples.

A model that generalises draws samples that are no nearer to its training examples than examples are
that it has never seen. The space in which "near" is meant is the caller's: pixels find copies, and
an extractor's features find what looks alike.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from genjax_models.metrics.detection import auroc
from genjax_models.metrics.features import at_least, checked_pair, square_distances
from genjax_models.metrics.figure import Figure, wilson_interval


class Neighbours(NamedTuple):
    """The nearest training example of each sample.

    Attributes:
        distance: Euclidean `[N]`, in the examples' unit; 0 of a copy.
        which: The training example's number `[N]`.
    """

    distance: np.ndarray
    which: np.ndarray


class Memorization(NamedTuple):
    """How near samples are to training examples, beside held-out ones.

    Shares have Wilson's interval, areas DeLong's; they are of this training set and this threshold.

    Attributes:
        duplicates: Share of the samples that are a training example, to the last bit.
        duplicates_held_out: The same of the held-out examples.
        near_duplicates: Share of the samples that are at most `threshold` from a training example.
        near_duplicates_held_out: The same of the held-out examples.
        threshold: What is near: the distance within which one training example in a hundred has
            another.
        nearer: P(a sample is nearer to the training examples than a held-out one), ties by half:
            0.5 where nothing is memorised, 1 of copies. Below 0.5 samples are far from all data.
        neighbours: The samples' nearest training examples, to be looked at.
    """

    duplicates: Figure
    duplicates_held_out: Figure
    near_duplicates: Figure
    near_duplicates_held_out: Figure
    threshold: float
    nearer: Figure
    neighbours: Neighbours


def nearest_neighbours(samples: Any, training: Any) -> Neighbours:
    """The nearest training example of each sample, some at a time.

    Args:
        samples: Pixels or features `[N, ...]`; what follows the first axis is flattened.
        training: The same of the training examples `[M, ...]`.

    Raises:
        ValueError: Examples that do not fit or are NaN.
    """
    x, y = checked_pair(_flat(samples), _flat(training))
    mean = y.mean(axis=0)
    return _nearest(x - mean, y - mean)


def memorization(
    samples: Any,
    training: Any,
    held_out: Any,
    *,
    near: float = 0.01,
    most: int = 2000,
    extractor: str = "nearest neighbours",
) -> Memorization:
    """Compares samples with the training examples, and held-out examples with them.

    Args:
        samples: Pixels or features `[N, ...]`; what follows the first axis is flattened.
        training: The same of the training examples `[M, ...]`.
        held_out: The same of examples that were not trained on `[L, ...]`.
        near: The share of training examples that are to have another one within `threshold`.
        most: Training examples, evenly spread, of which that is measured.
        extractor: Name of the space, an extractor's or "pixels".

    Raises:
        ValueError: Examples that do not fit or are NaN, fewer than 2 of them, or so few training
            examples that `near` of them are none.

    References:
        Meehan et al. 2020, A Non-Parametric Test to Detect Data-Copying in Generative Models,
        arXiv:2004.05675 (sec. 3: `nearer` is its statistic of the whole space).
    """
    x, y = checked_pair(_flat(samples), _flat(training))
    _, z = checked_pair(y, _flat(held_out))
    if not 0.0 < near < 1.0:
        raise ValueError(f"near is {near}: give a share of the training examples, above 0, below 1")
    for examples, what in ((x, "nearness of samples"), (z, "nearness of held-out examples")):
        at_least(len(examples), 2, what)
    at_least(min(len(y), most), max(2, int(np.ceil(1.0 / near))), f"distance of {near:g} of them")
    mean = y.mean(axis=0)
    x, y, z = x - mean, y - mean, z - mean
    own = _nearest(y, y, rows=np.arange(0, len(y), -(-len(y) // most))).distance
    threshold = float(np.quantile(own, near, method="lower"))
    found, unseen = _nearest(x, y), _nearest(z, y)

    def share(neighbours: Neighbours, within: float) -> Figure:
        num, p = len(neighbours.distance), float(np.mean(neighbours.distance <= within))
        error = math.sqrt(p * (1.0 - p) / num)
        return Figure(p, wilson_interval(p, error, num), num, extractor, len(y), error)

    return Memorization(
        duplicates=share(found, 0.0),
        duplicates_held_out=share(unseen, 0.0),
        near_duplicates=share(found, threshold),
        near_duplicates_held_out=share(unseen, threshold),
        threshold=threshold,
        nearer=auroc(found.distance, unseen.distance, extractor=extractor),
        neighbours=found,
    )


def _nearest(x: np.ndarray, y: np.ndarray, rows: np.ndarray | None = None) -> Neighbours:
    """Of `x`, or of those rows of it, which are then no neighbours of themselves."""
    chosen = x if rows is None else x[rows]
    index, distance = np.empty(len(chosen), np.int64), np.empty(len(chosen))
    for part, squares in square_distances(chosen, y):
        if rows is not None:
            squares[np.arange(len(squares)), rows[part]] = np.inf
        index[part] = squares.argmin(axis=1)
        # By a difference, so that of equal examples it is 0: by products it is only nearly that.
        distance[part] = np.linalg.norm(chosen[part] - y[index[part]], axis=1)
    return Neighbours(distance, index)


def _flat(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.reshape(len(x), -1) if x.ndim > 1 and x.size else x
