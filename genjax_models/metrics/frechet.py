"""Fréchet distance of two sets of features: of the Gaussians with their moments.

    d^2 = |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

With the features of Inception-v3 it is the FID. The value is d^2, as it is reported by that name.
On the same features it equals pytorch-fid's, which takes the square root of the matrix S_1 S_2; its
trace alone needs only the eigenvalues of a symmetric matrix, which is many times as fast.

References:
    Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium, arXiv:1706.08500 (eq. 6). Dowson and Landau 1982, The Fréchet Distance between
    Multivariate Normal Distributions. Chong and Forsyth 2020, Effectively Unbiased FID and
    Inception Score and where to find them, arXiv:1911.07023.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from genjax_models.core.types import Key
from genjax_models.metrics.features import check_groups, checked_floats
from genjax_models.metrics.figure import Figure, student_interval

_ROWS = 1024
"""Samples whose products are summed at a time, so that not all of them are copied."""
_LEAST_PIVOT = 1e-10
"""Variance of a feature, given others, below which covariances are taken for singular."""


class Moments(NamedTuple):
    """Mean and covariance of features, in float64.

    Attributes:
        num: Number of samples.
        mean: `[D]`.
        covariance: `[D, D]`, the unbiased estimate; zeros for a single sample.
    """

    num: int
    mean: np.ndarray
    covariance: np.ndarray


def moments(features: Any) -> Moments:
    """Moments of features `[N, D]`.

    For features that come in batches: `functools.reduce(merge, map(moments, batches))`.

    Raises:
        ValueError: Not a matrix with a row a sample, or entries that are NaN or infinite.
    """
    from scipy.linalg import get_blas_funcs

    x = checked_floats(features)
    num, dims = x.shape
    mean = x.mean(axis=0, dtype=np.float64)
    centred = np.empty((min(num, _ROWS), dims))
    (syrk,) = get_blas_funcs(("syrk",), (centred,))
    scatter = np.zeros((dims, dims), order="F")
    for start in range(0, num, _ROWS):
        part = x[start : start + _ROWS]
        rows = np.subtract(part, mean, out=centred[: len(part)])
        # The lower half of rows^T rows, which is half of the work, added to what is there.
        scatter = syrk(1.0, rows.T, 1.0, scatter, lower=1, overwrite_c=1)
    scatter += np.tril(scatter, -1).T
    return Moments(num, mean, scatter / max(num - 1, 1))


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two sets.

    References:
        Chan et al. 1983, Algorithms for Computing the Sample Variance (eq. 2.1).
    """
    num, apart = a.num + b.num, b.mean - a.mean
    scatter = (a.num - 1) * a.covariance + (b.num - 1) * b.covariance
    scatter += (a.num * b.num / num) * np.outer(apart, apart)
    return Moments(num, a.mean + apart * (b.num / num), scatter / (num - 1))


def frechet_distance(x: Any, y: Any, *, groups: int | None = 20, extractor: str = "") -> Figure:
    """(Squared) Fréchet distance of two sets of features, with its standard error.

    The value is biased upwards by about c / N: compare figures of equal numbers of samples only
    (`frechet_floor` says how much of a figure is bias). The standard error is the jackknife's: each
    group is left out in turn, of both sets at once, and the error is
    sqrt((G - 1) / G sum_g (d_g - mean d)^2). It is the error at these numbers of samples, without
    the bias. Groups are drawn at random, the same each time, because samples often come sorted by
    label.

    Args:
        x: Features of the samples `[N, D]`.
        y: Features of the reference `[M, D]`.
        groups: Number of groups G of the jackknife; None for the value alone, G times as fast.
        extractor: Name of the extractor.

    Returns:
        The distance in the features' unit squared, at least 0.

    Raises:
        ValueError: Features of different dimensions, NaN, or too few samples for a covariance: with
            fewer than D + 1 (without a group of the jackknife) nothing varies in some directions.
    """
    check_groups(groups)
    sets = checked_floats(x), checked_floats(y)
    for features in sets:
        _check_number(len(features), features.shape[1], groups=groups)
    whole = [moments(z) for z in sets]
    value, error, interval = frechet_of_gaussians(*whole), math.nan, None
    if groups is not None:
        error = _jackknife_error(sets, whole, groups)
        interval = student_interval(value, error, groups, at_least=0.0)
    return Figure(value, interval, whole[0].num, extractor, whole[1].num, error)


def frechet_of_gaussians(a: Moments, b: Moments) -> float:
    """(Squared) Fréchet distance of two Gaussians, given by their moments.

    Args:
        a: Moments of D features of at least D + 1 samples.
        b: Moments of the same features.

    Returns:
        The distance in the features' unit squared, at least 0.

    Raises:
        ValueError: The moments are of different numbers of features, or of too few samples.
    """
    for each in (a, b):
        _check_number(each.num, each.mean.size)
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"the sets have {a.mean.size} and {b.mean.size} features: take both from one extractor"
        )
    apart = a.mean - b.mean
    total = np.trace(a.covariance) + np.trace(b.covariance)
    return float(max(0.0, apart @ apart + total - 2.0 * _trace_sqrt(a.covariance, b.covariance)))


