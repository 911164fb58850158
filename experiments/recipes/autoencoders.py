"""Autoencoders: deterministic, variational, vector-quantised."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp

import genjax_models as gm
from experiments.measures.representations import disentanglement
from experiments.runner import needs
from experiments.runner.config import (
    Config,
    Evaluation,
    NonNegativeFloat,
    Optimizer,
    PositiveInt,
)
from experiments.runner.registry import Goal, Setup, every_label, experiment
from genjax_models.core import DataSpec, Likelihood, Preprocess, likelihoods, preprocess

LikelihoodName = Literal[
    "bernoulli", "beta_binomial", "binomial", "categorical", "discretized_logistic"
]
LIKELIHOODS: Mapping[LikelihoodName, Likelihood] = {
    "bernoulli": likelihoods.bernoulli,
    "beta_binomial": likelihoods.beta_binomial,
    "binomial": likelihoods.binomial,
    "categorical": likelihoods.categorical,
    "discretized_logistic": likelihoods.discretized_logistic,
}
BinarizeName = Literal["no", "dynamic", "fixed", "threshold"]
BINARIZE: Mapping[BinarizeName, Preprocess] = {
    "no": preprocess.identity,
    "dynamic": preprocess.dynamic_binarization,
    "fixed": preprocess.fixed_binarization(0),
    "threshold": preprocess.threshold,
}
ActivationName = Literal["silu", "relu", "tanh"]
ACTIVATIONS: Mapping[ActivationName, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}
DtypeName = Literal["float32", "bfloat16"]
DTYPES: Mapping[DtypeName, type] = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class VAESettings:
    """Networks, likelihood and loss of a VAE of fully connected layers."""

    hidden: tuple[PositiveInt, ...] = (512, 512)
    """Widths of the encoder's layers; the decoder has the same, backwards."""
    latent_dim: PositiveInt = 16
    """Number of entries of a code."""
    likelihood: LikelihoodName = "discretized_logistic"
    """The distribution of each entry of an example, given its code."""
    binarize: BinarizeName = "no"
    """Whether pixels are made black or white: anew at each step, once for all, or at half."""
    activation: ActivationName = "silu"
    """Between layers."""
    conditional: bool = False
    """Whether everything is given the label."""
    beta: NonNegativeFloat = 1.0
    """Weight of the KL."""
    importance_samples: PositiveInt = 1
    """Codes an example in the bound that is trained on; above 1, it is the IWAE's."""
    dtype: DtypeName = "float32"
    """What the networks compute in."""


def vae_setup(settings: VAESettings, spec: DataSpec) -> Setup:
    """The VAE of these settings and its loss."""
    likelihood = LIKELIHOODS[settings.likelihood]
    activation, dtype = ACTIVATIONS[settings.activation], DTYPES[settings.dtype]
    encoder = (*settings.hidden, 2 * settings.latent_dim)
    decoder = (*reversed(settings.hidden), likelihood.num_outputs(spec))
    model = gm.VAE(
        encoder=gm.networks.Centred(gm.networks.MLP(encoder, activation, dtype)),
        decoder=gm.networks.MLP(decoder, activation, dtype),
        latent_dim=settings.latent_dim,
        spec=spec,
        likelihood=likelihood,
        preprocess=BINARIZE[settings.binarize],
        num_classes=spec.num_classes if settings.conditional else None,
    )
    loss = model.loss.weigh(kl=settings.beta)
    if settings.importance_samples > 1:
        loss = model.importance_weighted(settings.importance_samples)
    if not settings.conditional:
        return Setup(model, {"vae": loss})
    classes = model.num_classes or 1
    return Setup(model, {"vae": loss}, condition=every_label(classes))


@experiment(
    Config(
        VAESettings(),
        steps=1000,
        # A thousand digits are soon learned by heart: the decay of the weights is what holds the
        # validation loss where it is lowest.
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", weight_decay=3.0),
        evaluation=Evaluation(every=100),
    ),
    Goal("nll", at_most=95.0, unit="nats a digit"),
    needs=(needs.LEVELS, needs.labels_if("model.conditional")),
)
def vae(config: Config[VAESettings], spec: DataSpec) -> Setup:
    """A VAE of fully connected layers, whose likelihood is over the levels of the pixels."""
    return vae_setup(config.model, spec)


