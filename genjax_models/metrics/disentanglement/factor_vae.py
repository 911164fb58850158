"""The FactorVAE score: which code is still while one factor is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from genjax_models.metrics.disentanglement.arrays import active, checked

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
"""`(random, k, num) -> codes [num, d]` of examples in which factor k has one value, drawn at
random, and the others vary freely."""


def factor_vae_score(
    draw: Draw,
    num_factors: int,
    scale: Any,
    *,
    votes: int = 800,
    batch_size: int = 64,
    seed: int = 0,
    switched_off: Any = None,
) -> float:
    """How surely the code that varies least tells which factor was held fixed.

    A vote is a factor k drawn at random, a batch of codes with that factor fixed, and the code d*
    of the smallest variance, each code in units of its own standard deviation over all data. The
    classifier d* -> k is the majority of half of the votes; the score is how many of the others it
    tells right. Codes that are switched off take no part: by default those whose standard deviation
    is at most 1 % of the widest code's. That is right for the means of a VAE, which hardly move
    where the posterior has collapsed, but so the score depends on the codes' scales. For codes
    whose scales say nothing, give `switched_off`.

    Args:
        draw: See `Draw`; `grouped` makes one of arrays.
        num_factors: Number of factors K.
        scale: Standard deviation of each code over all data `[d]`.
        votes: Votes to learn from, and as many again to count.
        batch_size: Codes of a vote.
        seed: Decides all draws.
        switched_off: Which codes are switched off `[d]`, true or 1 for those; by the rule above
            where None. With zeros alone, the score does not depend on the codes' scales.

    Returns:
        0 .. 1; 1 / K is what codes that know nothing have.

    Raises:
        ValueError: No code varies, one that is kept does not, or marks that are not one a code.

    References:
        Kim and Mnih 2018, Disentangling by Factorising, arXiv:1802.05983, sec. 4 and app. B (they
        count on the votes that were learned from).
    """
    scale = np.asarray(scale, np.float64)
    kept = np.flatnonzero(active(scale, switched_off))
    if len(kept) == 0:
        raise ValueError("no code varies: there is nothing to tell factors by")
    still = kept[~(scale[kept] > 0)].tolist()
    if still:
        raise ValueError(f"codes {still} never vary: mark them in switched_off")
    random = np.random.default_rng(seed)
    ballots = np.zeros((2, len(kept), num_factors), int)
    for half, _ in np.ndindex(2, votes):
        k = int(random.integers(num_factors))
        codes = np.asarray(draw(random, k, batch_size), np.float64)[:, kept] / scale[kept]
        ballots[half, np.argmin(codes.var(0)), k] += 1
    learned, counted = ballots
    right = counted[np.arange(len(kept)), learned.argmax(1)].sum()
    return float(right / votes)


def grouped(codes: Any, factors: Any) -> Draw:
    """Draws codes with one factor fixed from arrays, with replacement.

    The value is that of an example drawn at random, so each is as likely as it is in the data.

    Args:
        codes: Codes `[N, d]`.
        factors: Whole numbers `[N, k]`; the other factors vary freely if all combinations occur.

    Raises:
        ValueError: Arrays that do not fit.
    """
    codes, factors = checked(codes, factors)
    rows = [
        {value: np.flatnonzero(factor == value) for value in np.unique(factor).tolist()}
        for factor in factors.T
    ]

    def draw(random: np.random.Generator, k: int, num: int) -> np.ndarray:
        value = factors[random.integers(len(factors)), k]
        return codes[random.choice(rows[k][int(value)], num)]

    return draw
