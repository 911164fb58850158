"""Outputs of energy-based models, and their loss terms: `Outputs -> [B]`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import struct

from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array


@struct.dataclass
class ContrastiveOutputs:
    """Data, and samples of the model; the first axis of every array is the batch.

    Attributes:
        x: Points of the data `[B, ...]`.
        x_model: Samples of the model `[B, ...]`.
        energy: E of the data `[B]`, in nats.
        energy_model: E of the samples `[B]`.
        tilt: The network's output for the data `[B]`: E without the reference's part.
        tilt_model: The network's output for the samples `[B]`.
        acceptance_rate: Mean acceptance probability of each sample's chain `[B]`.
        gradient_norm: Mean norm of the energy's gradient along each sample's chain `[B]`.
    """

    x: Array
    x_model: Array
    energy: Array
    energy_model: Array
    tilt: Array
    tilt_model: Array
    acceptance_rate: Array
    gradient_norm: Array


@struct.dataclass
class DenoisingOutputs:
    """The score of noisy data.

    Attributes:
        x: Points of the data `[B, ...]`.
        noise: Noise in units of sigma `[B, ...]`.
        sigma: Standard deviation of the noise `[B]`.
        score: grad log p at x + sigma noise `[B, ...]`.
    """

    x: Array
    noise: Array
    sigma: Array
    score: Array


@struct.dataclass
class SlicedOutputs:
    """The score of data, and its derivative along random directions.

    Attributes:
        x: Points of the data `[B, ...]`.
        score: s = grad log p there `[B, ...]`.
        slope: v^T (grad s) v for a random direction v of each example `[B]`.
    """

    x: Array
    score: Array
    slope: Array


@struct.dataclass
class NoiseContrastiveOutputs:
    """Logits of data against noise.

    Attributes:
        x: Points of the data `[B, ...]`.
        logits: log p(x) - log(nu q(x)) of the data `[B]`, with nu points of noise for each example.
        logits_noise: The same logits of the noise `[B, nu]`.
    """

    x: Array
    logits: Array
    logits_noise: Array


@struct.dataclass
class JointOutputs:
    """Outputs of a joint model of data and labels.

    Attributes:
        contrast: Outputs for the data and for samples of p(x).
        logits: Logits of the data's labels `[B, K]`.
        label: Labels `[B]`.
    """

    contrast: ContrastiveOutputs
    logits: Array
    label: Array


def contrastive_divergence(outputs: ContrastiveOutputs) -> Array:
    """E(x) - E(x_model) `[B]`, in nats: its gradient is that of -log p, with samples for E_p.

    Its value does not measure quality: it is near 0 whenever samples are as likely as data.

    References:
        Hinton 2002, Training products of experts by minimizing contrastive divergence; Tieleman
        2008, Training restricted Boltzmann machines using approximations to the likelihood
        gradient (persistent chains).
    """
    return outputs.energy - outputs.energy_model


def energy_magnitude(outputs: ContrastiveOutputs) -> Array:
    """f(x)^2 + f(x_model)^2 `[B]`, which keeps the network's outputs f near 0.

    The divergence does not depend on a constant added to the energy; this term determines it.

    References:
        Du and Mordatch 2019, arXiv:1903.08689, sec. 3.3 (the weight there is alpha).
    """
    return outputs.tilt**2 + outputs.tilt_model**2


def denoising_score_matching(outputs: DenoisingOutputs) -> Array:
    """1/2 |sigma s(x + sigma z) + z|^2 `[B]`: sigma^2 times the objective of the paper.

    Its minimum is at the score of the noisy data.

    References:
        Vincent 2011, A connection between score matching and denoising autoencoders (eq. 9).
    """
    sigma = outputs.sigma.reshape(-1, *[1] * (outputs.score.ndim - 1))
    return 0.5 * sum_entries((sigma * outputs.score + outputs.noise) ** 2)


def sliced_score_matching(outputs: SlicedOutputs) -> Array:
    """v^T (grad s) v + 1/2 |s|^2 `[B]`, v standard normal: the variance-reduced objective.

    Its minimum, -1/2 E|s|^2, is at the score of the data.

    References:
        Song et al. 2019, Sliced score matching, arXiv:1905.07088 (eq. 8).
    """
    return outputs.slope + 0.5 * sum_entries(outputs.score**2)


def noise_contrastive(outputs: NoiseContrastiveOutputs) -> Array:
    """-log sigma(logits) - sum over the noise of log sigma(-logits) `[B]`, in nats.

    Its minimum is at the logits of Bayes' rule, for which the density integrates to 1.

    References:
        Gutmann and Hyvärinen 2010, Noise-contrastive estimation (eq. 2); 2012 (more noise).
    """
    of_noise = jnp.sum(jax.nn.softplus(outputs.logits_noise), axis=-1)
    return jax.nn.softplus(-outputs.logits) + of_noise


def cross_entropy(outputs: JointOutputs) -> Array:
    """-log p(y | x) `[B]`, in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs.logits, outputs.label)


def accuracy(outputs: JointOutputs) -> Array:
    """Fraction of examples with the highest logit at their label `[]`."""
    return jnp.mean(jnp.argmax(outputs.logits, axis=-1) == outputs.label)


def energy_of_data(outputs: ContrastiveOutputs) -> Array:
    """Mean energy of the data `[]`, in nats."""
    return jnp.mean(outputs.energy)


def energy_of_samples(outputs: ContrastiveOutputs) -> Array:
    """Mean energy of the model's samples `[]`, in nats."""
    return jnp.mean(outputs.energy_model)


def acceptance_rate(outputs: ContrastiveOutputs) -> Array:
    """Mean acceptance probability of the chains' proposals `[]`; 1 if all are accepted."""
    return jnp.mean(outputs.acceptance_rate)


def score_norm(outputs: ContrastiveOutputs) -> Array:
    """Mean norm of the energy's gradient along the chains `[]`."""
    return jnp.mean(outputs.gradient_norm)


def noise_accuracy(outputs: NoiseContrastiveOutputs) -> Array:
    """Balanced accuracy of the classification of data and noise `[]`."""
    of_data = jnp.mean(outputs.logits > 0)
    return 0.5 * (of_data + jnp.mean(outputs.logits_noise < 0))


WATCHED = {
    "energy_of_data": energy_of_data,
    "energy_of_samples": energy_of_samples,
    "acceptance_rate": acceptance_rate,
    "score_norm": score_norm,
}
"""Scalars logged with contrastive divergence."""
