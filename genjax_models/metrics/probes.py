"""What predictors read of codes where the factors of variation are known: DCI, linear probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from genjax_models.metrics.disentanglement import checked_codes, which_categorical

_TREES, _LEAF = 20, 5


class DCI(NamedTuple):
    """Three properties of codes, each 0 .. 1 and the higher the better.

    Attributes:
        disentanglement: Whether each code is about one factor alone.
        completeness: Whether each factor is in one code alone.
        informativeness: How well all codes together predict the factors: the mean over factors of
            the accuracy, or R^2, on examples that were held back; below 0 where worse than the
            mean.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(
    codes: Any, factors: Any, *, categorical: Sequence[bool] | None = None, seed: int = 0
) -> DCI:
    """How a random forest that predicts each factor uses the codes.

    Args:
        codes: Codes `[N, d]`, 2 at least.
        factors: Whole numbers `[N, k]`, of 2 factors at least.
        categorical: Whether each factor's values have no order `[k]`; all have one where None.
        seed: Decides the forests, and the fifth of the examples that is held back.

    Returns:
        See `DCI`.

    Raises:
        ValueError: Arrays that do not fit, or fewer than 2 codes or factors.

    References:
        Eastwood and Williams 2018, A Framework for the Quantitative Evaluation of Disentangled
        Representations, ICLR, sec. 2 (with lasso or random forests; their informativeness is the
        error of prediction).
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    codes, factors = checked_codes(codes, factors)
    marks = which_categorical(categorical, factors.shape[1])
    learn, held = _split(len(codes), seed)
    # All codes may be taken at each split: else a useless one is where the useful are not asked.
    settings: dict[str, Any] = {"max_features": None, "random_state": seed}
    settings |= {"n_estimators": _TREES, "min_samples_leaf": _LEAF}
    importances, scores = [], []
    for v, mark in zip(factors.T, marks, strict=True):
        forest = (RandomForestClassifier if mark else RandomForestRegressor)(**settings)
        forest.fit(codes[learn], v[learn])
        importances.append(forest.feature_importances_)
        scores.append(forest.score(codes[held], v[held]))
    disentanglement, completeness = dci_from_importances(np.stack(importances, axis=1))
    return DCI(disentanglement, completeness, float(np.mean(scores)))


def dci_from_importances(importances: Any) -> tuple[float, float]:
    """Disentanglement and completeness of R_ij, how much code i counts in predicting factor j.

    D_i = 1 - H_K(P_i.) with P_ij = R_ij / sum_j R_ij, the mean weighed by rho_i = sum_j R_ij / sum
    R; C_j = 1 - H_D(P~_.j) with P~_ij = R_ij / sum_i R_ij, the plain mean. H_B is the entropy to
    the base B.

    Args:
        importances: R `[d, k]`, 0 or above, 2 x 2 at least.

    Returns:
        Both, 0 .. 1.

    Raises:
        ValueError: R is smaller or has other entries.

    References:
        Eastwood and Williams 2018, sec. 2.
    """
    r = np.asarray(importances, np.float64)
    if r.ndim != 2 or min(r.shape) < 2 or not (r >= 0).all() or not (r.sum(0) > 0).all():
        raise ValueError(
            f"importances have shape {r.shape}: give [d, k] of 2 codes and 2 factors at least, 0 or"
            " above, and one above 0 for each factor"
        )
    weights = r.sum(1) / r.sum()
    return float(weights @ _one_less_entropy(r)), float(np.mean(_one_less_entropy(r.T)))


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

    codes, factors = checked_codes(codes, factors)
    marks = which_categorical(categorical, factors.shape[1])
    learn, held = _split(len(codes), seed)
    scores = []
    for v, mark in zip(factors.T, marks, strict=True):
        line = LogisticRegression(max_iter=1000) if mark else LinearRegression()
        model = make_pipeline(StandardScaler(), line).fit(codes[learn], v[learn])
        scores.append(model.score(codes[held], v[held]))
    return np.array(scores)


def _split(num: int, seed: int, held_back: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Indices to learn from and indices to measure on, at random."""
    order = np.random.default_rng(seed).permutation(num)
    held = max(1, round(held_back * num))
    return order[held:], order[:held]


def _one_less_entropy(r: np.ndarray) -> np.ndarray:
    """1 - H of each row's shares, to the base of their number; 0 of a row of zeros."""
    from scipy.special import xlogy

    total = r.sum(1, keepdims=True)
    shares = r / np.where(total > 0, total, 1.0)
    one_less = 1.0 + xlogy(shares, shares).sum(1) / np.log(r.shape[1])
    return np.where(total[:, 0] > 0, one_less, 0.0)
