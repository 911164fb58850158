"""Distances of two sets of features by a kernel: the maximum mean discrepancy, and KID.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)

Its estimate without bias leaves out the pairs of a sample with itself, and so can be below 0. With
the polynomial kernel and the features of Inception-v3 it is KID. All estimates have the same mean
whatever the number of samples, which the Fréchet distance has not.

References:
    Gretton et al. 2012, A Kernel Two-Sample Test, JMLR 13 (eq. 3).
    Bińkowski et al. 2018, Demystifying MMD GANs, arXiv:1801.01401 (sec. 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from genjax_models.metrics.checks import (
    at_least,
    at_least_groups,
    blocks,
    checked_pair,
    square_distances,
)
from genjax_models.metrics.divergence import Estimate

Kernel: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`(x [N, D], y [M, D]) -> k [N, M]`, symmetric and positive definite."""


def polynomial(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The kernel of KID: `(x . y / D + 1)^3`."""
    k = x @ y.T
    k /= x.shape[1]
    k += 1.0
    return k * k * k  # numpy's `**` takes twenty times as long


def gaussian(bandwidth: float) -> Kernel:
    """The kernel `exp(-|x - y|^2 / (2 bandwidth^2))`; see `median_bandwidth`.

    Raises:
        ValueError: The bandwidth is not above 0.
    """
    if not bandwidth > 0.0:
        raise ValueError(f"the bandwidth is {bandwidth}: give one above 0")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        k, mean = np.empty((len(x), len(y))), y.mean(axis=0)
        for rows, distances in square_distances(x - mean, y - mean):
            k[rows] = np.exp(distances / (-2.0 * bandwidth**2))
        return k

    return kernel


def median_bandwidth(x: Any, y: Any, most: int = 1000) -> float:
    """The median distance between two samples of both sets together, a bandwidth for `gaussian`.

    Args:
        x: Features `[N, D]`.
        y: Features `[M, D]`.
        most: Samples of each set that are looked at, evenly spread over it.

    Raises:
        ValueError: As of `mmd`, or more than half of the distances are 0.

    References:
        Gretton et al. 2012, A Kernel Two-Sample Test, JMLR 13 (sec. 8).
    """
    if most < 1:
        raise ValueError(f"most is {most}: give at least 1 sample of each set")
    few = np.concatenate([z[:: -(-len(z) // most)] for z in checked_pair(x, y)])
    at_least(len(few), 2, "median distance")
    few = few - few.mean(axis=0)
    distances = np.concatenate([
        part[np.arange(len(few))[rows, None] > np.arange(len(few))]
        for rows, part in square_distances(few, few)
    ])  # fmt: skip
    median = math.sqrt(float(np.median(distances)))
    if median == 0.0:
        raise ValueError("more than half of the samples are alike: give a bandwidth of your own")
    return median


def mmd(x: Any, y: Any, kernel: Kernel = polynomial) -> float:
    """The squared maximum mean discrepancy of two sets, estimated without bias from all pairs.

    Args:
        x: Features `[N, D]`.
        y: Features `[M, D]`.
        kernel: k; called on some rows at a time.

    Returns:
        MMD^2 in the kernel's unit, which can be a little below 0.

    Raises:
        ValueError: Features that do not fit or are NaN, fewer than 2 of a set, or a kernel of them
            that is beyond floating point.
    """
    return mmd_estimate(x, y, kernel, groups=1).value


def mmd_estimate(x: Any, y: Any, kernel: Kernel = polynomial, groups: int = 20) -> Estimate:
    """`mmd` with its standard error, by the jackknife over groups of samples.

    Each group is left out in turn, of both sets at once. The kernel is evaluated once for every
    pair all the same: sums over pairs of groups are enough.

    Args:
        x: Features `[N, D]`, in no order.
        y: Features `[M, D]`, in no order.
        kernel: k.
        groups: How many groups; with 1 the error is NaN.

    Raises:
        ValueError: As of `mmd`, or a set has fewer than 2 samples beside its largest group.
    """
    at_least_groups(groups, needed=1)
    x, y = checked_pair(x, y)
    for z in (x, y):
        # 2 must be left without the largest group.
        at_least(len(z), 2 if groups == 1 else max(groups, 4), "maximum mean discrepancy")
    xx, yy = (_sums(z, None, kernel, groups) for z in (x, y))
    xy = _sums(x, y, kernel, groups)
    sizes = [np.bincount(np.arange(len(z)) % groups, minlength=groups) for z in (x, y)]

    def distance(keep: np.ndarray) -> float:
        n, m = (float(keep @ size) for size in sizes)
        within = keep @ xx @ keep / (n * (n - 1)) + keep @ yy @ keep / (m * (m - 1))
        return float(within - 2.0 * (keep @ xy @ keep) / (n * m))

    value = distance(np.ones(groups))
    if not math.isfinite(value):
        raise ValueError(
            f"features are as large as {max(np.abs(x).max(), np.abs(y).max()):.3g}, and the kernel "
            "of them is beyond floating point: give them in a larger unit"
        )
    if groups == 1:
        return Estimate(value, math.nan)
    left = [distance(1.0 - row) for row in np.eye(groups)]
    return Estimate(value, float(np.std(left) * math.sqrt(groups - 1)))


def kernel_distance(
    x: Any, y: Any, *, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> Estimate:
    """KID as papers report it: the mean of `mmd` over random subsets of both sets.

    They are the subsets that torch-fidelity draws, and the figure is its figure. `mmd_estimate` is
    the mean over all subsets that there are: it takes no more time, has no noise of its own, and
    comes with an error bar, which the spread of subsets that overlap is not.

    Args:
        x: Features `[N, D]`.
        y: Features `[M, D]`.
        subsets: How many.
        subset_size: Samples of each set in one.
        seed: Decides the subsets.

    Returns:
        The mean, and as its "error" the standard deviation over subsets, as it is reported.

    Raises:
        ValueError: As of `mmd`, or a set has fewer samples than a subset.
    """
    if subsets < 1:
        raise ValueError(f"subsets is {subsets}: give at least 1")
    x, y = checked_pair(x, y)
    for z in (x, y):
        at_least(len(z), max(2, subset_size), f"kernel distance by subsets of {subset_size}")
    rng = np.random.RandomState(seed)  # the old generator, whose numbers never change
    values = []
    for _ in range(subsets):
        rows = [rng.choice(len(z), subset_size, replace=False) for z in (x, y)]
        values.append(mmd(x[rows[0]], y[rows[1]]))
    return Estimate(float(np.mean(values)), float(np.std(values)))


def _sums(x: np.ndarray, other: np.ndarray | None, kernel: Kernel, groups: int) -> np.ndarray:
    """Sums of k over pairs of groups `[G, G]`, of the rows g, g + G, ...

    Where the other set is None, over pairs of one set, none with itself.
    """
    same, y = other is None, x if other is None else other
    in_x, in_y = (_members(len(z), groups) for z in (x, y))
    sums = np.zeros((groups, groups))
    for rows in blocks(len(x), len(y)):
        columns = slice(rows.start if same else 0, None)
        k = kernel(x[rows], y[columns])
        if same:  # what lies left of the diagonal is what lies right of it
            np.fill_diagonal(k, 0.0)
            k[:, : len(k)] /= 2.0
        sums += in_x[rows].T @ (k @ in_y[columns])
    return sums + sums.T if same else sums


def _members(num: int, groups: int) -> np.ndarray:
    """Which group a row is of, as ones and zeros `[N, G]`."""
    return (np.arange(num)[:, None] % groups == np.arange(groups)).astype(np.float64)
