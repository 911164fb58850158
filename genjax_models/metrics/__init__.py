"""Metrics: likelihoods in common units, distances of samples, `evaluate` over a dataset.

A metric is one function, which returns a `Figure`: its `value` is the number.
"""

from genjax_models.metrics.classifier import TrainedClassifier, load_classifier
from genjax_models.metrics.detection import aupr, auroc
from genjax_models.metrics.disentanglement import (
    factor_vae_score,
    fixed_factor_sampler,
    mig,
    mutual_information,
    sap,
)
from genjax_models.metrics.evaluate import (
    compare_samples,
    conditions,
    default_metrics,
    evaluate,
    evaluate_likelihood,
)
from genjax_models.metrics.features import CachedExtractor, ClassifyingExtractor, Extractor
from genjax_models.metrics.figure import Figure, mean_figure
from genjax_models.metrics.frechet import frechet_distance, frechet_floor
from genjax_models.metrics.inception import Inception, inception_score, load_inception
from genjax_models.metrics.kernel import Gaussian, kernel_distance, median_bandwidth, mmd
from genjax_models.metrics.likelihood import (
    LikelihoodStatement,
    bits_per_dim,
    kl_to_truth,
    likelihood_kind,
)
from genjax_models.metrics.map_dataset import Metric, combine, map_dataset
from genjax_models.metrics.memorization import Memorization, memorization, nearest_neighbours
from genjax_models.metrics.modes import (
    Coverage,
    Modes,
    classified_modes,
    classify_channels,
    mode_shares,
)
from genjax_models.metrics.prdc import PRDC, prdc
from genjax_models.metrics.probes import DCI, dci, dci_from_importances, linear_probe
from genjax_models.metrics.text import (
    bits_per_character,
    distinct_n,
    longest_copies,
    nats_per_token,
    ngram_overlap,
    perplexity,
    relative_perplexity,
)
from genjax_models.metrics.wasserstein import sliced_wasserstein, wasserstein

__all__ = [
    "DCI",
    "PRDC",
    "CachedExtractor",
    "ClassifyingExtractor",
    "Coverage",
    "Extractor",
    "Figure",
    "Gaussian",
    "Inception",
    "LikelihoodStatement",
    "Memorization",
    "Metric",
    "Modes",
    "TrainedClassifier",
    "aupr",
    "auroc",
    "bits_per_character",
    "bits_per_dim",
    "classified_modes",
    "classify_channels",
    "combine",
    "compare_samples",
    "conditions",
    "dci",
    "dci_from_importances",
    "default_metrics",
    "distinct_n",
    "evaluate",
    "evaluate_likelihood",
    "factor_vae_score",
    "fixed_factor_sampler",
    "frechet_distance",
    "frechet_floor",
    "inception_score",
    "kernel_distance",
    "kl_to_truth",
    "likelihood_kind",
    "linear_probe",
    "load_classifier",
    "load_inception",
    "longest_copies",
    "map_dataset",
    "mean_figure",
    "median_bandwidth",
    "memorization",
    "mig",
    "mmd",
    "mode_shares",
    "mutual_information",
    "nats_per_token",
    "nearest_neighbours",
    "ngram_overlap",
    "perplexity",
    "prdc",
    "relative_perplexity",
    "sap",
    "sliced_wasserstein",
    "wasserstein",
]
