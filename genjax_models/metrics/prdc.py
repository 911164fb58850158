"""Precision, recall, density and coverage of samples: PRDC.

Every example of a set has a ball with the distance to its k-th nearest neighbour as radius.

    precision   the share of samples in a ball of the reference
    recall      the share of the reference in a ball of the samples
    density     the number of the reference's balls around a sample, on average, over k
    coverage    the share of the reference's balls that hold a sample

Precision and recall suffer from outliers, which have large balls: density and coverage use the
reference's balls only. Samples of the reference's distribution have a density of 1 on average, and
a coverage of about 1 - 2^-k where both sets are equally large.

References:
    Kynkäänniemi et al. 2019, Improved Precision and Recall Metric for Assessing Generative Models,
    arXiv:1904.06991 (eq. 1, 2). Naeem et al. 2020, Reliable Fidelity and Diversity Metrics for
    Generative Models, arXiv:2002.09797 (eq. 2-5; the figures equal those of their package `prdc`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from genjax_models.metrics.features import at_least, check_groups, checked_pair, square_distances
from genjax_models.metrics.figure import Figure, student_interval, wilson_interval


class PRDC(NamedTuple):
    """Precision, recall, density and coverage, as defined in the module's docstring.

    Attributes:
        precision: In [0, 1].
        recall: In [0, 1].
        density: At least 0; about 1 for samples of the reference's distribution.
        coverage: In [0, 1].
    """

    precision: Figure
    recall: Figure
    density: Figure
    coverage: Figure


def prdc(
    samples: Any,
    reference: Any,
    nearest: int = 5,
    *,
    groups: int | None = 20,
    extractor: str = "",
) -> PRDC:
    """Precision, recall, density and coverage of samples, with their standard errors.

    The standard errors are the jackknife's over groups of both sets at once. The balls are drawn
    anew for each group that is left out; the distances of all pairs are computed once, some at a
    time. The intervals (Wilson's for shares) are rather too wide.

    Args:
        samples: Features of the samples `[N, D]`, in random order for the standard errors.
        reference: Features of the reference `[M, D]`, in random order.
        nearest: Number of neighbours, k. Kynkäänniemi et al. take 3, Naeem et al. 5.
        groups: Number of groups of the jackknife; None for the values alone.
        extractor: Name of the extractor.

    Raises:
        ValueError: Features that do not fit or are NaN, or a set has fewer than k + 1 samples
            (without a group of the jackknife).
    """
    check_groups(groups)
    values, *left = _values(samples, reference, nearest, groups or 0)
    errors = np.full(4, math.nan)
    if groups is not None:
        errors = np.std(left, axis=0) * math.sqrt(groups - 1)
    num, num_reference = len(samples), len(reference)

    def figure(name: str, value: float, error: float) -> Figure:
        interval = None
        if groups is not None and name == "density":
            interval = student_interval(value, error, groups, at_least=0.0)
        elif groups is not None:
            interval = wilson_interval(value, error, num if name == "precision" else num_reference)
        return Figure(value, interval, num, extractor, num_reference, error)

    rows = zip(PRDC._fields, values.tolist(), errors.tolist(), strict=True)
    return PRDC(*(figure(*row) for row in rows))


def _values(samples: Any, reference: Any, nearest: int, groups: int) -> np.ndarray:
    """The four values of the whole sets, then without each group `[1 + G, 4]`."""
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
    """Squared distances to the k-th neighbour `[1 + G, N]`, of all points and without each group.

    None is below `point`, the square of a distance that is 0 to rounding. The points of the group
    that is left out have -1. Only so many neighbours are kept that a group, 1 / G of the points in
    random order, almost never holds too many of them; where it does, the ball is a little too
    small.
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
