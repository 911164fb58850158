"""Disentanglement of codes given known factors of variation: MIG, SAP, FactorVAE score.

These metrics judge single codes; `probes` has predictors from all codes together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

INACTIVE = 1e-2
"""Standard deviation, as a share of the widest code's, up to which a code counts as inactive: the
mean of a VAE's code that has collapsed to the prior hardly moves."""


BINS = 20
FixedFactorSampler = Callable[[np.random.Generator, int, int], np.ndarray]
"""`(random, k, num) -> codes [num, d]` of examples that share one value of factor k, drawn at
random, while the other factors vary freely."""


def mig(codes: Any, factors: Any, bins: int = BINS) -> float:
    """Mutual information gap between the two codes most informative of each factor.

    MIG = 1/K sum_k (I(z_j(k); v_k) - max over j != j(k) of I(z_j; v_k)) / H(v_k), where j(k) is the
    code with the most information on factor k. The information is of codes cut into bins of equal
    width.

    Args:
        codes: Codes `[N, d]`, such as means of the posterior; d at least 2.
        factors: Factors `[N, K]`, integers.
        bins: Number of bins of a code.

    Returns:
        0 .. 1: 1 if each factor is in one code alone, 0 if two codes are equally informative.

    Raises:
        ValueError: The arrays do not fit, or there are fewer than 2 codes.

    References:
        Chen et al. 2018, Isolating Sources of Disentanglement in Variational Autoencoders,
        arXiv:1802.04942, eq. 6 (they integrate over the posterior).
        Locatello et al. 2019, Challenging Common Assumptions in the Unsupervised Learning of
        Disentangled Representations, arXiv:1811.12359, app. C (means, in 20 bins).
    """
    codes, factors = checked_codes(codes, factors)
    if codes.shape[1] < 2:
        raise ValueError("there is one code: a gap between the best and the next one needs 2")
    information = np.sort(mutual_information(codes, factors, bins), axis=0)
    entropy = np.array([_entropy(np.unique(factor, return_counts=True)[1]) for factor in factors.T])
    return float(np.mean((information[-1] - information[-2]) / entropy))


def mutual_information(codes: Any, factors: Any, bins: int = BINS) -> np.ndarray:
    """Mutual information I(z_j; v_k) `[d, K]` in nats, of codes cut into bins of equal width.

    For independent codes it is not 0 but about (bins - 1) (values - 1) / (2 N).

    Args:
        codes: Codes `[N, d]`.
        factors: Factors `[N, K]`, integers.
        bins: Number of bins of a code.

    Raises:
        ValueError: The arrays do not fit.
    """
    from sklearn.metrics import mutual_info_score

    codes, factors = checked_codes(codes, factors)
    binned = np.stack([_binned(code, bins) for code in codes.T], axis=1)
    return np.array(
        [[mutual_info_score(factor, code) for factor in factors.T] for code in binned.T]
    )


