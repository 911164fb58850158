"""The separated attribute predictability: whether one code alone predicts a factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genjax_models.metrics.disentanglement.arrays import (
    active,
    checked,
    standardized,
    which_categorical,
)


def sap(
    codes: Any,
    factors: Any,
    *,
    categorical: Sequence[bool] | None = None,
    switched_off: Any = None,
) -> float:
    """How much better the best single code predicts a factor than the next one does.

    SAP = 1/K sum_k (S_1k - S_2k), the two highest of S_jk: of an ordered factor R^2 of a line,
    Cov(z_j, v_k)^2 / (Var z_j Var v_k); of a categorical one the balanced accuracy of thresholds on
    z_j alone (a tree of as many leaves as values); 0 of a code that is switched off. A code is, if
    its standard deviation is at most 1 % of the widest code's: right for the means of a VAE, which
    hardly move where the posterior has collapsed, but so the score depends on the codes' scales.
    For codes whose scales say nothing, give `switched_off`.

    Args:
        codes: Codes `[N, d]`, 2 at least.
        factors: Whole numbers `[N, k]`.
        categorical: Whether each factor's values have no order `[k]`; all have one where None.
        switched_off: Which codes are switched off `[d]`, true or 1 for those; by the rule above
            where None. With zeros alone, the score does not depend on the codes' scales.

    Returns:
        0 .. 1. A perfect code has 1 for ordered factors; for one of C categories 1, less the 1 / C
        that guessing has, unless the other codes are switched off.

    Raises:
        ValueError: Arrays that do not fit, fewer than 2 codes, or marks that are not one a code.

    References:
        Kumar et al. 2018, Variational Inference of Disentangled Latent Concepts from Unlabeled
        Observations, arXiv:1711.00848, sec. 3.
    """
    codes, factors = checked(codes, factors)
    marks = which_categorical(categorical, factors.shape[1])
    if codes.shape[1] < 2:
        raise ValueError("there is one code: a gap between the best and the next one needs 2")
    scores = np.stack(
        [_balanced(codes, v) if mark else _squared_correlations(codes, v)
         for v, mark in zip(factors.T, marks, strict=True)],
        axis=1,
    )  # fmt: skip
    scores[~active(codes.std(0), switched_off)] = 0.0
    first, second = np.sort(scores, axis=0)[[-1, -2]]
    return float(np.mean(first - second))


def _squared_correlations(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """R^2 of a line through each code `[d]`."""
    v = factor.astype(np.float64)
    return np.mean(standardized(codes) * ((v - v.mean()) / v.std())[:, None], axis=0) ** 2


def _balanced(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The balanced accuracy of thresholds on each code `[d]`."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    leaves = len(np.unique(factor))
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=0)
    # Trees take differences of less than 1e-7 for none, whatever the scale.
    read = (tree.fit(z, factor).predict(z) for z in standardized(codes).T[:, :, None])
    return np.array([balanced_accuracy_score(factor, values) for values in read])
