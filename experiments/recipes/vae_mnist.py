"""VAEs of MNIST, as they were published: of binarised digits, and of all their levels."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

import genjax_models as gm
from experiments.recipes.autoencoders import VAESettings, vae_setup
from experiments.runner import needs
from experiments.runner.config import Config, Evaluation, NonNegativeInt, Optimizer, PositiveInt
from experiments.runner.registry import Goal, Setup, experiment
from genjax_models.core import DataSpec, likelihoods, preprocess

M = TypeVar("M")


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
        VAESettings(latent_dim=50, likelihood="beta_binomial"),
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