def sap(
    codes: Any,
    factors: Any,
    *,
    categorical: Sequence[bool] | None = None,
    inactive: Any = None,
) -> float:
    """Separated attribute predictability: gap between the two codes that predict a factor best.

    SAP = 1/K sum_k (S_1k - S_2k), the two highest of S_jk. For an ordered factor S_jk is R^2 of a
    line, Cov(z_j, v_k)^2 / (Var z_j Var v_k); for a categorical one the balanced accuracy of
    thresholds on z_j alone (a tree with as many leaves as values); for an inactive code 0. By
    default a code is inactive if its standard deviation is at most 1 % of the largest. That
    suits the means of a VAE, nearly constant if the posterior has collapsed, but makes the
    score depend on the codes' scales; if these are arbitrary, give `inactive`.

    Args:
        codes: Codes `[N, d]`, d at least 2.
        factors: Factors `[N, K]`, integers.
        categorical: True for factors with unordered values `[K]`; None if all are ordered.
        inactive: True or 1 for inactive codes `[d]`; by default, by the rule above.
            With zeros only, the score does not depend on the codes' scales.

    Returns:
        0 .. 1. A perfect code has 1 for an ordered factor; for one of C categories it has 1 less
        the 1 / C of guessing, unless the other codes are inactive.

    Raises:
        ValueError: The arrays do not fit, there are fewer than 2 codes, or not one mark a code.

    References:
        Kumar et al. 2018, Variational Inference of Disentangled Latent Concepts from Unlabeled
        Observations, arXiv:1711.00848, sec. 3.
    """
    codes, factors = checked_codes(codes, factors)
    marks = which_categorical(categorical, factors.shape[1])
    if codes.shape[1] < 2:
        raise ValueError("there is one code: a gap between the best and the next one needs 2")
    scores = np.stack(
        [_balanced(codes, v) if mark else _squared_correlations(codes, v)
         for v, mark in zip(factors.T, marks, strict=True)],
        axis=1,
    )  # fmt: skip
    scores[~_active(codes.std(0), inactive)] = 0.0
    first, second = np.sort(scores, axis=0)[[-1, -2]]
    return float(np.mean(first - second))


def factor_vae_score(
    draw: FixedFactorSampler,
    num_factors: int,
    scale: Any,
    *,
    votes: int = 800,
    batch_size: int = 64,
    seed: int = 0,
    inactive: Any = None,
) -> float:
    """FactorVAE score: accuracy of predicting the fixed factor from the code of least variance.

    A vote is a factor k drawn at random, a batch of codes with that factor fixed, and the code d*
    of the smallest variance, each code in units of its own standard deviation over all data. The
    classifier d* -> k is the majority of half of the votes; the score is its accuracy on the other
    half. Inactive codes are excluded: by default those with a standard deviation of at most 1 % of
    the largest. That suits the means of a VAE, nearly constant if the posterior has collapsed,
    but makes the score depend on the codes' scales; if these are arbitrary, give `inactive`.

    Args:
        draw: Draws codes with one factor fixed; `fixed_factor_sampler` makes one from arrays.
        num_factors: Number of factors K.
        scale: Standard deviation of each code over all data `[d]`.
        votes: Number of votes to learn from, and again to count.
        batch_size: Number of codes of a vote.
        seed: Seed of all draws.
        inactive: True or 1 for inactive codes `[d]`; by default, by the rule above.
            With zeros only, the score does not depend on the codes' scales.

    Returns:
        0 .. 1; uninformative codes have 1 / K.

    Raises:
        ValueError: No code varies, an active one does not, or there is not one mark a code.

    References:
        Kim and Mnih 2018, Disentangling by Factorising, arXiv:1802.05983, sec. 4 and app. B (they
        count on the votes that were learned from).
    """
    scale = np.asarray(scale, np.float64)
    kept = np.flatnonzero(_active(scale, inactive))
    if len(kept) == 0:
        raise ValueError("no code varies: there is nothing to tell factors by")
    still = kept[~(scale[kept] > 0)].tolist()
    if still:
        raise ValueError(f"codes {still} never vary: mark them in inactive")
    random = np.random.default_rng(seed)
    ballots = np.zeros((2, len(kept), num_factors), int)
    for half, _ in np.ndindex(2, votes):
        k = int(random.integers(num_factors))
        codes = np.asarray(draw(random, k, batch_size), np.float64)[:, kept] / scale[kept]
        ballots[half, np.argmin(codes.var(0)), k] += 1
    learned, counted = ballots
    right = counted[np.arange(len(kept)), learned.argmax(1)].sum()
    return float(right / votes)


