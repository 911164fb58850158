"""Prediction of known factors of variation from all codes: DCI, linear probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from genjax_models.metrics.disentanglement import checked_codes, which_categorical

_TREES, _LEAF = 20, 5


class DCI(NamedTuple):
    """Three properties of codes; higher is better, and 1 is best.

    Attributes:
        disentanglement: Degree to which each code depends on one factor only, 0 .. 1.
        completeness: Degree to which each factor is in one code only, 0 .. 1.
        informativeness: Accuracy or R^2 of predicting the factors from all codes, on held-out
            examples, averaged over factors; below 0 if worse than predicting the mean.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(
    codes: Any, factors: Any, *, categorical: Sequence[bool] | None = None, seed: int = 0
) -> DCI:
    """Disentanglement, completeness and informativeness, from a random forest for each factor.

    Args:
        codes: Codes `[N, d]`, d at least 2.
        factors: Factors `[N, K]`, integers, K at least 2.
        categorical: True for factors with unordered values `[K]`; None if all are ordered.
        seed: Seed of the forests and of the fifth of the examples that is held out.

    Raises:
        ValueError: The arrays do not fit, or there are fewer than 2 codes or factors.

    References:
        Eastwood and Williams 2018, A Framework for the Quantitative Evaluation of Disentangled
        Representations, ICLR, sec. 2 (with lasso or random forests; their informativeness is the
        error of prediction).
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    codes, factors = checked_codes(codes, factors)
    marks = which_categorical(categorical, factors.shape[1])
    learn, held = _split(len(codes), seed)
    # All codes are candidates at each split, so that useless ones are never forced.
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
    """Disentanglement and completeness, from the importance R_ij of code i in predicting factor j.

    D_i = 1 - H_K(P_i.) with P_ij = R_ij / sum_j R_ij, the mean weighed by rho_i = sum_j R_ij / sum
    R; C_j = 1 - H_D(P~_.j) with P~_ij = R_ij / sum_i R_ij, the plain mean. H_B is the entropy to
    the base B.

    Args:
        importances: R `[d, K]`, at least 0 and at least 2 x 2.

    Returns:
        Disentanglement and completeness, 0 .. 1.

    Raises:
        ValueError: R is smaller, has other entries, or a factor without importance.

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
    """Accuracy of a linear model in predicting each factor from all codes.

    Args:
        codes: Codes `[N, d]`.
        factors: Factors `[N, K]`, integers.
        categorical: True for factors with unordered values `[K]`; None if all are ordered.
        seed: Seed of the fifth of the examples that is held out.

    Returns:
        On held-out examples `[K]`, the accuracy of logistic regression for a categorical factor,
        and R^2 of least squares for an ordered one (below 0 if worse than the mean).

    Raises:
        ValueError: The arrays do not fit.

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
    """Random indices for training and for evaluation."""
    order = np.random.default_rng(seed).permutation(num)
    held = max(1, round(held_back * num))
    return order[held:], order[:held]


def _one_less_entropy(r: np.ndarray) -> np.ndarray:
    """1 - H of the shares in each row, H to the base of their number; 0 for a row of zeros."""
    from scipy.special import xlogy

    total = r.sum(1, keepdims=True)
    shares = r / np.where(total > 0, total, 1.0)
    one_less = 1.0 + xlogy(shares, shares).sum(1) / np.log(r.shape[1])
    return np.where(total[:, 0] > 0, one_less, 0.0)
