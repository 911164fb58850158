"""The ruler: likelihoods in common units, distances of samples, `evaluate` over a data set."""

from genjax_models.metrics.auroc import auroc
from genjax_models.metrics.classifier import TrainedClassifier
from genjax_models.metrics.classifier_cache import classifier_of
from genjax_models.metrics.divergence import Estimate, kl_to_truth
from genjax_models.metrics.evaluate import Metric, conditions, evaluate, metrics_of
from genjax_models.metrics.features import Extractor, FrechetDistance, frechet_distance
from genjax_models.metrics.frechet import frechet, frechet_estimate, two_halves
from genjax_models.metrics.likelihood import bits_per_dim, kind_of_likelihood
from genjax_models.metrics.modes import (
    Coverage,
    Modes,
    classified_modes,
    mode_shares,
    read_channels,
)
from genjax_models.metrics.text import bits_per_character, nats_per_token, perplexity
from genjax_models.metrics.wasserstein import sliced_wasserstein, wasserstein

__all__ = [
    "Coverage",
    "auroc",
    "classified_modes",
    "read_channels",
    "Estimate",
    "Extractor",
    "FrechetDistance",
    "Metric",
    "Modes",
    "TrainedClassifier",
    "bits_per_character",
    "bits_per_dim",
    "classifier_of",
    "conditions",
    "evaluate",
    "frechet",
    "frechet_distance",
    "frechet_estimate",
    "kind_of_likelihood",
    "kl_to_truth",
    "metrics_of",
    "mode_shares",
    "nats_per_token",
    "perplexity",
    "sliced_wasserstein",
    "two_halves",
    "wasserstein",
]
