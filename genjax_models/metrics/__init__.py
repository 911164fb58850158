"""The ruler: likelihood in common units, and `evaluate` over a data set."""

from genjax_models.metrics.divergence import Estimate, kl_to_truth
from genjax_models.metrics.evaluate import Metric, conditions, evaluate, metrics_of
from genjax_models.metrics.likelihood import bits_per_dim, kind_of_likelihood
from genjax_models.metrics.text import bits_per_character, nats_per_token, perplexity

__all__ = [
    "Estimate",
    "Metric",
    "bits_per_character",
    "bits_per_dim",
    "conditions",
    "evaluate",
    "kind_of_likelihood",
    "kl_to_truth",
    "metrics_of",
    "nats_per_token",
    "perplexity",
]
