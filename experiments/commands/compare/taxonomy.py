"""The taxonomy of deep generative models, as a model's Protocols say it: no family is named."""

from __future__ import annotations

import dataclasses
from typing import Any

from genjax_models.core import (
    ApproximateDensity,
    Representation,
    TractableDensity,
    UnnormalizedDensity,
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A leaf of the taxonomy.

    Attributes:
        name: Its name.
        explicit: Whether a model of this kind has a density.
        asked: The Protocol that says so.
        meaning: One sentence on the density of an example.
    """

    name: str
    explicit: bool
    asked: str
    meaning: str


TRACTABLE = Kind(
    "tractable", True, "TractableDensity", "log p(x) is computed exactly, in one pass."
)
APPROXIMATE = Kind(
    "approximate", True, "ApproximateDensity", "log p(x) is bounded from below, the ELBO."
)
UNNORMALIZED = Kind(
    "unnormalised", True, "UnnormalizedDensity", "log p(x) is known up to a constant, log Z."
)
IMPLICIT = Kind("implicit", False, "sample alone", "There are samples, and no density.")
KINDS = (TRACTABLE, APPROXIMATE, UNNORMALIZED, IMPLICIT)


def kind_of(model: Any) -> Kind:
    """Place of a model in the taxonomy.

    A model of discrete data that wraps a tractable density of real-valued data stands with that
    density: its own log-probability is a bound because of the noise between the two, no more.
    """
    if isinstance(model, TractableDensity) or is_dequantized(model):
        return TRACTABLE
    if isinstance(model, ApproximateDensity):
        return APPROXIMATE
    return UNNORMALIZED if isinstance(model, UnnormalizedDensity) else IMPLICIT


def is_dequantized(model: Any) -> bool:
    """Whether a bounded density is one by noise alone: a model within it is tractable."""
    if not isinstance(model, ApproximateDensity) or not dataclasses.is_dataclass(model):
        return False
    parts = (getattr(model, field.name) for field in dataclasses.fields(model))
    return any(isinstance(part, TractableDensity) and hasattr(part, "players") for part in parts)


def has_codes(model: Any) -> bool:
    """Whether examples can be encoded and decoded."""
    return isinstance(model, Representation)
