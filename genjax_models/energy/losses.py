"""The terms of energy-based models: `Outputs -> [B]`, and what is watched beside them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array
from genjax_models.energy.outputs import (
    ContrastiveOutputs,
    DenoisingOutputs,
    JointOutputs,
    NoiseContrastiveOutputs,
    SlicedOutputs,
)


def contrastive_divergence(outputs: ContrastiveOutputs) -> Array:
    """E(x) - E(x_model) `[B]`, in nats: its gradient is that of -log p, with samples for E_p.

    The value says little: it is near 0 when the samples are as good as the data.

    References:
        Hinton 2002, Training products of experts by minimizing contrastive divergence; Tieleman
        2008, Training restricted Boltzmann machines using approximations to the likelihood
        gradient (persistent chains).
    """
    return outputs.energy - outputs.energy_model


def energy_magnitude(outputs: ContrastiveOutputs) -> Array:
    """f(x)^2 + f(x_model)^2 `[B]` of the network's outputs f, which it keeps near 0.

    The divergence does not see a constant added to the energy; this term settles it.

    References:
        Du and Mordatch 2019, arXiv:1903.08689, sec. 3.3 (the weight there is alpha).
    """
    return outputs.tilt**2 + outputs.tilt_model**2


def denoising_score_matching(outputs: DenoisingOutputs) -> Array:
    """1/2 |sigma s(x + sigma z) + z|^2 `[B]`: sigma^2 times the objective of the paper.

    Least where s is the score of the data with such noise.

    References:
        Vincent 2011, A connection between score matching and denoising autoencoders (eq. 9).
    """
    sigma = outputs.sigma.reshape(-1, *[1] * (outputs.score.ndim - 1))
    return 0.5 * sum_entries((sigma * outputs.score + outputs.noise) ** 2)


def sliced_score_matching(outputs: SlicedOutputs) -> Array:
    """v^T (grad s) v + 1/2 |s|^2 `[B]`, v standard normal: with reduced variance.

    Least where s is the score of the data: then it is -1/2 E|s|^2.

    References:
        Song et al. 2019, Sliced score matching, arXiv:1905.07088 (eq. 8).
    """
    return outputs.slope + 0.5 * sum_entries(outputs.score**2)


def noise_contrastive(outputs: NoiseContrastiveOutputs) -> Array:
    """-log sigma(logits) - sum over the noise of log sigma(-logits) `[B]`, in nats.

    Least where the logits are those of Bayes' rule, so that the density integrates to 1.

    References:
        Gutmann and Hyvärinen 2010, Noise-contrastive estimation (eq. 2); 2012 (more noise).
    """
    of_noise = jnp.sum(jax.nn.softplus(outputs.logits_noise), axis=-1)
    return jax.nn.softplus(-outputs.logits) + of_noise


def cross_entropy(outputs: JointOutputs) -> Array:
    """-log p(y | x) `[B]`, in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs.logits, outputs.label)


def accuracy(outputs: JointOutputs) -> Array:
    """The fraction of labels that are the most likely ones `[]`."""
    return jnp.mean(jnp.argmax(outputs.logits, axis=-1) == outputs.label)


def energy_of_data(outputs: ContrastiveOutputs) -> Array:
    """The mean energy of the data `[]`, in nats."""
    return jnp.mean(outputs.energy)


def energy_of_samples(outputs: ContrastiveOutputs) -> Array:
    """The mean energy of the model's samples `[]`, in nats."""
    return jnp.mean(outputs.energy_model)


def acceptance_rate(outputs: ContrastiveOutputs) -> Array:
    """How many of the chains' proposals were accepted `[]`; 1 of a kernel that never refuses."""
    return jnp.mean(outputs.acceptance)


def score_norm(outputs: ContrastiveOutputs) -> Array:
    """The mean norm of the energy's gradient by the data along the chains `[]`."""
    return jnp.mean(outputs.gradient_norm)


def classified(outputs: NoiseContrastiveOutputs) -> Array:
    """The fraction of data and noise that are told apart `[]`."""
    of_data = jnp.mean(outputs.logits > 0)
    return 0.5 * (of_data + jnp.mean(outputs.logits_noise < 0))


WATCHED = {
    "energy_of_data": energy_of_data,
    "energy_of_samples": energy_of_samples,
    "acceptance_rate": acceptance_rate,
    "score_norm": score_norm,
}
"""What contrastive divergence reports beside its terms."""
