"""Detection by a score: areas under the ROC and the precision-recall curve.

`high` is the set that should have the higher scores (anomalies); its examples are the positives.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genjax_models.metrics.figure import Figure, logit_interval


def auroc(low: Any, high: Any, *, extractor: str = "") -> Figure:
    """Area under the ROC curve, P(low < high) + 1/2 P(low = high), with DeLong's interval.

    var = var_i P(low < high_i) / M + var_j P(low_j < high) / N, and the interval is symmetric on
    the scale of the logit. Sets that do not overlap have no interval.

    Args:
        low: Scores of the set that should have the lower ones `[N]`, such as energies of data.
            Infinite scores, of examples of probability 0, are allowed.
        high: Scores of the other set `[M]`.
        extractor: Name of the score.

    Returns:
        The area, in [0, 1]: 1 if every score of `low` is below every one of `high`, 0.5 if
        their distributions are equal. `num` is M and `num_reference` N. A set of a single score
        has no interval.

    Raises:
        ValueError: A set is empty or holds NaN.

    References:
        Mann and Whitney 1947, On a test of whether one of two random variables is stochastically
        larger than the other (the statistic U, over N M). DeLong et al. 1988, Comparing the areas
        under two or more correlated receiver operating characteristic curves, eq. 4-6.
    """
    from sklearn.metrics import roc_auc_score

    value = float(roc_auc_score(*_ranked(low, high)))
    a, b = (np.sort(np.asarray(x, np.float64).reshape(-1)) for x in (low, high))
    error, interval = math.nan, None
    if min(a.size, b.size) > 1:
        of_high = (np.searchsorted(a, b, "left") + np.searchsorted(a, b, "right")) / (2 * a.size)
        of_low = (np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")) / (2 * b.size)
        error = math.sqrt(of_high.var(ddof=1) / b.size + of_low.var(ddof=1) / a.size)
        interval = logit_interval(value, error)
    return Figure(value, interval, b.size, extractor, a.size, error)


def aupr(
    low: Any, high: Any, *, resamples: int | None = 200, seed: int = 0, extractor: str = ""
) -> Figure:
    """Area under the precision-recall curve (average precision), with a bootstrap interval.

    AP = sum_n (R_n - R_(n-1)) P_n over falling thresholds. An uninformative score
    has the share of the positives, M / (N + M), not 0.5: compare areas of equal shares only.
    Sets that do not overlap have no interval.

    Args:
        low: Scores of the set that should have the lower ones `[N]`.
        high: Scores of the other set `[M]`, the positives.
        resamples: Number of bootstrap resamples of both sets; None for the value alone.
        seed: Seed of the resamples.
        extractor: Name of the score.

    Returns:
        The area, in (0, 1]. `num` is M and `num_reference` N, on which it depends.

    Raises:
        ValueError: A set is empty or holds NaN.

    References:
        Davis and Goadrich 2006, The relationship between Precision-Recall and ROC curves.
    """
    value, random = _average_precision(low, high), np.random.default_rng(seed)
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (low, high))
    error, interval = math.nan, None
    if resamples is not None:
        areas = [
            _average_precision(random.choice(a, a.size), random.choice(b, b.size))
            for _ in range(resamples)
        ]
        bottom, top = (float(end) for end in np.quantile(areas, [0.025, 0.975]))
        error, interval = float(np.std(areas, ddof=1)), (bottom, top) if bottom < top else None
    return Figure(value, interval, b.size, extractor, a.size, error)


def _average_precision(low: Any, high: Any) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*_ranked(low, high)))


def _ranked(low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the scores, 1 for `high`, and their ranks, equal for ties `[N + M]`.

    Raises:
        ValueError: A set is empty, or holds NaN.
    """
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (low, high))
    for name, x in (("low", a), ("high", b)):
        if not x.size or np.isnan(x).any():
            raise ValueError(f"{name} {'holds NaN' if x.size else 'is empty'}: give numbers")
    _, ranks = np.unique(np.concatenate([a, b]), return_inverse=True)
    return np.repeat([0, 1], [a.size, b.size]), ranks
