"""Autoencoders: variational, deterministic, vector-quantised, and MNIST's as published."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp

import genjax_models as gm
from experiments.runner import needs
from experiments.runner.config import (
    Config,
    Evaluation,
    NonNegativeFloat,
    NonNegativeInt,
    Optimizer,
    PositiveInt,
)
from experiments.runner.experiment import Goal, Setup, every_label, experiment
from genjax_models.core import DataSpec, Likelihood, Preprocess, likelihoods, preprocess

M = TypeVar("M")
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
NetworkName = Literal["auto", "mlp", "conv"]
DtypeName = Literal["float32", "bfloat16"]
DTYPES: Mapping[DtypeName, type] = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
LARGEST_OF_MLP = 16
"""Pixels a side above which convolutions draw better than fully connected layers do."""


@dataclasses.dataclass(frozen=True)
class VAESettings:
    """Networks, likelihood and loss of a VAE."""

    network: NetworkName = "auto"
    """Fully connected, or convolutions: `auto` takes these for images above 16 pixels a side."""
    hidden: tuple[PositiveInt, ...] = (512, 512)
    """Widths of the fully connected encoder's layers; the decoder has the same, backwards."""
    channels: PositiveInt = 32
    """Of the first level of convolutions; each next one has twice as many, and half the sides."""
    latent_dim: PositiveInt = 16
    """Number of entries of a code."""
    likelihood: LikelihoodName = "discretized_logistic"
    """The distribution of each entry of an example, given its code."""
    binarize: BinarizeName = "no"
    """Binarisation of pixels: anew at each step, once for all, or at half."""
    activation: ActivationName = "silu"
    """Between layers."""
    conditional: bool = False
    """Condition encoder, decoder and prior on the label."""
    beta: NonNegativeFloat = 1.0
    """Weight of the KL."""
    importance_samples: PositiveInt = 1
    """Codes an example in the bound that is trained on; above 1, it is the IWAE's."""
    dtype: DtypeName = "float32"
    """Number type of the networks' computations."""


def is_convolutional(settings: VAESettings, spec: DataSpec) -> bool:
    """Whether the networks are of convolutions."""
    if settings.network != "auto":
        return settings.network == "conv"
    return len(spec.shape) == 3 and max(spec.shape[:2]) > LARGEST_OF_MLP


def conv_channels(first: int, spec: DataSpec) -> tuple[int, ...]:
    """Channels of each level, twice as many as of the one before, down to sides of 4 pixels.

    Raises:
        ValueError: They are no images, or of a size that cannot be halved.
    """
    if len(spec.shape) != 3:
        raise ValueError(f"{spec.name} holds no images for convolutions: give --model.network mlp")
    height, width, _ = spec.shape
    channels: tuple[int, ...] = ()
    while min(height, width) > 4 and height % 2 == width % 2 == 0:
        channels += (first * 2 ** len(channels),)
        height, width = height // 2, width // 2
    if not channels:
        raise ValueError(
            f"{spec.name} has images of {height}x{width} pixels, which convolutions cannot halve:"
            " give --model.network mlp"
        )
    return channels