def frechet_floor(features: Any, num: int, key: Key, splits: int = 5) -> float:
    """Expected Fréchet distance of `num` further examples of the reference's distribution.

    It is the bias in the distance of `num` samples of a model. It is
    the distance of two halves of the set, scaled by the numbers of samples: the bias of N against M
    samples is about c (1 / N + 1 / M), and that of two halves c 4 / M.

    Args:
        features: Features of the reference `[M, D]`.
        num: Number of samples of the model, N.
        key: PRNG key of the halves.
        splits: Number of random halvings to average over.

    Raises:
        ValueError: `num` or `splits` is below 1, or a half has fewer than D + 1 samples.

    References:
        Chong and Forsyth 2020, arXiv:1911.07023, sec. 3.
    """
    if num < 1:
        raise ValueError(f"num is {num}: give the number of samples, at least 1")
    if splits < 1:
        raise ValueError(f"splits is {splits}: halve the set in at least 1 way")
    x = checked_floats(features)
    size, half = len(x), len(x) // 2
    _check_number(size, x.shape[1], halves=2)
    distances = []
    for k in jax.random.split(key, splits):
        order = np.asarray(jax.random.permutation(k, size))
        halves = (moments(x[order[:half]]), moments(x[order[half : 2 * half]]))
        distances.append(frechet_of_gaussians(*halves))
    return float(np.mean(distances)) * (1 / num + 1 / size) * size / 4


def _jackknife_error(
    sets: tuple[np.ndarray, np.ndarray], whole: list[Moments], groups: int
) -> float:
    """Standard error of the distance, from the moments of each group."""
    random = np.random.default_rng(0)
    orders = [random.permutation(len(z)) for z in sets]

    def without(g: int) -> float:
        both = zip(whole, sets, orders, strict=True)
        left = (_without(m, moments(z[order[g::groups]])) for m, z, order in both)
        return frechet_of_gaussians(*left)

    return float(np.std([without(g) for g in range(groups)]) * math.sqrt(groups - 1))


def _check_number(num: int, dims: int, halves: int = 1, groups: int | None = None) -> None:
    needed = (dims + 1) * halves
    if groups is not None:  # without the largest group, num * (groups - 1) // groups are left
        needed = -(-(dims + 1) * groups // (groups - 1))
    if num < needed:
        raise ValueError(
            f"there are {num} samples of {dims} features, and the Fréchet distance needs at least "
            f"{needed} of them: give more samples, or an extractor of fewer features"
        )


def _without(whole: Moments, part: Moments) -> Moments:
    """The moments that `merge` joins with `part` into `whole`."""
    num = whole.num - part.num
    mean = (whole.num * whole.mean - part.num * part.mean) / num
    apart = part.mean - mean
    scatter = (whole.num - 1) * whole.covariance - (part.num - 1) * part.covariance
    scatter -= (num * part.num / whole.num) * np.outer(apart, apart)
    return Moments(num, mean, scatter / (num - 1))


def _trace_sqrt(s: np.ndarray, t: np.ndarray) -> float:
    """tr((S T)^(1/2)) of covariances: with S = L L^T, S T has the eigenvalues of L^T T L.

    L is a Cholesky factor of the correlations, so that features of other scales lose nothing. It is
    more exact than the root by eigenvectors, with its inaccurate small eigenvalues.
    """
    from scipy.linalg import eigh, get_lapack_funcs

    potrf, sygst = get_lapack_funcs(("potrf", "sygst"), (s, t))
    scale = np.sqrt(np.maximum(s.diagonal(), 0.0))  # of a constant feature, nearly 0
    unit = np.where(scale > 0.0, scale, 1.0)
    correlation, t = _scaled(s, 1.0 / unit), _scaled(t, unit)
    lower, failed = potrf(correlation, lower=1)
    if not failed and np.min(lower.diagonal()) ** 2 > _LEAST_PIVOT:
        product, _ = sygst(t, lower, itype=2, lower=1, overwrite_a=1)  # its lower half alone
    else:
        factor = _pivoted(correlation)
        product = factor.T @ t @ factor
    eigenvalues = eigh(
        product, eigvals_only=True, driver="evr", overwrite_a=True, check_finite=False
    )
    return float(np.sqrt(np.maximum(eigenvalues, 0.0)).sum())


def _scaled(s: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """A covariance of features in other units, in the order that LAPACK works in."""
    scaled = s * unit
    scaled *= unit[:, None]
    return scaled.T  # it is symmetric


def _pivoted(correlation: np.ndarray) -> np.ndarray:
    """L `[D, R]` with L L^T a matrix of rank R: a unit that never fires, or that repeats others."""
    from scipy.linalg import get_lapack_funcs

    (pstrf,) = get_lapack_funcs(("pstrf",), (correlation,))
    lower, pivots, rank, _ = pstrf(correlation, lower=1)
    factor = np.empty((len(correlation), rank))
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    return factor
