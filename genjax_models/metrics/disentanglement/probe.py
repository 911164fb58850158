"""A linear probe: what can be read of the codes by a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genjax_models.metrics.disentanglement.arrays import checked, parted, which_categorical


def linear_probe(
    codes: Any, factors: Any, *, categorical: Sequence[bool] | None = None, seed: int = 0
) -> np.ndarray:
    """How well each factor is predicted from all codes by a linear model.

    Args:
        codes: Codes `[N, d]`.
        factors: Whole numbers `[N, k]`.
        categorical: Whether each factor's values have no order `[k]`; all have one where None.
        seed: Decides the fifth of the examples that is held back.

    Returns:
        On examples that were held back `[k]`: the accuracy of logistic regression for a categorical
        factor, R^2 of least squares for an ordered one (below 0 where worse than the mean).

    Raises:
        ValueError: Arrays that do not fit.

    References:
        Alain and Bengio 2016, Understanding intermediate layers using linear classifier probes,
        arXiv:1610.01644.
    """
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes, factors = checked(codes, factors)
    marks = which_categorical(categorical, factors.shape[1])
    learn, held = parted(len(codes), seed)
    scores = []
    for v, mark in zip(factors.T, marks, strict=True):
        line = LogisticRegression(max_iter=1000) if mark else LinearRegression()
        model = make_pipeline(StandardScaler(), line).fit(codes[learn], v[learn])
        scores.append(model.score(codes[held], v[held]))
    return np.array(scores)