def fixed_factor_sampler(codes: Any, factors: Any) -> FixedFactorSampler:
    """Makes a sampler that draws codes with one factor fixed from arrays, with replacement.

    The fixed value is that of an example drawn at random, so it is as likely as in the data.

    Args:
        codes: Codes `[N, d]`.
        factors: Factors `[N, K]`, integers; the other factors vary freely if all combinations
            occur.

    Raises:
        ValueError: The arrays do not fit.
    """
    codes, factors = checked_codes(codes, factors)
    rows = [
        {value: np.flatnonzero(factor == value) for value in np.unique(factor).tolist()}
        for factor in factors.T
    ]

    def draw(random: np.random.Generator, k: int, num: int) -> np.ndarray:
        value = factors[random.integers(len(factors)), k]
        return codes[random.choice(rows[k][int(value)], num)]

    return draw


def checked_codes(codes: Any, factors: Any, fewest: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Codes `[N, d]` and factors `[N, K]` as arrays.

    Raises:
        ValueError: The shapes do not fit, a code is not finite, factors are not integers or do not
            vary, or there are too few examples.
    """
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise ValueError(
            f"codes have shape {codes.shape} and factors {factors.shape}: give [N, d] and [N, k] of"
            " the same N examples"
        )
    if len(codes) < fewest:
        raise ValueError(f"there are {len(codes)} examples: at least {fewest} are needed")
    if not np.isfinite(codes).all():
        raise ValueError("codes are NaN or infinite: leave out those examples, or mend the encoder")
    if not np.issubdtype(factors.dtype, np.integer):
        raise ValueError(
            f"factors are {factors.dtype}: give the number of each value, a whole one (np.unique's"
            " return_inverse makes them)"
        )
    for k, factor in enumerate(factors.T):
        if (factor == factor[0]).all():
            raise ValueError(f"factor {k} is {factor[0]} everywhere: leave it out")
    return codes, factors


def which_categorical(categorical: Sequence[bool] | None, num: int) -> list[bool]:
    """Returns True for each categorical (unordered) factor; by default none is.

    Raises:
        ValueError: There is not one mark a factor.
    """
    marks = [False] * num if categorical is None else [bool(mark) for mark in categorical]
    if len(marks) != num:
        raise ValueError(f"categorical has {len(marks)} marks and there are {num} factors")
    return marks


def _standardized(codes: np.ndarray) -> np.ndarray:
    """Codes of mean 0 and variance 1; a constant one becomes 0."""
    spread = codes.std(0)
    return (codes - codes.mean(0)) / np.where(spread > 0, spread, 1.0)


def _active(scale: np.ndarray, inactive: Any = None) -> np.ndarray:
    """Returns True for each active code `[d]`.

    Args:
        scale: Standard deviations of the codes `[d]`.
        inactive: True or 1 for inactive codes `[d]`; by default, by `INACTIVE`.

    Raises:
        ValueError: There is not one mark a code, or one is neither true nor false.
    """
    if inactive is None:
        return scale > INACTIVE * scale.max()
    marks = np.asarray(inactive)
    if marks.shape != scale.shape or not np.isin(marks, (0, 1)).all():
        raise ValueError(
            f"inactive has shape {marks.shape}: give {len(scale)} marks, one a code, true (or "
            "1) for those to leave out and false (or 0) for the others"
        )
    return ~marks.astype(bool)


def _binned(code: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each entry, 0 .. bins - 1."""
    edges = np.histogram_bin_edges(code, bins)
    return np.clip(np.digitize(code, edges) - 1, 0, bins - 1)


def _entropy(counts: np.ndarray) -> float:
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


def _squared_correlations(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """R^2 of a line through each code `[d]`."""
    v = factor.astype(np.float64)
    return np.mean(_standardized(codes) * ((v - v.mean()) / v.std())[:, None], axis=0) ** 2


def _balanced(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Balanced accuracy of thresholds on each code `[d]`."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    leaves = len(np.unique(factor))
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=0)
    # Trees ignore differences of less than 1e-7, whatever the scale.
    read = (tree.fit(z, factor).predict(z) for z in _standardized(codes).T[:, :, None])
    return np.array([balanced_accuracy_score(factor, values) for values in read])
