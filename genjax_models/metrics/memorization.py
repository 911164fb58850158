"""Memorisation: nearness of samples to training examples, compared with held-out examples.

A model that generalises draws samples that are no nearer to its training examples than unseen
examples are. The caller chooses the space in which distances are measured: pixels find copies, and
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
        distance: Euclidean distance `[N]`, in the examples' unit; 0 for a copy.
        which: Number of the training example `[N]`.
    """

    distance: np.ndarray
    which: np.ndarray


class Memorization(NamedTuple):
    """Nearness of samples to training examples, compared with held-out examples.

    Shares have Wilson's interval and areas DeLong's, for this training set and this threshold.

    Attributes:
        duplicates: Share of the samples that equal a training example exactly.
        duplicates_held_out: The same share of the held-out examples.
        near_duplicates: Share of the samples within `threshold` of a training example.
        near_duplicates_held_out: The same share of the held-out examples.
        threshold: Distance within which one training example in a hundred has another.
        nearer: P(a sample is nearer to the training examples than a held-out one), ties counting
            half: 0.5 where nothing is memorised, 1 for copies. Below 0.5, samples are far from all
            data.
        neighbours: Nearest training examples of the samples, to look at.
    """

    duplicates: Figure
    duplicates_held_out: Figure
    near_duplicates: Figure
    near_duplicates_held_out: Figure
    threshold: float
    nearer: Figure
    neighbours: Neighbours


def nearest_neighbours(samples: Any, training: Any) -> Neighbours:
    """Finds the nearest training example of each sample.

    Args:
        samples: Pixels or features of the samples `[N, ...]`; axes after the first are flattened.
        training: Pixels or features of the training examples `[M, ...]`.

    Raises:
        ValueError: The shapes do not fit, or values are NaN.
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
    """Measures how near samples, and held-out examples, lie to the training examples.

    Args:
        samples: Pixels or features of the samples `[N, ...]`; axes after the first are flattened.
        training: Pixels or features of the training examples `[M, ...]`.
        held_out: Pixels or features of examples that were not trained on `[L, ...]`.
        near: Share of training examples that have another one within `threshold`.
        most: Number of training examples, evenly spread, used to measure the threshold.
        extractor: Name of the space, an extractor's or "pixels".

    Raises:
        ValueError: The shapes do not fit, values are NaN, there are fewer than 2 examples, or so
            few training examples that a share of `near` is none of them.

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
    """Nearest in `y` of `x`, or of some rows of `x = y`, which do not count as their own."""
    chosen = x if rows is None else x[rows]
    index, distance = np.empty(len(chosen), np.int64), np.empty(len(chosen))
    for part, squares in square_distances(chosen, y):
        if rows is not None:
            squares[np.arange(len(squares)), rows[part]] = np.inf
        index[part] = squares.argmin(axis=1)
        # As a difference, which is exactly 0 for equal examples; products only nearly.
        distance[part] = np.linalg.norm(chosen[part] - y[index[part]], axis=1)
    return Neighbours(distance, index)


def _flat(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.reshape(len(x), -1) if x.ndim > 1 and x.size else x
