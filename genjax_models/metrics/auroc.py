"""How well one number an example tells two sets apart."""

from __future__ import annotations

from typing import Any

import numpy as np


def auroc(low: Any, high: Any) -> float:
    """The area under the receiver operating characteristic: P(a < b) + 1/2 P(a = b).

    Args:
        low: Numbers of the set that ought to have the lower ones `[N]`: the energies of data.
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
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (low, high))
    for name, x in (("low", a), ("high", b)):
        if not x.size or np.isnan(x).any():
            raise ValueError(f"{name} {'holds NaN' if x.size else 'is empty'}: give numbers")
    from sklearn.metrics import roc_auc_score

    is_high = np.repeat([0, 1], [a.size, b.size])
    return float(roc_auc_score(is_high, np.concatenate([a, b])))
