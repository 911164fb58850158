"""The Fréchet distance of two sets of features: of the Gaussians that have their moments.

    d^2 = |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

With the features of Inception-v3 it is the FID. What is reported by that name is d^2, here too. On
the same features it equals pytorch-fid's figure, which takes the square root of the matrix S_1 S_2;
its trace alone needs no more than the eigenvalues of a symmetric matrix, many times as fast.

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
from genjax_models.metrics.checks import at_least_groups, checked_floats
from genjax_models.metrics.divergence import Estimate

_ROWS = 1024
"""Samples whose products are summed at a time: no copy of all of them is made."""
_LEAST_PIVOT = 1e-10
"""Variance of a feature, given others, below which covariances are taken for singular."""


class Moments(NamedTuple):
    """Mean and covariance of a set of features, in float64.

    Attributes:
        num: Number of samples.
        mean: `[D]`.
        covariance: `[D, D]`, the unbiased estimate; zeros of a single sample.
    """

    num: int
    mean: np.ndarray
    covariance: np.ndarray


def moments(features: Any) -> Moments:
    """The moments of features `[N, D]`.

    Of a set that comes in batches: `functools.reduce(merge, map(moments, batches))`.

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
    """The moments of two sets together.

    References:
        Chan et al. 1983, Algorithms for Computing the Sample Variance (eq. 2.1).
    """
    num, apart = a.num + b.num, b.mean - a.mean
    scatter = (a.num - 1) * a.covariance + (b.num - 1) * b.covariance
    scatter += (a.num * b.num / num) * np.outer(apart, apart)
    return Moments(num, a.mean + apart * (b.num / num), scatter / (num - 1))


def frechet(a: Any, b: Any) -> float:
    """The (squared) Fréchet distance of two sets, d^2 of this file's head.

    It is biased upwards, by about c / N: compare figures of the same number of samples only.

    Args:
        a: Features `[N, D]`, or their `Moments`.
        b: The same of the other set; the two numbers may differ.

    Returns:
        The distance in the features' unit squared, at least 0.

    Raises:
        ValueError: Features of other dimensions, NaN, or too few samples for a covariance: fewer
            than D + 1 leave directions in which nothing varies.
    """
    a, b = _enough(_moments(a)), _enough(_moments(b))
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"the sets have {a.mean.size} and {b.mean.size} features: take both from one extractor"
        )
    apart = a.mean - b.mean
    total = np.trace(a.covariance) + np.trace(b.covariance)
    return float(max(0.0, apart @ apart + total - 2.0 * _trace_sqrt(a.covariance, b.covariance)))


def frechet_estimate(x: Any, y: Any, groups: int = 20) -> Estimate:
    """The Fréchet distance with its standard error, by the jackknife over groups of samples.

    Each group is left out in turn, of both sets at once, which are independent: the error is
    sqrt((G - 1) / G sum_g (d_g - mean d)^2). It is the error of the figure at this number of
    samples, whose bias it does not tell. Groups are drawn by lot, the same each time: samples often
    come sorted by label, and groups of one label each would differ by far too much.

    Args:
        x: Features `[N, D]`.
        y: Features `[M, D]`.
        groups: How many groups, G.

    Raises:
        ValueError: As of `frechet`, the samples that are left without a group included.
    """
    at_least_groups(groups)
    sets = checked_floats(x), checked_floats(y)
    for features in sets:
        _check_number(len(features), features.shape[1], groups=groups)
    lots, whole = np.random.default_rng(0), [moments(z) for z in sets]
    orders = [lots.permutation(len(z)) for z in sets]

    def without(g: int) -> float:
        both = zip(whole, sets, orders, strict=True)
        return frechet(*(_without(m, moments(z[order[g::groups]])) for m, z, order in both))

    spread = np.std([without(g) for g in range(groups)])
    return Estimate(frechet(*whole), float(spread * math.sqrt(groups - 1)))


def frechet_floor(features: Any, num: int, key: Key) -> float:
    """The Fréchet distance to a set that `num` more examples of its own law would have.

    Beside the distance of `num` samples of a model, it says how much of that is the model's. It is
    the distance of two halves, scaled by the numbers of samples: the bias of N against M of one law
    is about c (1 / N + 1 / M), of halves c 4 / M.

    Args:
        features: Features of the set `[M, D]`.
        num: Number of samples of the model, N.
        key: What decides the halves.

    Raises:
        ValueError: As of `two_halves`.

    References:
        Chong and Forsyth 2020, arXiv:1911.07023, sec. 3.
    """
    if num < 1:
        raise ValueError(f"num is {num}: give the number of samples, at least 1")
    size = len(features)
    return two_halves(features, key) * (1 / num + 1 / size) * size / 4


def two_halves(features: Any, key: Key, splits: int = 5) -> float:
    """The Fréchet distance between two halves of one set, each of which has M / 2 examples.

    Args:
        features: Features `[N, D]`.
        key: What decides the halves.
        splits: In how many ways the set is halved; the mean is returned.

    Raises:
        ValueError: As of `frechet`: a half must have at least D + 1 samples.
    """
    if splits < 1:
        raise ValueError(f"splits is {splits}: halve the set in at least 1 way")
    x = checked_floats(features)
    half = len(x) // 2
    _check_number(len(x), x.shape[1], halves=2)
    distances = []
    for k in jax.random.split(key, splits):
        order = np.asarray(jax.random.permutation(k, len(x)))
        distances.append(frechet(x[order[:half]], x[order[half : 2 * half]]))
    return float(np.mean(distances))


def _moments(a: Any) -> Moments:
    return a if isinstance(a, Moments) else moments(a)


def _enough(a: Moments) -> Moments:
    _check_number(a.num, a.mean.size)
    return a


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
    """What `merge` makes `whole` of, together with `part`."""
    num = whole.num - part.num
    mean = (whole.num * whole.mean - part.num * part.mean) / num
    apart = part.mean - mean
    scatter = (whole.num - 1) * whole.covariance - (part.num - 1) * part.covariance
    scatter -= (num * part.num / whole.num) * np.outer(apart, apart)
    return Moments(num, mean, scatter / (num - 1))


def _trace_sqrt(s: np.ndarray, t: np.ndarray) -> float:
    """tr((S T)^(1/2)) of covariances: with S = L L^T, S T has the eigenvalues of L^T T L.

    L is a Cholesky factor of the correlations, so that features of other scales lose nothing. It is
    more exact than the root by eigenvectors, whose small eigenvalues are rough.
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
