"""Autoencoders: variational, and their kin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import genjax_models as gm
from experiments.config import Config, Evaluation, Optimizer, PositiveInt
from experiments.registry import Goal, Setup, experiment
from genjax_models.core import DataSpec, Likelihood, likelihoods

LikelihoodName = Literal["binomial", "categorical", "discretized_logistic"]
LIKELIHOODS: Mapping[LikelihoodName, Likelihood] = {
    "binomial": likelihoods.binomial,
    "categorical": likelihoods.categorical,
    "discretized_logistic": likelihoods.discretized_logistic,
}


@dataclasses.dataclass(frozen=True)
class VAESettings:
    """Networks and likelihood of a VAE."""

    hidden: tuple[PositiveInt, ...] = (512,)
    """Widths of the encoder's layers; the decoder has the same, backwards."""
    latent_dim: PositiveInt = 16
    """Number of entries of a code."""
    likelihood: LikelihoodName = "categorical"
    """The distribution of each entry of an example, given its code."""


@experiment(
    Config(
        VAESettings(),
        steps=4000,
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine"),
        evaluation=Evaluation(every=200, num_samples=1),
    ),
    Goal("nll", at_most=95.0, unit="nats a digit"),
)
def vae(config: Config[VAESettings], spec: DataSpec) -> Setup:
    """A VAE with one hidden layer on each side, over the discrete levels of the pixels."""
    settings = config.model
    likelihood = LIKELIHOODS[settings.likelihood]
    decoder = (*reversed(settings.hidden), likelihood.num_outputs(spec))
    return Setup(
        gm.VAE(
            encoder=gm.networks.MLP((*settings.hidden, 2 * settings.latent_dim)),
            decoder=gm.networks.MLP(decoder),
            latent_dim=settings.latent_dim,
            spec=spec,
            likelihood=likelihood,
        )
    )
