"""What all of these figures ask of their arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray

INACTIVE = 1e-2
"""Standard deviation, as a share of the widest code's, up to which a code counts as switched off: a
VAE's code that has collapsed to the prior has a mean that hardly moves."""


def checked(codes: Any, factors: Any, fewest: int = 10) -> tuple[Array, Array]:
    """Codes `[N, d]` and the numbers of their factors' values `[N, k]`.

    Raises:
        ValueError: Their shapes do not fit, a code is not finite, factors are no whole numbers or
            do not vary, or there are too few examples.
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
    """Whether each factor is a category, whose values have no order; none is where None.

    Raises:
        ValueError: There is not one a factor.
    """
    marks = [False] * num if categorical is None else [bool(mark) for mark in categorical]
    if len(marks) != num:
        raise ValueError(f"categorical has {len(marks)} marks and there are {num} factors")
    return marks


def standardized(codes: Array) -> Array:
    """Codes of mean 0 and variance 1; one that is everywhere the same becomes 0."""
    spread = codes.std(0)
    return (codes - codes.mean(0)) / np.where(spread > 0, spread, 1.0)


def active(scale: Array, switched_off: Any = None) -> Array:
    """Whether each code of these standard deviations `[d]` is one that is not switched off.

    Args:
        scale: Standard deviations `[d]`.
        switched_off: Which codes are `[d]`, true or 1 for those; by `INACTIVE` where None.

    Raises:
        ValueError: There is not one mark a code, or one is neither true nor false.
    """
    if switched_off is None:
        return scale > INACTIVE * scale.max()
    marks = np.asarray(switched_off)
    if marks.shape != scale.shape or not np.isin(marks, (0, 1)).all():
        raise ValueError(
            f"switched_off has shape {marks.shape}: give {len(scale)} marks, one a code, true (or "
            "1) for those to leave out and false (or 0) for the others"
        )
    return ~marks.astype(bool)


def parted(num: int, seed: int, held_back: float = 0.2) -> tuple[Array, Array]:
    """Indices to learn from and indices to measure on, at random."""
    order = np.random.default_rng(seed).permutation(num)
    held = max(1, round(held_back * num))
    return order[held:], order[:held]
