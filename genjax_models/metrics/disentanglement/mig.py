"""The mutual information gap: whether one code alone knows a factor."""

from __future__ import annotations

from typing import Any

import numpy as np

from genjax_models.metrics.disentanglement.arrays import checked

BINS = 20


def mig(codes: Any, factors: Any, bins: int = BINS) -> float:
    """How much more the best code tells of a factor than the next one does.

    MIG = 1/K sum_k (I(z_j(k); v_k) - max over j != j(k) of I(z_j; v_k)) / H(v_k), where j(k) is the
    code that knows most of factor k. 1 where each factor is in one code alone, 0 where two codes
    know as much. The information is of codes cut into bins of equal width.

    Args:
        codes: Codes `[N, d]`, such as the posteriors' means; 2 at least.
        factors: Whole numbers `[N, k]`.
        bins: Bins of a code.

    Returns:
        0 .. 1.

    Raises:
        ValueError: Arrays that do not fit, or fewer than 2 codes.

    References:
        Chen et al. 2018, Isolating Sources of Disentanglement in Variational Autoencoders,
        arXiv:1802.04942, eq. 6 (they integrate over the posterior).
        Locatello et al. 2019, Challenging Common Assumptions in the Unsupervised Learning of
        Disentangled Representations, arXiv:1811.12359, app. C (means, in 20 bins).
    """
    codes, factors = checked(codes, factors)
    if codes.shape[1] < 2:
        raise ValueError("there is one code: a gap between the best and the next one needs 2")
    information = np.sort(mutual_information(codes, factors, bins), axis=0)
    entropy = np.array([_entropy(np.unique(factor, return_counts=True)[1]) for factor in factors.T])
    return float(np.mean((information[-1] - information[-2]) / entropy))


def mutual_information(codes: Any, factors: Any, bins: int = BINS) -> np.ndarray:
    """I(z_j; v_k) `[d, k]` in nats, of codes cut into bins of equal width.

    Of independent ones it is not 0 but about (bins - 1) (values - 1) / (2 N).

    Args:
        codes: Codes `[N, d]`.
        factors: Whole numbers `[N, k]`.
        bins: Bins of a code.

    Raises:
        ValueError: Arrays that do not fit.
    """
    from sklearn.metrics import mutual_info_score

    codes, factors = checked(codes, factors)
    binned = np.stack([_binned(code, bins) for code in codes.T], axis=1)
    return np.array(
        [[mutual_info_score(factor, code) for factor in factors.T] for code in binned.T]
    )


def _binned(code: np.ndarray, bins: int) -> np.ndarray:
    """The number of each entry's bin, 0 .. bins - 1."""
    edges = np.histogram_bin_edges(code, bins)
    return np.clip(np.digitize(code, edges) - 1, 0, bins - 1)


def _entropy(counts: np.ndarray) -> float:
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log(shares)))
