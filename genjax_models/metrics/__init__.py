"""The ruler: likelihoods in common units, distances of samples, `evaluate` over a dataset.

A metric is one function, which returns a `Figure`: its `value` is the number.
"""

from genjax_models.metrics.classifier import TrainedClassifier, classifier_of
from genjax_models.metrics.detection import aupr, auroc
from genjax_models.metrics.disentanglement import (
    factor_vae_score,
    grouped,
    mig,
    mutual_information,
    sap,
)
from genjax_models.metrics.evaluate import (
    compare_samples,
    conditions,
    evaluate,
    evaluate_likelihood,
    metrics_of,
)
from genjax_models.metrics.features import ClassifyingExtractor, Extractor
from genjax_models.metrics.figure import Figure, mean_figure
from genjax_models.metrics.frechet import frechet_distance, frechet_floor
from genjax_models.metrics.inception import Inception, inception_score, load_inception
from genjax_models.metrics.kernel import Gaussian, kernel_distance, median_bandwidth, mmd
from genjax_models.metrics.likelihood import (
    LikelihoodStatement,
    bits_per_dim,
    kind_of_likelihood,
    kl_to_truth,
)
from genjax_models.metrics.map_dataset import Metric, combine, map_dataset
from genjax_models.metrics.memorization import Memorization, memorization, nearest_neighbours
from genjax_models.metrics.modes import (
    Coverage,
    Modes,
    classified_modes,
    mode_shares,
    read_channels,
)
from genjax_models.metrics.prdc import PRDC, prdc
from genjax_models.metrics.probes import DCI, dci, dci_of_importances, linear_probe
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
    "classifier_of",
    "combine",
    "compare_samples",
    "conditions",
    "dci",
    "dci_of_importances",
    "distinct_n",
    "evaluate",
    "evaluate_likelihood",
    "factor_vae_score",
    "frechet_distance",
    "frechet_floor",
    "grouped",
    "inception_score",
    "kernel_distance",
    "kind_of_likelihood",
    "kl_to_truth",
    "linear_probe",
    "load_inception",
    "longest_copies",
    "map_dataset",
    "mean_figure",
    "median_bandwidth",
    "memorization",
    "metrics_of",
    "mig",
    "mmd",
    "mode_shares",
    "mutual_information",
    "nats_per_token",
    "nearest_neighbours",
    "ngram_overlap",
    "perplexity",
    "prdc",
    "read_channels",
    "relative_perplexity",
    "sap",
    "sliced_wasserstein",
    "wasserstein",
]
