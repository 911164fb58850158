"""How well one number an example tells two sets apart."""

from __future__ import annotations

from typing import Any

import numpy as np


def auroc(low: Any, high: Any) -> float:
    """The area under the receiver operating characteristic: P(a < b) + 1/2 P(a = b).

    Args:
        low: Numbers of the set that ought to have the lower ones `[N]`: the energies of data. An
            infinite one, as of what a model holds for impossible, is a number like others.
        high: Numbers of the other set `[M]`.

    Returns:
        In [0, 1]: 1 where every number of `low` is below every one of `high`, 0.5 where they are
        alike.

    Raises:
        ValueError: A set is empty, or holds NaN.

    References:
        Mann and Whitney 1947, On a test of whether one of two random variables is stochastically
        larger than the other (the statistic U, over N M).
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*ranked(low, high)))


def ranked(low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which of all numbers are of `high`, in {0, 1}, and their ranks, equal ones at one `[N + M]`.

    Raises:
        ValueError: A set is empty, or holds NaN.
    """
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (low, high))
    for name, x in (("low", a), ("high", b)):
        if not x.size or np.isnan(x).any():
            raise ValueError(f"{name} {'holds NaN' if x.size else 'is empty'}: give numbers")
    _, ranks = np.unique(np.concatenate([a, b]), return_inverse=True)
    return np.repeat([0, 1], [a.size, b.size]), ranks
