"""The VAE's bounds against a linear-Gaussian model, whose evidence is known exactly."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import linen as nn

import genjax_models as gm
from genjax_models.core import DataSpec, Normal, likelihoods, standard_normal

D, K = 4, 2
SPEC = DataSpec((D,), num_levels=None, name="linear-Gaussian")
W = np.array([[1.0, 0.5], [-0.7, 0.2], [0.3, -1.1], [0.4, 0.9]])
NOISE = 0.6
COVARIANCE = W @ W.T + NOISE**2 * np.eye(D)
X = np.random.default_rng(0).multivariate_normal(np.zeros(D), COVARIANCE, 8).astype(np.float32)
EVIDENCE = scipy.stats.multivariate_normal(np.zeros(D), COVARIANCE).logpdf(X)


class Decode(nn.Module):
    """p(x | z) = N(W z, noise^2): mean and log-scale, side by side."""

    @nn.compact
    def __call__(self, z, context=None, *, train=False):
        scale = self.param("w", lambda key: jnp.asarray(W, jnp.float32))
        mean = z @ scale.T
        return jnp.stack([mean, jnp.full_like(mean, np.log(NOISE))], axis=-1)


class Encode(nn.Module):
    """The exact posterior's mean and marginal variances; `offset` and `widening` spoil it."""

    offset: float = 0.0
    widening: float = 1.0

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        covariance = np.linalg.inv(np.eye(K) + W.T @ W / NOISE**2)
        to_mean = self.param("a", lambda key: jnp.asarray(covariance @ W.T / NOISE**2))
        mean = x @ to_mean.T + self.offset
        log_variance = jnp.broadcast_to(np.log(self.widening * np.diag(covariance)), mean.shape)
        return jnp.concatenate([mean, log_variance], axis=-1).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class FullNormal:
    """N(mu, L L^T) with the exact posterior's covariance: a posterior that is not diagonal."""

    def init(self, key, latent_dim):
        return {}

    def __call__(self, params, h, latent_dim):
        return FullNormalAt(h[:, :K])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FullNormalAt:
    loc: jax.Array

    @property
    def scale(self):
        return np.linalg.cholesky(np.linalg.inv(np.eye(K) + W.T @ W / NOISE**2))

    def sample(self, key):
        return self.loc + standard_normal(self.loc.shape).sample(key) @ self.scale.T

    def log_prob(self, z):
        eps = jnp.linalg.solve(self.scale, (z - self.loc).T).T
        log_det = np.log(np.diag(self.scale)).sum()
        return standard_normal(z.shape).log_prob(eps) - log_det


def build(**kwargs):
    model = gm.VAE(Encode(**kwargs), Decode(), K, spec=SPEC, likelihood=likelihoods.normal)
    params, _ = jax.jit(model.init)(jax.random.key(0), {"x": jnp.asarray(X)})
    return model, without_bias(params)


def without_bias(params):
    """The decoder alone decides: not the data's marginals, at which the likelihood starts."""
    return {**params, "likelihood": jax.tree.map(jnp.zeros_like, params["likelihood"])}


def test_the_bound_rises_to_the_exact_evidence():
    model, params = build(offset=0.3, widening=2.0)  # wide: the weights have thin tails
    bounds = {}
    for num_samples in (1, 10, 20_000):
        keys = jax.random.split(jax.random.key(1), 50 if num_samples < 100 else 1)
        bound = jax.vmap(lambda key, n=num_samples: model.log_prob_bound(params, X, key, n))
        bounds[num_samples] = np.mean(jax.jit(bound)(keys), axis=0)
    assert bounds[1].mean() < bounds[10].mean() < EVIDENCE.mean()
    np.testing.assert_allclose(bounds[20_000], EVIDENCE, atol=0.02)


def test_the_bound_is_exact_under_the_exact_posterior():
    """Any object with `sample` and `log_prob` serves as a posterior."""
    model, params = build()
    model = dataclasses.replace(model, posterior=FullNormal())
    for num_samples in (1, 7):
        bound = model.log_prob_bound(params, X, jax.random.key(0), num_samples)
        np.testing.assert_allclose(bound, EVIDENCE, rtol=1e-4)
    # Without a closed form the KL is estimated: the same single codes give the same evidence.
    forward = jax.jit(functools.partial(model.forward, state={}, train=False))
    outputs, _ = forward(params, {"x": X}, jax.random.key(0))
    assert outputs.kl.shape == (len(X), 1)
    np.testing.assert_allclose(model.elbo(params, X, jax.random.key(0)), EVIDENCE, rtol=1e-4)


