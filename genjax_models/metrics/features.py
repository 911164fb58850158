"""Distances between samples and real examples, as an extractor of features sees them."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from genjax_models.core.types import Key
from genjax_models.metrics.figure import Figure, interval_of
from genjax_models.metrics.frechet import frechet_estimate, frechet_floor


class Extractor(Protocol):
    """Turns examples into features; `TrainedClassifier` and `Inception` are some."""

    @property
    def name(self) -> str:
        """What it is, to stand beside every figure that is made with it."""
        ...

    def features(self, x: Any) -> np.ndarray:
        """Features `[N, D]` of examples `[N, ...]`."""
        ...


@runtime_checkable
class Reader(Extractor, Protocol):
    """An extractor that classifies too; `TrainedClassifier` and `Inception` are some."""

    def read(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features `[N, D]` and logits `[N, K]` of examples `[N, ...]`, in one pass."""
        ...


class FrechetDistance(NamedTuple):
    """A Fréchet distance, and what numbers of samples alone make of it.

    Attributes:
        figure: The (squared) distance of the samples to the reference. Its interval is of these
            numbers of samples, whose bias it does not tell.
        floor: What as many real examples would be expected at (`frechet_floor`).
    """

    figure: Figure
    floor: float

    def __str__(self) -> str:
        """All of it in a line."""
        return f"Fréchet distance {self.figure}; as many real ones: {self.floor:.4g}"


def frechet_distance(
    extractor: Extractor, samples: Any, reference: Any, *, key: Key | None = None
) -> FrechetDistance:
    """The Fréchet distance of samples to real examples.

    Args:
        extractor: What makes the features.
        samples: Examples that a model drew `[N, ...]`.
        reference: Real ones `[M, ...]`, usually of the test split.
        key: What decides the halves of the reference; a fixed one where None.

    Returns:
        The figure with all that stands beside it.

    Raises:
        ValueError: What the extractor refuses, or too few of either: of D features, a little more
            than D samples are needed and 2 (D + 1) real ones.
    """
    key = jax.random.key(0) if key is None else key
    x, y = extractor.features(samples), extractor.features(reference)
    estimate = frechet_estimate(x, y)
    interval = interval_of(estimate, at_least=0.0)
    figure = Figure(estimate.value, interval, len(x), len(y), extractor.name)
    return FrechetDistance(figure, frechet_floor(y, len(x), key))
