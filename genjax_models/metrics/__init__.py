"""The ruler: likelihood in common units, and `evaluate` over a data set."""

from genjax_models.metrics.evaluate import Metric, conditions, evaluate, metrics_of
from genjax_models.metrics.likelihood import bits_per_dim, kind_of_likelihood

__all__ = ["Metric", "bits_per_dim", "conditions", "evaluate", "kind_of_likelihood", "metrics_of"]
