"""The ruler: likelihoods in common units, distances of samples, `evaluate` over a data set."""

from genjax_models.metrics.auroc import auroc
from genjax_models.metrics.classifier import TrainedClassifier
from genjax_models.metrics.classifier_cache import classifier_of
from genjax_models.metrics.detection import aupr, aupr_figure, auroc_figure
from genjax_models.metrics.disentanglement import (
    DCI,
    dci,
    dci_of_importances,
    factor_vae_score,
    grouped,
    linear_probe,
    mig,
    mutual_information,
    sap,
)
from genjax_models.metrics.distances import compare_samples
from genjax_models.metrics.divergence import Estimate, kl_to_truth
from genjax_models.metrics.evaluate import (
    Metric,
    conditions,
    evaluate,
    evaluate_likelihood,
    metrics_of,
)
from genjax_models.metrics.features import Extractor, FrechetDistance, frechet_distance
from genjax_models.metrics.figure import Figure
from genjax_models.metrics.frechet import frechet, frechet_estimate, frechet_floor, two_halves
from genjax_models.metrics.inception import Inception, load_inception
from genjax_models.metrics.inception_score import inception_score
from genjax_models.metrics.kernel import kernel_distance, mmd, mmd_estimate
from genjax_models.metrics.likelihood import (
    LikelihoodStatement,
    bits_per_dim,
    kind_of_likelihood,
)
from genjax_models.metrics.manifold import Manifold, manifold, manifold_estimates
from genjax_models.metrics.memorization import Memorization, memorization, nearest_neighbours
from genjax_models.metrics.modes import (
    Coverage,
    Modes,
    classified_modes,
    mode_shares,
    read_channels,
)
from genjax_models.metrics.ngrams import distinct_n, longest_copies, ngram_overlap
from genjax_models.metrics.text import (
    bits_per_character,
    nats_per_token,
    perplexity,
    relative_perplexity,
)
from genjax_models.metrics.wasserstein import sliced_wasserstein, wasserstein

__all__ = [
    "DCI",
    "Coverage",
    "Estimate",
    "Extractor",
    "Figure",
    "FrechetDistance",
    "Inception",
    "LikelihoodStatement",
    "Manifold",
    "Memorization",
    "Metric",
    "Modes",
    "TrainedClassifier",
    "aupr",
    "aupr_figure",
    "auroc",
    "auroc_figure",
    "bits_per_character",
    "bits_per_dim",
    "classified_modes",
    "classifier_of",
    "compare_samples",
    "conditions",
    "dci",
    "dci_of_importances",
    "distinct_n",
    "evaluate",
    "evaluate_likelihood",
    "factor_vae_score",
    "frechet",
    "frechet_distance",
    "frechet_estimate",
    "frechet_floor",
    "grouped",
    "inception_score",
    "kernel_distance",
    "kind_of_likelihood",
    "kl_to_truth",
    "linear_probe",
    "load_inception",
    "longest_copies",
    "manifold",
    "manifold_estimates",
    "memorization",
    "metrics_of",
    "mig",
    "mmd",
    "mmd_estimate",
    "mode_shares",
    "mutual_information",
    "nats_per_token",
    "nearest_neighbours",
    "ngram_overlap",
    "perplexity",
    "read_channels",
    "relative_perplexity",
    "sap",
    "sliced_wasserstein",
    "two_halves",
    "wasserstein",
]