@experiment(
    Config(
        VAESettings(conditional=True),
        steps=1000,
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", weight_decay=3.0),
        evaluation=Evaluation(every=100),
    ),
    needs=(needs.LEVELS, needs.labels_if("model.conditional")),
)
def cvae(config: Config[VAESettings], spec: DataSpec) -> Setup:
    """A VAE that is given the label: p(x | y), drawn class by class."""
    return vae_setup(config.model, spec)


@experiment(
    Config(
        VAESettings(
            hidden=(512, 256), latent_dim=8, likelihood="bernoulli", binarize="threshold", beta=4.0
        ),
        dataset="shapes2d",
        steps=4000,
        log_every=50,
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine"),
    ),
    needs=(needs.LEVELS, needs.labels_if("model.conditional")),
)
def beta_vae(config: Config[VAESettings], spec: DataSpec) -> Setup:
    """A VAE whose KL weighs more, on sprites of five independent factors."""
    setup = vae_setup(config.model, spec)
    return dataclasses.replace(setup, measures=(disentanglement,))


@dataclasses.dataclass(frozen=True)
class AutoencoderSettings:
    """Networks and likelihood of a deterministic autoencoder."""

    hidden: tuple[PositiveInt, ...] = (256,)
    """Widths of the encoder's layers; the decoder has the same, backwards."""
    latent_dim: PositiveInt = 8
    """Number of entries of a code."""
    likelihood: LikelihoodName = "discretized_logistic"
    """The distribution of each entry of an example, given its code."""


@experiment(
    Config(
        AutoencoderSettings(),
        steps=1000,
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", weight_decay=1.0),
        evaluation=Evaluation(every=100),
    ),
    needs=(needs.LEVELS,),
)
def autoencoder(config: Config[AutoencoderSettings], spec: DataSpec) -> Setup:
    """An autoencoder, sampled through a normal distribution fitted to its codes."""
    settings = config.model
    likelihood = LIKELIHOODS[settings.likelihood]
    decoder = (*reversed(settings.hidden), likelihood.num_outputs(spec))
    model = gm.Autoencoder(
        encoder=gm.networks.MLP((*settings.hidden, settings.latent_dim)),
        decoder=gm.networks.MLP(decoder),
        latent_dim=settings.latent_dim,
        spec=spec,
        likelihood=likelihood,
    )
    return Setup(model)


@dataclasses.dataclass(frozen=True)
class VQVAESettings:
    """Networks and codebook of a VQ-VAE on images."""

    channels: tuple[PositiveInt, ...] = (32, 64)
    """Channels of each level of the encoder, which halves the image as often."""
    code_dim: PositiveInt = 16
    """Number of entries of a code's vector."""
    num_codes: PositiveInt = 128
    """Size of the codebook."""
    commitment: NonNegativeFloat = 0.25
    """Weight of the term that holds the encoder near the codes."""
    likelihood: LikelihoodName = "discretized_logistic"
    """The distribution of each entry of an image, given its codes."""


@experiment(
    Config(
        VQVAESettings(),
        dataset="mnist",
        steps=3000,
        batch_size=64,
        log_every=50,
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine"),
    ),
    needs=(needs.IMAGES, needs.LEVELS),
)
def vqvae(config: Config[VQVAESettings], spec: DataSpec) -> Setup:
    """A VQ-VAE of convolutions, whose codebook follows the encoder by moving averages."""
    settings = config.model
    likelihood = LIKELIHOODS[settings.likelihood]
    height, width, _ = spec.shape
    outputs = likelihood.num_outputs(spec) // (height * width)
    model = gm.VQVAE(
        encoder=gm.networks.ConvEncoder(settings.channels, settings.code_dim, vector=False),
        decoder=gm.networks.ConvDecoder(settings.channels[::-1], (height, width, outputs)),
        num_codes=settings.num_codes,
        spec=spec,
        likelihood=likelihood,
        commitment=settings.commitment,
    )
    return Setup(model)