def vae_setup(settings: VAESettings, spec: DataSpec) -> Setup:
    """The VAE of these settings and its loss."""
    likelihood = LIKELIHOODS[settings.likelihood]
    activation, dtype = ACTIVATIONS[settings.activation], DTYPES[settings.dtype]
    num_outputs = likelihood.num_outputs(spec)
    if is_convolutional(settings, spec):
        channels = conv_channels(settings.channels, spec)
        height, width, _ = spec.shape
        shape = height, width, num_outputs // (height * width)
        encoder = gm.networks.ConvEncoder(channels, 2 * settings.latent_dim, dtype=dtype)
        decoder = gm.networks.ConvDecoder(channels[::-1], shape, dtype=dtype)
    else:
        widths = (*settings.hidden, 2 * settings.latent_dim)
        encoder = gm.networks.MLP(widths, activation, dtype)
        decoder = gm.networks.MLP((*settings.hidden[::-1], num_outputs), activation, dtype)
    model = gm.VAE(
        encoder=gm.networks.Centred(encoder),
        decoder=decoder,
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
    """A VAE over the levels of pixels: fully connected, or of convolutions for larger images."""
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
            network="mlp",
            hidden=(512, 256),
            latent_dim=8,
            likelihood="bernoulli",
            binarize="threshold",
            beta=4.0,
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
    from experiments.measures.representations import disentanglement

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


def _binarised(model: M, **changes: Any) -> Config[M]:
    """The configuration of Burda et al.'s binarised MNIST, for a model of it."""
    config = Config(
        model,
        dataset="mnist",
        split="train",
        steps=600_000,
        batch_size=100,
        log_every=2000,
        checkpoint_every=20_000,
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine"),
        evaluation=Evaluation(
            every=10_000, split="test", num_samples=5000, batch_size=500, examples=2000
        ),
    )
    return dataclasses.replace(config, **changes)


VAE_200 = VAESettings(
    network="mlp",
    hidden=(200, 200),
    latent_dim=50,
    likelihood="bernoulli",
    binarize="dynamic",
    activation="tanh",
)


@experiment(
    _binarised(VAE_200),
    Goal("nll", at_most=87.0, unit="nats an image"),
    needs=(needs.LEVELS, needs.labels_if("model.conditional")),
)
def vae_mnist(config: Config[VAESettings], spec: DataSpec) -> Setup:
    """784-200-200-50 on dynamically binarised MNIST (Burda et al. 2015, k = 1)."""
    return vae_setup(config.model, spec)


@experiment(
    _binarised(
        dataclasses.replace(VAE_200, importance_samples=50),
        steps=30_000,
        batch_size=64,
        log_every=500,
        checkpoint_every=5000,
    ),
    Goal("nll", at_most=85.0, unit="nats an image"),
    needs=(needs.LEVELS, needs.labels_if("model.conditional")),
)
def iwae_mnist(config: Config[VAESettings], spec: DataSpec) -> Setup:
    """The same trained by the importance-weighted bound, k = 50; `--initial` a run of vae_mnist."""
    return vae_setup(config.model, spec)


@experiment(
    Config(
        VAESettings(network="mlp", latent_dim=50, likelihood="beta_binomial"),
        dataset="mnist",
        steps=24_000,
        batch_size=100,
        log_every=500,
        checkpoint_every=4000,
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine", weight_decay=0.01),
        evaluation=Evaluation(every=2000, num_samples=100, batch_size=500, examples=2000),
    ),
    Goal("bits_per_dim", at_most=1.41, unit="bits a pixel"),
    needs=(needs.LEVELS, needs.labels_if("model.conditional")),
)
def vae_mnist_levels(config: Config[VAESettings], spec: DataSpec) -> Setup:
    """A VAE of all 256 levels of MNIST, beta-binomial pixels (Townsend et al. 2019, sec. 3.2)."""
    return vae_setup(config.model, spec)


@dataclasses.dataclass(frozen=True)
class HierarchicalSettings:
    """Layers of codes, the lowest first, and the networks around them."""

    latent_dims: tuple[PositiveInt, ...] = (64, 32, 16)
    """Entries of each layer's code."""
    hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    """Width of each layer's networks, which have one hidden layer."""
    warmup: NonNegativeInt = 30_000
    """Steps over which the weight of the KL rises from 0 to 1."""


@experiment(
    _binarised(HierarchicalSettings(), steps=300_000),
    Goal("nll", at_most=82.5, unit="nats an image"),
    needs=(needs.LEVELS,),
)
def hvae_mnist(config: Config[HierarchicalSettings], spec: DataSpec) -> Setup:
    """A VAE of three layers of codes on dynamically binarised MNIST (Sønderby et al. 2016)."""
    settings, likelihood = config.model, likelihoods.bernoulli
    if len(settings.latent_dims) != len(settings.hidden):
        raise ValueError(
            f"--model.latent-dims names {len(settings.latent_dims)} layers and --model.hidden"
            f" {len(settings.hidden)}: give as many of both"
        )

    def mlp(*widths: int) -> gm.networks.MLP:
        return gm.networks.MLP(widths, jax.nn.leaky_relu)

    highest = len(settings.hidden) - 1
    layers = tuple(
        gm.autoencoders.LatentLayer(
            latent_dim,
            encoder=mlp(width, width),
            posterior=mlp(width, 2 * latent_dim),
            decoder=mlp(width, width),
            prior=mlp(width, 2 * latent_dim) if i < highest else None,
        )
        for i, (latent_dim, width) in enumerate(
            zip(settings.latent_dims, settings.hidden, strict=True)
        )
    )
    model = gm.HierarchicalVAE(
        layers,
        decoder=mlp(settings.hidden[0], likelihood.num_outputs(spec)),
        spec=spec,
        likelihood=likelihood,
        preprocess=preprocess.dynamic_binarization,
    )
    if not settings.warmup:
        return Setup(model)

    # A layer that costs much before the decoder uses it is not used afterwards either.
    def rising(step: jax.Array) -> jax.Array:
        return jnp.minimum(1.0, step / settings.warmup)

    return Setup(model, {"vae": model.loss.weigh(kl=rising)})


@dataclasses.dataclass(frozen=True)
class VAEFlowSettings:
    """Networks and flow of a VAE whose posterior is bent by planar flows."""

    flow_layers: NonNegativeInt = 16
    """Planar flows of the posterior, each with parameters of the encoder's; 0 is a normal."""
    hidden: tuple[PositiveInt, ...] = (400,)
    """Widths of the encoder's layers; the decoder has the same, backwards."""
    latent_dim: PositiveInt = 40
    """Number of entries of a code."""
    annealing: PositiveInt = 2000
    """Steps over which the weight of log p(x, z) rises from 0.01 to 1."""


@experiment(
    Config(
        VAEFlowSettings(),
        dataset="mnist",
        steps=20_000,
        batch_size=100,
        log_every=500,
        checkpoint_every=5000,
        optimizer=Optimizer(learning_rate=1e-3, schedule="cosine"),
        evaluation=Evaluation(every=2000, num_samples=100, batch_size=500),
    ),
    needs=(needs.LEVELS,),
)
def vae_flow(config: Config[VAEFlowSettings], spec: DataSpec) -> Setup:
    """A VAE with planar flows for its posterior, on binarised digits (Rezende & Mohamed 2015)."""
    settings, likelihood = config.model, likelihoods.bernoulli
    layers = settings.flow_layers
    flow = gm.flows.Repeat(gm.flows.Planar(), layers) if layers else gm.flows.Chain(())
    posterior = gm.flows.FlowPosterior(flow, amortized=True)
    encoder = (*settings.hidden, posterior.num_outputs(settings.latent_dim))
    decoder = (*reversed(settings.hidden), likelihood.num_outputs(spec))
    model = gm.VAE(
        encoder=gm.networks.Centred(gm.networks.MLP(encoder, jax.nn.relu)),
        decoder=gm.networks.MLP(decoder, jax.nn.relu),
        latent_dim=settings.latent_dim,
        spec=spec,
        likelihood=likelihood,
        preprocess=preprocess.dynamic_binarization,
        posterior=posterior,
    )

    # Their eq. 20: the joint density is annealed, and the posterior's entropy is not.
    def beta(step: jax.Array) -> jax.Array:
        return jnp.minimum(1.0, 0.01 + step / settings.annealing)

    loss = model.loss.drop("kl").add(
        prior=lambda outputs: -outputs.log_p, negative_entropy=lambda outputs: outputs.log_q
    )
    return Setup(model, {"vae": loss.weigh(reconstruction=beta, prior=beta)})
