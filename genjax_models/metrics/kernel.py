"""Maximum mean discrepancy of two sets of features, and the kernel distance (KID).

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y)

The unbiased estimate leaves out pairs of a sample with itself, and so can be below 0. With the
polynomial kernel and the features of Inception-v3 it is the KID. Its mean does not depend on the
number of samples, as the mean of the Fréchet distance does.

References:
    Gretton et al. 2012, A Kernel Two-Sample Test, JMLR 13 (eq. 3).
    Bińkowski et al. 2018, Demystifying MMD GANs, arXiv:1801.01401 (sec. 4).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from genjax_models.metrics.features import (
    at_least,
    blocks,
    check_groups,
    checked_pair,
    square_distances,
)
from genjax_models.metrics.figure import Figure, student_interval

Kernel: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`(x [N, D], y [M, D]) -> k [N, M]`, symmetric and positive definite."""


def polynomial(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The kernel of KID: `(x . y / D + 1)^3`."""
    k = x @ y.T
    k /= x.shape[1]
    k += 1.0
    return k * k * k  # numpy's `**` takes twenty times as long


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """The kernel `exp(-|x - y|^2 / (2 bandwidth^2))`.

    Attributes:
        bandwidth: Above 0, in the features' unit; see `median_bandwidth`.

    Raises:
        ValueError: The bandwidth is not above 0.
    """

    bandwidth: float

    def __post_init__(self) -> None:
        """Refuses a bandwidth that is not above 0."""
        if not self.bandwidth > 0.0:
            raise ValueError(f"the bandwidth is {self.bandwidth}: give one above 0")

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The kernel's values `[N, M]` of features `[N, D]` and `[M, D]`."""
        k, mean = np.empty((len(x), len(y))), y.mean(axis=0)
        for rows, distances in square_distances(x - mean, y - mean):
            k[rows] = np.exp(distances / (-2.0 * self.bandwidth**2))
        return k


def median_bandwidth(x: Any, y: Any, most: int = 1000) -> float:
    """Median distance between two samples of both sets together, a bandwidth for `Gaussian`.

    Args:
        x: Features `[N, D]`.
        y: Features `[M, D]`.
        most: Number of samples of each set that are used, evenly spread over it.

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


def mmd(
    x: Any,
    y: Any,
    kernel: Kernel = polynomial,
    *,
    groups: int | None = 20,
    extractor: str = "",
) -> Figure:
    """Squared maximum mean discrepancy of two sets, unbiased, from all pairs, with its error.

    The standard error is the jackknife's over groups of samples: each group is left out in turn, of
    both sets at once. The kernel is still evaluated only once for every pair, because sums over
    pairs of groups are enough.

    Args:
        x: Features of the samples `[N, D]`, in random order for the standard error.
        y: Features of the reference `[M, D]`, in random order.
        kernel: The kernel k; called on some rows at a time.
        groups: Number of groups of the jackknife; None for the value alone.
        extractor: Name of the extractor.

    Returns:
        MMD^2 in the kernel's unit, which can be a little below 0.

    Raises:
        ValueError: Features that do not fit or are NaN, fewer than 2 samples of a set (beside its
            largest group), or a kernel value beyond floating point.
    """
    check_groups(groups)
    x, y = checked_pair(x, y)
    for z in (x, y):
        # 2 must be left without the largest group.
        at_least(len(z), 2 if groups is None else max(groups, 4), "maximum mean discrepancy")
    num = groups or 1
    xx, yy = (_sums(z, None, kernel, num) for z in (x, y))
    xy = _sums(x, y, kernel, num)
    sizes = [np.bincount(np.arange(len(z)) % num, minlength=num) for z in (x, y)]

    def distance(keep: np.ndarray) -> float:
        n, m = (float(keep @ size) for size in sizes)
        own = keep @ xx @ keep / (n * (n - 1)) + keep @ yy @ keep / (m * (m - 1))
        return float(own - 2.0 * (keep @ xy @ keep) / (n * m))

    value, error, interval = distance(np.ones(num)), math.nan, None
    if not math.isfinite(value):
        raise ValueError(
            f"features are as large as {max(np.abs(x).max(), np.abs(y).max()):.3g}, and the kernel "
            "of them is beyond floating point: give them in a larger unit"
        )
    if groups is not None:
        left = [distance(1.0 - row) for row in np.eye(groups)]
        error = float(np.std(left) * math.sqrt(groups - 1))
        interval = student_interval(value, error, groups)
    return Figure(value, interval, len(x), extractor, len(y), error)


def kernel_distance(
    x: Any,
    y: Any,
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
    extractor: str = "",
) -> Figure:
    """KID as papers report it: the mean of `mmd` over random subsets of both sets.

    The subsets are those of torch-fidelity, and so is the figure. `mmd` is the mean over all
    possible subsets: it takes no more time, has no noise of its own, and comes with an error bar.

    Args:
        x: Features of the samples `[N, D]`.
        y: Features of the reference `[M, D]`.
        subsets: Number of subsets.
        subset_size: Number of samples of each set in a subset.
        seed: Seed of the subsets.
        extractor: Name of the extractor.

    Returns:
        The mean, with the standard deviation over subsets, as papers report it, in place of its
        standard error; subsets overlap, so there is no interval.

    Raises:
        ValueError: As `mmd`, or a set has fewer samples than a subset.
    """
    if subsets < 1:
        raise ValueError(f"subsets is {subsets}: give at least 1")
    x, y = checked_pair(x, y)
    for z in (x, y):
        at_least(len(z), max(2, subset_size), f"kernel distance by subsets of {subset_size}")
    rng = np.random.RandomState(seed)  # the legacy generator: its stream never changes
    values = []
    for _ in range(subsets):
        rows = [rng.choice(len(z), subset_size, replace=False) for z in (x, y)]
        values.append(mmd(x[rows[0]], y[rows[1]], groups=None).value)
    spread = float(np.std(values))
    return Figure(float(np.mean(values)), None, len(x), extractor, len(y), spread)


def _sums(x: np.ndarray, other: np.ndarray | None, kernel: Kernel, groups: int) -> np.ndarray:
    """Sums of k over pairs of groups `[G, G]`; group g holds the rows g, g + G, ...

    Where the other set is None, the pairs are of one set, none of a sample with itself.
    """
    same, y = other is None, x if other is None else other
    in_x, in_y = (_members(len(z), groups) for z in (x, y))
    sums = np.zeros((groups, groups))
    for rows in blocks(len(x), len(y)):
        columns = slice(rows.start if same else 0, None)
        k = kernel(x[rows], y[columns])
        if same:  # the matrix is symmetric
            np.fill_diagonal(k, 0.0)
            k[:, : len(k)] /= 2.0
        sums += in_x[rows].T @ (k @ in_y[columns])
    return sums + sums.T if same else sums


def _members(num: int, groups: int) -> np.ndarray:
    """Group of each row, as ones and zeros `[N, G]`."""
    return (np.arange(num)[:, None] % groups == np.arange(groups)).astype(np.float64)
