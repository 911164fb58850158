"""Every figure of samples beside real examples, from one pass of an extractor."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from genjax_models.core.types import Key
from genjax_models.metrics.divergence import Estimate
from genjax_models.metrics.features import Extractor, Reader
from genjax_models.metrics.figure import Figure, interval_of, interval_of_share
from genjax_models.metrics.frechet import frechet_estimate
from genjax_models.metrics.inception_score import inception_score
from genjax_models.metrics.kernel import mmd_estimate
from genjax_models.metrics.manifold import manifold_estimates

_SPLITS = 10


def compare_samples(
    extractor: Extractor, samples: Any, reference: Any, *, key: Key | None = None
) -> dict[str, Figure]:
    """How samples differ from real examples, as an extractor sees both.

    Figures of other numbers of samples, or of another extractor, cannot be compared with these.

    Args:
        extractor: What makes the features, and logits where it is a `Reader`.
        samples: Examples that a model drew `[N, ...]`.
        reference: Real ones `[M, ...]`, usually of the test split.
        key: What decides the groups that are left out for the intervals; a fixed one where None.

    Returns:
        `frechet_distance`, squared (`frechet`); `kernel_distance`, KID from all pairs
        (`kernel.mmd_estimate`); `precision`, `recall`, `density` and `coverage` with 5 neighbours
        (`manifold`), whose intervals are rather too wide; and, of a `Reader`,
        `inception_score` over 10 splits (`inception_score`).

    Raises:
        ValueError: What the extractor refuses, or too few of either, with the number that is
            needed: of D features, a little more than D.
    """
    key = jax.random.key(0) if key is None else key
    # In no order: what is sorted by class would make groups that differ too much.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    samples, reference = (rng.permutation(np.asarray(a)) for a in (samples, reference))
    logits = None
    if isinstance(extractor, Reader):
        x, logits = extractor.read(samples)
    else:
        x = extractor.features(samples)
    y = extractor.features(reference)
    num, num_reference = len(x), len(y)

    def figure(
        estimate: Estimate, interval: tuple[float, float] | None, against: int = num_reference
    ) -> Figure:
        return Figure(estimate.value, interval, num, against, extractor.name)

    frechet, kernel = frechet_estimate(x, y), mmd_estimate(x, y)
    shares = manifold_estimates(x, y)
    density = shares["density"]
    figures = {
        "frechet_distance": figure(frechet, interval_of(frechet, at_least=0.0)),
        "kernel_distance": figure(kernel, interval_of(kernel)),
        "precision": figure(shares["precision"], interval_of_share(shares["precision"], num)),
        "recall": figure(shares["recall"], interval_of_share(shares["recall"], num_reference)),
        "density": figure(density, interval_of(density, at_least=0.0)),
        "coverage": figure(
            shares["coverage"], interval_of_share(shares["coverage"], num_reference)
        ),
    }
    if logits is not None:
        score = inception_score(logits, splits=_SPLITS)
        interval = interval_of(score, _SPLITS, at_least=1.0)
        figures["inception_score"] = figure(score, interval, against=0)
    return figures
