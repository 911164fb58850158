"""Likelihood in the units that the literature states it in."""

from __future__ import annotations

import math

from genjax_models.core.protocols import ApproximateDensity, Model, TractableDensity
from genjax_models.core.types import DataSpec


def bits_per_dim(nats: float, spec: DataSpec) -> float:
    """Negative log-likelihood of an example in bits an entry: nats / (D ln 2).

    Args:
        nats: -log p(x) of an example, in nats.
        spec: What one example is; D is its number of entries.

    References:
        Theis et al. 2016, A note on the evaluation of generative models, arXiv:1511.01844.
    """
    return nats / (spec.num_dims * math.log(2.0))


def kind_of_likelihood(model: Model, num_samples: int = 1) -> str | None:
    """What a model's likelihood figure is: exact, or a bound; None where it has none."""
    if isinstance(model, TractableDensity):
        return "exact"
    if isinstance(model, ApproximateDensity):
        samples = "1 sample" if num_samples == 1 else f"{num_samples} samples"
        return f"upper bound of the negative log-likelihood, {samples}"
    return None
