"""Whether samples are copies of training examples: how near they lie, beside held-out examples.

A model that generalises draws samples that are no nearer to its training examples than examples are
that it has never seen. The space in which "near" is meant is the caller's: pixels find copies, and
an extractor's features find what looks alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from genjax_models.metrics.auroc import auroc
from genjax_models.metrics.checks import at_least, checked_pair, square_distances


class Neighbours(NamedTuple):
    """The nearest training example of each sample.

    Attributes:
        distance: Euclidean `[N]`; 0 of a copy.
        which: The training example's number `[N]`.
    """

    distance: np.ndarray
    which: np.ndarray


class Memorization(NamedTuple):
    """How near samples are to training examples, beside held-out ones.

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

    duplicates: float
    duplicates_held_out: float
    near_duplicates: float
    near_duplicates_held_out: float
    threshold: float
    nearer: float
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
    return _nearest(x, y)


def memorization(
    samples: Any,
    training: Any,
    held_out: Any,
    *,
    near: float = 0.01,
    most: int = 2000,
) -> Memorization:
    """Compares samples with the training examples, and held-out examples with them.

    Args:
        samples: Pixels or features `[N, ...]`; what follows the first axis is flattened.
        training: The same of the training examples `[M, ...]`.
        held_out: The same of examples that were not trained on `[L, ...]`.
        near: The share of training examples that are to have another one within `threshold`.
        most: Training examples, evenly spread, of which that is measured.

    Raises:
        ValueError: Examples that do not fit or are NaN, or so few training examples that `near` of
            them are none.

    References:
        Meehan et al. 2020, A Non-Parametric Test to Detect Data-Copying in Generative Models,
        arXiv:2004.05675 (sec. 3: `nearer` is its statistic of the whole space).
    """
    x, y = checked_pair(_flat(samples), _flat(training))
    _, z = checked_pair(y, _flat(held_out))
    if not 0.0 < near < 1.0:
        raise ValueError(f"near is {near}: give a share of the training examples, above 0, below 1")
    at_least(min(len(y), most), max(2, int(np.ceil(1.0 / near))), f"distance of {near:g} of them")
    own = _nearest(y, y, rows=np.arange(0, len(y), -(-len(y) // most))).distance
    threshold = float(np.quantile(own, near, method="lower"))
    found, unseen = _nearest(x, y), _nearest(z, y)

    def share(neighbours: Neighbours, within: float) -> float:
        return float(np.mean(neighbours.distance <= within))

    return Memorization(
        duplicates=share(found, 0.0),
        duplicates_held_out=share(unseen, 0.0),
        near_duplicates=share(found, threshold),
        near_duplicates_held_out=share(unseen, threshold),
        threshold=threshold,
        nearer=auroc(found.distance, unseen.distance),
        neighbours=found,
    )


def _nearest(x: np.ndarray, y: np.ndarray, rows: np.ndarray | None = None) -> Neighbours:
    """Of `x`, or of those rows of it, which are then no neighbours of themselves."""
    mean = y.mean(axis=0)
    chosen = x if rows is None else x[rows]
    index = np.empty(len(chosen), np.int64)
    for part, distances in square_distances(chosen - mean, y - mean):
        if rows is not None:
            distances[np.arange(len(distances)), rows[part]] = np.inf
        index[part] = distances.argmin(axis=1)
    # By a difference, so that of equal examples it is 0: by products it is only nearly that.
    return Neighbours(np.linalg.norm(chosen - y[index], axis=1), index)


def _flat(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.reshape(len(x), -1) if x.ndim > 1 else x
