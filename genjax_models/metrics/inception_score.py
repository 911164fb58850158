"""The Inception Score: how sure a classifier is of each sample, and how varied its answers are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genjax_models.metrics.checks import at_least, checked
from genjax_models.metrics.divergence import Estimate


def inception_score(logits: Any, *, splits: int = 10, seed: int = 2020) -> Estimate:
    """`exp(E_x KL(p(y | x) || p(y)))`, the mean over disjoint splits of the samples.

    From 1 to the number of classes. It grows with the size of a split: compare figures of the same
    numbers. It knows no reference: real images have their own. The splits are those of
    torch-fidelity, and the figure is its figure.

    Args:
        logits: Of each sample `[N, K]`. Inception's are taken without their bias, as ever.
        splits: How many.
        seed: Decides the order that is split.

    Returns:
        The mean over splits, 1 .. K, and its standard error: their standard deviation, which papers
        report (with N in place of N - 1), over the root of their number; NaN of one split.

    Raises:
        ValueError: Logits that are NaN, a split without samples, or a single class.

    References:
        Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498 (sec. 4).
        Barratt and Sharma 2018, A Note on the Inception Score, arXiv:1801.01973.
    """
    logits = checked(logits)
    num, classes = logits.shape
    if classes < 2:
        raise ValueError("the logits are of 1 class, and the Inception Score needs 2 at least")
    if splits < 1:
        raise ValueError(f"splits is {splits}: give at least 1")
    at_least(num, splits, f"Inception Score of {splits} splits")
    logits = logits[np.random.RandomState(seed).permutation(num)]
    top = logits.max(axis=1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    scores = [_score(log_p[i * num // splits : (i + 1) * num // splits]) for i in range(splits)]
    error = float(np.std(scores, ddof=1)) / math.sqrt(splits) if splits > 1 else math.nan
    return Estimate(float(np.mean(scores)), error)


def _score(log_p: np.ndarray) -> float:
    p = np.exp(log_p)
    marginal = np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny)
    return float(np.exp((p * (log_p - np.log(marginal))).sum(axis=1).mean()))
