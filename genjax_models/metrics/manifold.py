"""How much of the samples lies where data are, and how much of the data where samples are.

Around every example of a set lies a ball that reaches to its k-th nearest neighbour in that set.

    precision   the share of samples in a ball of the reference
    recall      the share of the reference in a ball of the samples
    density     in how many of the reference's balls a sample lies, on average, over k
    coverage    the share of the reference's balls in which a sample lies

Precision and recall suffer from outliers, whose balls are large: density and coverage take no balls
but the reference's. Samples of the reference's own law have a density of 1 on average, and a
coverage of about 1 - 2^-k where both sets are equally large.

References:
    Kynkäänniemi et al. 2019, Improved Precision and Recall Metric for Assessing Generative Models,
    arXiv:1904.06991 (eq. 1, 2). Naeem et al. 2020, Reliable Fidelity and Diversity Metrics for
    Generative Models, arXiv:2002.09797 (eq. 2-5, whose implementation `prdc` these figures equal).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from genjax_models.metrics.checks import at_least, at_least_groups, checked_pair, square_distances
from genjax_models.metrics.divergence import Estimate


class Manifold(NamedTuple):
    """The four figures of this file's head.

    Attributes:
        precision: In [0, 1].
        recall: In [0, 1].
        density: From 0; about 1 for samples of the reference's law.
        coverage: In [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(samples: Any, reference: Any, nearest: int = 5) -> Manifold:
    """Precision, recall, density and coverage of samples.

    It takes the time of all pairs' distances, and memory for some of them at a time.

    Args:
        samples: Features `[N, D]`.
        reference: Features of real examples `[M, D]`.
        nearest: k. Kynkäänniemi et al. take 3, Naeem et al. 5.

    Raises:
        ValueError: Features that do not fit or are NaN, or a set has no k + 1 samples.
    """
    return Manifold(*_figures(samples, reference, nearest, 0)[0])


def manifold_estimates(
    samples: Any, reference: Any, nearest: int = 5, groups: int = 20
) -> dict[str, Estimate]:
    """The same with standard errors, by the jackknife over groups of both sets at once.

    The balls are drawn anew for each group that is left out; the distances are taken once.

    Args:
        samples: Features `[N, D]`, in no order.
        reference: Features of real examples `[M, D]`, in no order.
        nearest: k.
        groups: How many groups.

    Returns:
        Name of the figure -> the figure with its error, at these numbers of samples.

    Raises:
        ValueError: As of `manifold`, the samples that are left without a group included.
    """
    at_least_groups(groups)
    whole, *left = _figures(samples, reference, nearest, groups)
    errors = np.std(left, axis=0) * math.sqrt(groups - 1)
    rows = zip(Manifold._fields, whole, errors, strict=True)
    return {name: Estimate(float(value), float(error)) for name, value, error in rows}


def _figures(samples: Any, reference: Any, nearest: int, groups: int) -> np.ndarray:
    """Of the whole sets, and then without each group `[1 + G, 4]`."""
    x, y = checked_pair(samples, reference)
    if nearest < 1:
        raise ValueError(f"nearest is {nearest}: give at least 1 neighbour")
    for z in (x, y):
        # k + 1 must be left without the largest group.
        needed = nearest + 1 if not groups else -(-(nearest + 1) * groups // (groups - 1))
        at_least(len(z), needed, f"share of samples within balls of {nearest} neighbours")
    # Where k neighbours coincide their ball is a point, and what lies there, to rounding, is in it.
    point = np.finfo(np.float64).eps * max(np.einsum("nd,nd->n", z, z).max() for z in (x, y))
    mean = y.mean(axis=0)
    x, y = x - mean, y - mean
    radii_x, radii_y = (_radii(z, nearest, groups, point) for z in (x, y))
    # A ball that is left out has no inside: its radius is negative.
    cases = range(1 + groups)
    precision, density = np.zeros((2, 1 + groups))
    recalled, covered = np.zeros((2, 1 + groups, len(y)), bool)
    for rows, distances in square_distances(x, y):
        for case in cases:
            kept = radii_x[case, rows] >= 0.0
            inside = distances < radii_y[case]
            inside &= kept[:, None]
            counts = np.count_nonzero(inside, axis=1)
            precision[case] += np.count_nonzero(counts)
            density[case] += counts.sum()
            covered[case] |= inside.any(axis=0)
            recalled[case] |= (distances < radii_x[case, rows, None]).any(axis=0)
    kept_x, kept_y = (radii >= 0.0 for radii in (radii_x, radii_y))
    num_x, num_y = kept_x.sum(axis=1), kept_y.sum(axis=1)
    recall = (recalled & kept_y).sum(axis=1) / num_y
    coverage = covered.sum(axis=1) / num_y
    return np.stack([precision / num_x, recall, density / (nearest * num_x), coverage], axis=1)


def _radii(x: np.ndarray, nearest: int, groups: int, point: float) -> np.ndarray:
    """Squares of the distances to the k-th neighbour `[1 + G, N]`, also without each group.

    None is below `point`, the square of a distance that is 0 to rounding.

    A group's own are -1. Only so many neighbours are kept that a group, a share of 1 / G of points
    in no order, all but never has too many of them; then the ball is a little too small.
    """
    num = len(x)
    kept = min(num - 1, nearest + (4 + 2 * nearest if groups else 0))
    radii = np.full((1 + groups, num), -1.0)
    for rows, distances in square_distances(x, x):
        which = np.arange(num)[rows]
        distances[np.arange(len(distances)), which] = np.inf  # no one is its own neighbour
        near = np.argpartition(distances, kept - 1, axis=1)[:, :kept]
        near_distances = np.take_along_axis(distances, near, axis=1)
        order = np.argsort(near_distances, axis=1)
        near_distances = np.take_along_axis(near_distances, order, axis=1)
        near_distances = np.maximum(near_distances, point)
        radii[0, rows] = near_distances[:, nearest - 1]
        members = np.take_along_axis(near, order, axis=1) % max(groups, 1)
        for group in range(groups):
            others = np.cumsum(members != group, axis=1) >= nearest
            place = np.where(others[:, -1], np.argmax(others, axis=1), kept - 1)
            found = near_distances[np.arange(len(place)), place]
            radii[1 + group, rows] = np.where(which % groups == group, -1.0, found)
    return radii
