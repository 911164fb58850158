"""Distances between samples and real examples, as an extractor of features sees them."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from genjax_models.core.types import Key
from genjax_models.metrics.frechet import frechet_estimate, two_halves

_GROUPS = 20
_QUANTILE = 2.093
"""97.5 % of Student's t with 19 degrees of freedom, one fewer than groups."""


class Extractor(Protocol):
    """Turns examples into features; `TrainedClassifier` is one."""

    @property
    def name(self) -> str:
        """What it is, to stand beside every figure that is made with it."""
        ...

    def features(self, x: Any) -> np.ndarray:
        """Features `[N, D]` of examples `[N, ...]`."""
        ...


class FrechetDistance(NamedTuple):
    """A Fréchet distance, and what must be known to compare it.

    Attributes:
        value: The (squared) distance of the samples to the reference.
        interval: Of 95 % confidence, for these numbers of samples, whose bias it does not tell.
        two_halves: The distance between two halves of the reference.
        num: Number of samples.
        num_reference: Number of real examples.
        extractor: Name of the extractor.
    """

    value: float
    interval: tuple[float, float]
    two_halves: float
    num: int
    num_reference: int
    extractor: str

    def __str__(self) -> str:
        """All of it in a line."""
        low, high = self.interval
        return (
            f"Fréchet distance {self.value:.4g} ({low:.4g} to {high:.4g}) of {self.num:,} samples "
            f"to {self.num_reference:,} real ones, two halves of which are {self.two_halves:.4g} "
            f"apart ({self.extractor})"
        )


def frechet_distance(
    extractor: Extractor, samples: Any, reference: Any, *, key: Key | None = None
) -> FrechetDistance:
    """The Fréchet distance of samples to real examples.

    Args:
        extractor: What makes the features.
        samples: Examples that a model drew `[N, ...]`, in no order.
        reference: Real ones `[M, ...]`, in no order, usually of the test split.
        key: What decides the halves of the reference; a fixed one where None.

    Returns:
        The figure with all that stands beside it.

    Raises:
        ValueError: What the extractor refuses, or too few of either: of D features, a little more
            than D samples are needed and 2 (D + 1) real ones.
    """
    key = jax.random.key(0) if key is None else key
    x, y = extractor.features(samples), extractor.features(reference)
    value, error = frechet_estimate(x, y, _GROUPS)
    interval = max(0.0, value - _QUANTILE * error), value + _QUANTILE * error
    return FrechetDistance(value, interval, two_halves(y, key), len(x), len(y), extractor.name)
