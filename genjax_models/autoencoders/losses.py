"""Outputs of autoencoders, and the terms that read them: `Outputs -> [B]`, in nats unless noted.

A term with a number to choose is made by a function of it: `loss.add(free=free_bits(0.5))`.
"""

from __future__ import annotations

import math
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct

from genjax_models.core.distributions import Distribution, ExplicitMean, Normal, sum_entries
from genjax_models.core.loss import Term
from genjax_models.core.types import Array


@struct.dataclass
class AutoencoderOutputs:
    """Outputs of one pass of an autoencoder; every array's first axis is the examples.

    Attributes:
        x: Preprocessed data `[B, ...]`.
        z: Codes `[B, d]`.
        likelihood: p(x | z) over `[B, ...]`.
    """

    x: Array
    z: Array
    likelihood: ExplicitMean


@struct.dataclass
class VAEOutputs:
    """Outputs of one pass of a VAE; every array's first axis is the examples.

    Attributes:
        x: Preprocessed data `[B, ...]`.
        posterior: q(z | x) over `[B, d]`.
        z: Samples of the posterior `[B K, d]`, the K codes of an example side by side.
        likelihood: p(x | z) of each code, over `[B K, ...]`.
        log_q: log q(z | x) of each code `[B K]`, in nats.
        log_p: log p(z) of each code `[B K]`, in nats.
        kl: KL(q || p) of each latent entry `[B, d]` if both are Normal, else estimated `[B, 1]`.
        z_prior: Samples of the prior, one for each example `[B, d]`.
    """

    x: Array
    posterior: Distribution
    z: Array
    likelihood: ExplicitMean
    log_q: Array
    log_p: Array
    kl: Array
    z_prior: Array


@struct.dataclass
class HierarchicalVAEOutputs:
    """Outputs of one pass of a hierarchical VAE; every array's first axis is the examples.

    Attributes:
        x: Preprocessed data `[B, ...]`.
        z: Samples of the posterior `[B K, d]`, the K codes of an example side by side; the layers'
            codes are concatenated, the lowest first.
        likelihood: p(x | z) of each code, over `[B K, ...]`.
        log_q: log q(z | x) of each code `[B K]`, in nats.
        log_p: log p(z) of each code `[B K]`, in nats.
        kl: KL(q(z_l | z_>l, x) || p(z_l | z_>l)) of each layer `[B, L]`, the lowest first: in
            closed form given the codes above, averaged over the K codes.
    """

    x: Array
    z: Array
    likelihood: ExplicitMean
    log_q: Array
    log_p: Array
    kl: Array


@struct.dataclass
class VQVAEOutputs:
    """Outputs of one pass of a VQ-VAE; every array's first axis is the examples.

    Attributes:
        x: Preprocessed data `[B, ...]`.
        z_e: Outputs of the encoder `[B, ..., d]`.
        codes: Index of the nearest code at each position `[B, ...]`, int32.
        z_q: The codes' vectors `[B, ..., d]`.
        z: Inputs of the decoder: z_q, with the gradient of z_e.
        likelihood: p(x | z) over `[B, ...]`.
        num_codes: Size of the codebook.
    """

    x: Array
    z_e: Array
    codes: Array
    z_q: Array
    z: Array
    likelihood: ExplicitMean
    num_codes: int = struct.field(pytree_node=False)


class Reconstructed(Protocol):
    """Outputs with data and their likelihood, given one or more codes of each example."""

    @property
    def x(self) -> Array:
        """Data `[B, ...]`."""
        ...

    @property
    def likelihood(self) -> Distribution:
        """p(x | z) of each code: over `[B K, ...]`, the K codes of an example side by side."""
        ...

    @property
    def z(self) -> Array:
        """Codes `[B K, ...]`."""
        ...


def log_likelihood(outputs: Reconstructed) -> Array:
    """Log p(x | z_k) of each of an example's K codes `[B, K]`, in nats."""
    num_samples = outputs.z.shape[0] // outputs.x.shape[0]
    x = jnp.repeat(outputs.x, num_samples, axis=0)
    return outputs.likelihood.log_prob(x).reshape(-1, num_samples)


def reconstruction(outputs: Reconstructed) -> Array:
    """-log p(x | z) `[B]`, averaged over an example's codes."""
    return -jnp.mean(log_likelihood(outputs), axis=-1)


def kl(outputs: VAEOutputs | HierarchicalVAEOutputs) -> Array:
    """KL(q(z | x) || p(z)) `[B]`: in closed form between normals, else estimated by samples."""
    return sum_entries(outputs.kl)


