"""How well a score tells two sets apart, with intervals: the areas under ROC and precision-recall.

`high` is the set that ought to have the higher numbers (anomalies), and the positive one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genjax_models.metrics.auroc import auroc, ranked
from genjax_models.metrics.figure import Figure

_NORMAL = 1.96
"""97.5 % of the standard normal law."""
_DRAWS = 200


def aupr(low: Any, high: Any) -> float:
    """The area under the precision-recall curve as average precision, `high` the positives.

    AP = sum_n (R_n - R_(n-1)) P_n over falling thresholds. A score that tells nothing reaches the
    share of the positives, M / (N + M), and not 0.5: two areas are compared at one share alone.

    Args:
        low: Numbers of the set that ought to have the lower ones `[N]`.
        high: Numbers of the other set `[M]`.

    Returns:
        In (0, 1].

    Raises:
        ValueError: A set is empty, or holds NaN.

    References:
        Davis and Goadrich 2006, The relationship between Precision-Recall and ROC curves.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(*ranked(low, high)))


def auroc_figure(low: Any, high: Any, name: str) -> Figure:
    """The area under the ROC curve with DeLong's interval, on the scale of its logit.

    var = var_i P(low < high_i) / M + var_j P(low_j < high) / N. Sets that do not overlap have no
    interval: these data do not tell how little they do.

    Args:
        low: Numbers of the set that ought to have the lower ones `[N]`, at least 2.
        high: Numbers of the other set `[M]`, at least 2.
        name: What the numbers are, to stand beside the figure.

    Returns:
        The figure; `num` is M and `num_reference` N.

    Raises:
        ValueError: A set has fewer than 2 numbers, or holds NaN.

    References:
        DeLong et al. 1988, Comparing the areas under two or more correlated receiver operating
        characteristic curves, eq. 4-6.
    """
    value = auroc(low, high)
    a, b = (np.sort(np.asarray(x, np.float64).reshape(-1)) for x in (low, high))
    if min(a.size, b.size) < 2:
        raise ValueError(f"an interval needs at least 2 numbers of each, got {a.size} and {b.size}")
    below_high = (np.searchsorted(a, b, "left") + np.searchsorted(a, b, "right")) / (2 * a.size)
    below_low = (np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")) / (2 * b.size)
    error = math.sqrt(below_high.var(ddof=1) / b.size + below_low.var(ddof=1) / a.size)
    return Figure(value, _by_logit(value, error), b.size, a.size, name)


def aupr_figure(low: Any, high: Any, name: str, seed: int = 0) -> Figure:
    """The area under the precision-recall curve with a bootstrap interval, both sets drawn anew.

    Sets that do not overlap have no interval, as of `auroc_figure`.

    Args:
        low: Numbers of the set that ought to have the lower ones `[N]`.
        high: Numbers of the other set `[M]`, the positives.
        name: What the numbers are, to stand beside the figure.
        seed: Of the draws.

    Returns:
        The figure; `num` is M and `num_reference` N, of which it depends.

    Raises:
        ValueError: A set is empty, or holds NaN.
    """
    value, random = aupr(low, high), np.random.default_rng(seed)
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (low, high))
    drawn = [aupr(random.choice(a, a.size), random.choice(b, b.size)) for _ in range(_DRAWS)]
    bottom, top = (float(end) for end in np.quantile(drawn, [0.025, 0.975]))
    return Figure(value, (bottom, top) if bottom < top else None, b.size, a.size, name)


def _by_logit(value: float, error: float) -> tuple[float, float] | None:
    """An interval of a share that stays within 0 .. 1; none where the error is not known."""
    if error == 0.0:
        return None
    centre, width = math.log(value / (1 - value)), _NORMAL * error / (value * (1 - value))
    low, high = centre - width, centre + width
    return 0.5 + 0.5 * math.tanh(low / 2), 0.5 + 0.5 * math.tanh(high / 2)