def test_the_elbo_is_the_evidence_less_the_posteriors_divergence():
    model, params = build(offset=0.3)
    keys = jax.random.split(jax.random.key(2), 4000)
    elbo = np.mean(jax.jit(jax.vmap(lambda key: model.elbo(params, X, key)))(keys), axis=0)
    exact = np.linalg.inv(np.eye(K) + W.T @ W / NOISE**2)
    q = np.diag(np.diag(exact))
    offset, precision = 0.3 * np.ones(K), np.linalg.inv(exact)
    log_ratio = np.linalg.slogdet(exact)[1] - np.linalg.slogdet(q)[1]
    divergence = 0.5 * (np.trace(precision @ q) - K + offset @ precision @ offset + log_ratio)
    np.testing.assert_allclose(elbo, EVIDENCE - divergence, atol=0.08)


def test_iwae_with_one_sample_is_the_elbo_and_more_samples_tighten_it():
    model, params = build(offset=0.5)
    keys = jax.random.split(jax.random.key(3), 2000)

    def negative(loss):
        return -np.mean(jax.jit(jax.vmap(lambda key: loss(params, {"x": X}, key)[0]))(keys))

    elbo = negative(model.loss)
    np.testing.assert_allclose(negative(model.importance_weighted(1)), elbo, atol=0.05)
    five, fifty = negative(model.importance_weighted(5)), negative(model.importance_weighted(50))
    assert elbo < five < fifty <= EVIDENCE.mean() + 0.02


def test_memory_does_not_grow_with_the_number_of_samples():
    model, params = build()

    def temporary_bytes(num_samples):
        bound = jax.jit(lambda p, x, key: model.log_prob_bound(p, x, key, num_samples))
        compiled = bound.lower(params, X, jax.random.key(0)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(5000) == temporary_bytes(5)


def test_samples_have_the_models_moments():
    model, params = build()
    x = model.sample(params, jax.random.key(4), 20_000)
    np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=0.06)
    x = model.sample(params, jax.random.key(4), 20_000, mean=True)
    np.testing.assert_allclose(np.cov(x.T), W @ W.T, atol=0.06)


def test_dequantised_bound_is_of_the_discrete_data():
    """The bound of a uniform density over [0, 1]^D is exactly -D log(levels)."""
    spec = DataSpec((3,), num_levels=8)

    class Flat(nn.Module):  # a density of 1 almost everywhere on [0, 1]: as wide a normal as needed
        @nn.compact
        def __call__(self, z, context=None, *, train=False):
            self.param("unused", lambda key: jnp.zeros(()))
            return jnp.zeros((z.shape[0], 3, 2))

    model = gm.VAE(
        gm.networks.MLP((2,)), Flat(), 1, spec=spec, likelihood=likelihoods.normal,
        preprocess=gm.preprocess.uniform_dequantization,
    )  # fmt: skip
    x = jnp.array([[0, 4, 7]] * 500)
    params, _ = model.init(jax.random.key(0), {"x": x})
    bound = model.log_prob_bound(without_bias(params), x, jax.random.key(1), 200)
    # E log N(u; 0, 1) over each level's cell, by the cell's own moments.
    low = np.array([0, 4, 7]) / 8
    second = ((low + 1 / 8) ** 3 - low**3) / 3 * 8
    expected = (-0.5 * second - 0.5 * np.log(2 * np.pi)).sum() - 3 * np.log(8)
    np.testing.assert_allclose(np.mean(bound), expected, atol=0.02)


def test_conditional_samples_and_codes_depend_on_the_label():
    model = gm.VAE(gm.networks.MLP((8, 4)), gm.networks.MLP((8, 64)), 2, num_classes=10)
    x = jnp.zeros((3, 8, 8, 1), jnp.uint8)
    label = jnp.array([0, 1, 2])
    params, _ = jax.jit(model.init)(jax.random.key(0), {"x": x, "label": label})
    z = jnp.zeros((3, 2))
    decoded = model.decode(params, z, label=label)
    assert not np.allclose(decoded[0], decoded[1])
    encoded = model.encode(params, x, label=label)
    assert not np.allclose(encoded[0], encoded[1])
    assert model.sample(params, jax.random.key(0), 3, label=7).shape == (3, 8, 8, 1)
    with pytest.raises(ValueError, match="conditional on one of 10 labels"):
        model.encode(params, x)


def test_what_does_not_fit_is_said():
    x = {"x": jnp.zeros((2, 8, 8, 1), jnp.uint8)}
    mlp = gm.networks.MLP
    with pytest.raises(ValueError, match="takes 64 decoder outputs.*returned.*49"):
        gm.VAE(mlp((4,)), mlp((49,)), 2).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="give the encoder 4 outputs"):
        gm.VAE(mlp((5,)), mlp((64,)), 2).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"of digits, examples of shape \(8, 8, 1\)"):
        gm.VAE(mlp((4,)), mlp((64,)), 2).init(jax.random.key(0), {"x": jnp.zeros((2, 7, 7, 1))})


def test_posterior_is_the_normal_that_the_encoder_says():
    model, params = build()
    posterior = model.posterior_of(params, X, jax.random.key(0))
    assert isinstance(posterior, Normal)
    np.testing.assert_allclose(model.encode(params, X), posterior.loc, rtol=1e-6)