def free_bits(minimum: float) -> Term:
    """Makes a KL term that is not reduced below a minimum: sum_j max(minimum, mean_b KL_j).

    Takes the place of `kl`: `loss.drop("kl").add(free_bits=free_bits(0.5))`.

    Args:
        minimum: Nats that each latent entry may use at no cost, averaged over the batch.

    References:
        Kingma et al. 2016, Inverse Autoregressive Flow, arXiv:1606.04934, eq. 15.
    """

    def term(outputs: VAEOutputs) -> Array:
        per_entry = jnp.mean(outputs.kl, axis=0)
        total = jnp.sum(jnp.maximum(minimum, per_entry))
        return jnp.broadcast_to(total, outputs.x.shape[:1])

    return term


def log_weights(outputs: VAEOutputs) -> Array:
    """Log-weights log p(x, z_k) - log q(z_k | x) of an example's K codes `[B, K]`, in nats."""
    log_likelihoods = log_likelihood(outputs)
    log_ratio = (outputs.log_p - outputs.log_q).reshape(log_likelihoods.shape)
    return log_likelihoods + log_ratio


def iwae(outputs: VAEOutputs) -> Array:
    """-log (1/K) sum_k p(x, z_k) / q(z_k | x) `[B]`: the importance-weighted bound, negated.

    References:
        Burda et al. 2015, Importance Weighted Autoencoders, arXiv:1509.00519, eq. 8.
    """
    weights = log_weights(outputs)
    return math.log(weights.shape[-1]) - jax.nn.logsumexp(weights, axis=-1)


def mmd(outputs: VAEOutputs) -> Array:
    """Squared maximum mean discrepancy between codes and prior `[B]`; no unit.

    The unbiased estimate with a sum of inverse multiquadratic kernels C / (C + |z - z'|^2),
    C = 2 d s, over scales s. The mean over the examples is the estimate.

    References:
        Zhao et al. 2017, InfoVAE, arXiv:1706.02262; Tolstikhin et al. 2018, Wasserstein
        Auto-Encoders, arXiv:1711.01558, Algorithm 2.
    """
    num_samples = outputs.z.shape[0] // outputs.x.shape[0]
    z, prior = outputs.z[::num_samples], outputs.z_prior
    num, dim = z.shape

    def kernel(a: Array, b: Array) -> Array:
        squared = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
        scales = 2.0 * dim * jnp.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
        return jnp.sum(scales[:, None, None] / (scales[:, None, None] + squared), axis=0)

    def others(k: Array) -> Array:
        return (jnp.sum(k, axis=1) - jnp.diagonal(k)) / (num - 1)

    between = kernel(z, prior)
    across = jnp.mean(between, axis=1) + jnp.mean(between, axis=0)
    return others(kernel(z, z)) + others(kernel(prior, prior)) - across


def total_correlation(num_data: int) -> Term:
    """Makes the term KL(q(z) || prod_j q(z_j)) `[B]`, the dependence between latent entries.

    `loss.add(total_correlation=total_correlation(len(data))).weigh(total_correlation=beta - 1)` is
    the beta-TCVAE: the ELBO contains the total correlation once already. q(z) is estimated by
    minibatch-weighted sampling.

    Args:
        num_data: Number of training examples.

    References:
        Chen et al. 2018, Isolating Sources of Disentanglement, arXiv:1802.04942, eq. 2-4.
    """

    def term(outputs: VAEOutputs) -> Array:
        num_samples = outputs.z.shape[0] // outputs.x.shape[0]
        posterior = outputs.posterior
        if not isinstance(posterior, Normal):
            raise TypeError(
                "total_correlation needs a diagonal Normal posterior, whose entries are "
                f"independent, but the posterior is a {type(posterior).__name__}"
            )
        z = outputs.z[::num_samples]  # [B, d]
        residual = (z[:, None] - posterior.loc) * jnp.exp(-posterior.log_scale)
        log_entries = -0.5 * (residual**2 + math.log(2 * math.pi)) - posterior.log_scale
        log_size = math.log(z.shape[0] * num_data)
        log_joint = jax.nn.logsumexp(jnp.sum(log_entries, axis=-1), axis=1) - log_size
        log_marginals = jax.nn.logsumexp(log_entries, axis=1) - log_size
        return log_joint - jnp.sum(log_marginals, axis=-1)

    return term


def commitment(outputs: VQVAEOutputs) -> Array:
    """|z_e - sg(e)|^2 `[B]` (no unit), summed over an example's positions and entries.

    References:
        van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv:1711.00937, eq. 3.
    """
    return sum_entries((outputs.z_e - jax.lax.stop_gradient(outputs.z_q)) ** 2)


def code_perplexity(outputs: VQVAEOutputs) -> Array:
    """Exponential of the entropy of the codes in a batch `[]`, from 1 to num_codes."""
    num_codes = outputs.num_codes
    counts = jnp.zeros(num_codes).at[outputs.codes.reshape(-1)].add(1.0)
    probability = counts / jnp.sum(counts)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(probability, probability)))
