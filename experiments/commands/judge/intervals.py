"""From counts of judgements to figures with their 95 % intervals."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.95


class Rate(NamedTuple):
    """A share with its interval, all three 0 .. 1.

    Attributes:
        value: The share.
        low: The interval's lower end.
        high: Its upper end.
    """

    value: float
    low: float
    high: float


def rate(count: int, num: int) -> Rate:
    """A share with Wilson's interval, which holds for few judgements, and near 0 and 1.

    Args:
        count: Judgements of one kind.
        num: All judgements, 1 at least.

    References:
        Wilson 1927, Probable inference, the law of succession, and statistical inference, JASA 22.
    """
    from scipy.stats import binomtest

    low, high = binomtest(count, num).proportion_ci(LEVEL, "wilson")
    return Rate(count / num, float(low), float(high))


def mean_of(first: Rate, second: Rate) -> Rate:
    """The mean of two independent rates: HYPE, of the errors on generated and on real examples.

    Its interval is of the squares of theirs (Zou and Donner's MOVER):
    low = mean - sqrt((p_1 - low_1)^2 + (p_2 - low_2)^2) / 2, and high alike.

    References:
        Zou and Donner 2008, Construction of confidence limits about effect measures, Statistics in
        Medicine 27.
        Zhou et al. 2019, HYPE, arXiv:1904.01121, sec. 2.2: the share of all examples, half of them
        real, that people judge wrongly; 0.5 is what guessing gives.
    """
    mean = (first.value + second.value) / 2
    below = math.hypot(first.value - first.low, second.value - second.low) / 2
    above = math.hypot(first.high - first.value, second.high - second.value) / 2
    return Rate(mean, mean - below, mean + above)


class Strengths(NamedTuple):
    """Figures of K contestants from pairwise preferences.

    Attributes:
        values: Log strengths `[K]`, which sum to 0: that i is preferred to j has the log odds
            values[i] - values[j].
        covariance: Theirs `[K, K]`.
    """

    values: np.ndarray
    covariance: np.ndarray

    @property
    def intervals(self) -> np.ndarray:
        """The values' intervals `[K, 2]`."""
        from scipy.stats import norm

        half = norm.ppf((1 + LEVEL) / 2) * np.sqrt(np.diag(self.covariance))
        return np.stack([self.values - half, self.values + half], axis=1)


def bradley_terry(wins: Any) -> Strengths | None:
    """The Bradley-Terry model's likeliest strengths: P(i over j) = sigmoid(s_i - s_j).

    Their covariance is the inverse of the Fisher information on strengths that sum to 0.

    Args:
        wins: Number of times that i was preferred to j `[K, K]`; the diagonal does not count.

    Returns:
        The strengths; None where no finite ones are likeliest, since some of the contestants have
        never lost to any of the others, or were never compared with them.

    References:
        Bradley and Terry 1952, Rank analysis of incomplete block designs, Biometrika 39.
        Ford 1957, Solution of a ranking problem from binary comparisons (when there are strengths).
    """
    from scipy.optimize import minimize
    from scipy.sparse.csgraph import connected_components
    from scipy.special import expit, log_expit

    wins = np.array(wins, np.float64)
    np.fill_diagonal(wins, 0.0)
    parts, _ = connected_components(wins > 0, directed=True, connection="strong")
    if parts > 1:
        return None
    games = wins + wins.T

    def difference(s: np.ndarray) -> np.ndarray:
        return s[:, None] - s

    def nll(s: np.ndarray) -> float:
        return float(-np.sum(wins * log_expit(difference(s))))

    def gradient(s: np.ndarray) -> np.ndarray:
        return np.sum(games * expit(difference(s)) - wins, axis=1)

    def information(s: np.ndarray) -> np.ndarray:
        p = expit(difference(s))
        weights = games * p * (1 - p)
        return np.diag(weights.sum(1)) - weights

    # The first strength stays 0: of all of them together the likelihood knows no level.
    found = minimize(
        lambda s: nll(np.append(0.0, s)),
        np.zeros(len(wins) - 1),
        jac=lambda s: gradient(np.append(0.0, s))[1:],
        hess=lambda s: information(np.append(0.0, s))[1:, 1:],
        method="trust-exact",
        options={"gtol": 1e-10 * games.sum()},
    )
    values = np.append(0.0, found.x)
    values -= values.mean()
    return Strengths(values, np.linalg.pinv(information(values), hermitian=True))
