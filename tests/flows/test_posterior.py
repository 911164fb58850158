"""Flows as posteriors and priors of a VAE: densities by change of variables, and bounds."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from flax import linen as nn

import genjax_models as gm
from genjax_models.core import DataSpec, likelihoods
from genjax_models.flows.bijector import Chain, Inverse, Repeat
from genjax_models.flows.linear import Permute
from genjax_models.flows.masked import MaskedAutoregressive
from genjax_models.flows.planar_radial import Planar
from genjax_models.flows.posterior import FlowPosterior, FlowPrior

KEY = jax.random.key(0)
# Turned round twice, so that near the identity an entry of the code is that of the normal.
IAF = Chain([MaskedAutoregressive((8,)), Permute()] * 2)
POSTERIORS = {
    "planar": FlowPosterior(Repeat(Planar(), 3), amortized=True),
    "iaf": FlowPosterior(IAF, context_dim=2),
    "both": FlowPosterior(Planar(), amortized=True, context_dim=1),
}
B, D = 4, 2


@functools.cache
def init(family):
    """Parameters for points of the plane."""
    return jax.jit(lambda key: family.init(key, D))(KEY)


def build(posterior, num=B):
    """A posterior over points of the plane, given random outputs of an encoder."""
    h = np.random.default_rng(1).normal(size=(num, posterior.num_outputs(D)))
    h[:, 2 * D :] *= 3.0  # far from the flow's start
    params = jax.tree.map(lambda a: 1.5 * a, init(posterior))
    return posterior(params, jnp.asarray(h, jnp.float32), D)


@pytest.fixture(params=POSTERIORS, scope="module")
def posterior(request):
    return POSTERIORS[request.param]


def test_the_encoder_says_as_much_as_is_asked_of_it(posterior):
    assert POSTERIORS["planar"].num_outputs(40) == 2 * 40 + 3 * (2 * 40 + 1)  # u, w and b
    assert POSTERIORS["iaf"].num_outputs(40) == 2 * 40 + 2
    assert FlowPosterior(Chain(()), amortized=True).num_outputs(40) == 80
    wanted = posterior.num_outputs(D)
    with pytest.raises(
        ValueError, match=f"takes {wanted} encoder outputs .* returned {wanted - 1}"
    ):
        posterior(posterior.init(KEY, D), jnp.zeros((B, wanted - 1)), D)


def test_the_density_of_a_draw_is_by_change_of_variables(posterior):
    at = build(posterior)
    z, log_q = jax.jit(at.sample_and_log_prob)(KEY)
    np.testing.assert_allclose(jax.jit(at.sample)(KEY), z, rtol=1e-6)
    # The same by the inverse; and by the Jacobian of the way from noise to code.
    np.testing.assert_allclose(jax.jit(at.log_prob)(z), log_q, atol=1e-4)
    z_0 = at.base.sample(KEY)

    def draw(z_0):
        return dataclasses.replace(at, base=Fixed(z_0)).sample(KEY)

    jacobian = jax.jit(jax.jacrev(draw))(z_0)[np.arange(B), :, np.arange(B)]
    expected = at.base.log_prob(z_0) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(log_q, expected, atol=1e-4)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fixed:
    """A base whose draw is known."""

    z_0: jax.Array

    def sample(self, key):
        return self.z_0

    def log_prob(self, x):
        return jnp.zeros(len(x))


def test_every_examples_density_integrates_to_one(posterior):
    """On a grid wide enough: what the codes of one example have for a density."""
    at = build(posterior, num=1)
    side = np.linspace(-30.0, 30.0, 601)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 1, 2)
    log_q = jax.jit(jax.vmap(at.log_prob))(grid.astype(np.float32))
    total = np.exp(jax.nn.logsumexp(log_q)) * (side[1] - side[0]) ** 2
    np.testing.assert_allclose(total, 1.0, atol=0.02)


def two_modes(z):
    """Log-density up to a constant: a ring with two modes, U_1 of Rezende & Mohamed, table 1."""
    ring = -0.5 * ((jnp.linalg.norm(z, axis=-1) - 2.0) / 0.4) ** 2
    left, right = (-0.5 * ((z[..., 0] + m) / 0.6) ** 2 for m in (2.0, -2.0))
    return ring + jnp.logaddexp(left, right)


def fitted_kl(layers, steps=1000):
    """KL(q || p) in nats, after q of so many planar flows was fitted to the two modes."""
    side = jnp.linspace(-8.0, 8.0, 401)
    log_p = two_modes(jnp.stack(jnp.meshgrid(side, side), -1))
    log_normalizer = float(jax.nn.logsumexp(log_p)) + 2 * math.log(side[1] - side[0])
    family = FlowPosterior(Repeat(Planar(), layers) if layers else Chain(()))

    def free_energy(params, key, beta, num):
        h = jnp.broadcast_to(params["h"], (num, 4))
        z, log_q = family(params["flow"], h, D).sample_and_log_prob(key)
        return jnp.mean(log_q - beta * two_modes(z))

    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, steps))

    @jax.jit
    def fit(params):
        def step(carry, t):
            params, state = carry
            beta = jnp.minimum(1.0, 0.1 + 2 * t / steps)
            gradient = jax.grad(free_energy)(params, jax.random.fold_in(KEY, t), beta, 128)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), None

        carry = params, optimizer.init(params)
        params = jax.lax.scan(step, carry, jnp.arange(steps))[0][0]
        return free_energy(params, jax.random.key(1), 1.0, 20_000)

    start = {"flow": init(family), "h": jnp.zeros(2 * D)}
    return float(fit(start)) + log_normalizer


def test_the_divergence_from_a_known_density_falls_with_the_number_of_layers():
    """Rezende & Mohamed 2015, fig. 3: 3.2, 0.7 and 0.2 nats when this was written."""
    none, two, eight = fitted_kl(0), fitted_kl(2), fitted_kl(8)
    assert 0.0 < eight < 0.5 * two and two < 0.5 * none


W = np.array([[1.0, 0.5], [-0.7, 0.2], [0.3, -1.1], [0.4, 0.9]])
NOISE = 0.6
COVARIANCE = W @ W.T + NOISE**2 * np.eye(4)
X = np.random.default_rng(0).multivariate_normal(np.zeros(4), COVARIANCE, 8).astype(np.float32)
EVIDENCE = scipy.stats.multivariate_normal(np.zeros(4), COVARIANCE).logpdf(X)
EXACT = np.linalg.inv(np.eye(2) + W.T @ W / NOISE**2)


class Decode(nn.Module):
    """p(x | z) = N(W z, noise^2): a decoder under which log p(x) is known."""

    @nn.compact
    def __call__(self, z, context=None, *, train=False):
        mean = z @ W.T.astype(np.float32)
        return jnp.stack([mean, jnp.full_like(mean, np.log(NOISE))], axis=-1)


class Encode(nn.Module):
    """The exact posterior's mean, twice its variances, and something for the flow."""

    num_outputs: int

    @nn.compact
    def __call__(self, x, context=None, *, train=False):
        mean = x @ (EXACT @ W.T / NOISE**2).T.astype(np.float32)
        log_variance = jnp.broadcast_to(np.log(2.0 * np.diag(EXACT)), mean.shape)
        rest = 0.2 * nn.Dense(self.num_outputs - 4)(x)
        return jnp.concatenate([mean, log_variance, rest], axis=-1).astype(jnp.float32)


def linear_gaussian(**kwargs):
    """A VAE whose evidence is known, with the parameters that it starts with."""
    kwargs = {"posterior": POSTERIORS["planar"], **kwargs}
    encoder = Encode(kwargs["posterior"].num_outputs(2))
    spec = DataSpec((4,), num_levels=None, name="linear-Gaussian")
    model = gm.VAE(encoder, Decode(), 2, spec=spec, likelihood=likelihoods.normal, **kwargs)
    params, _ = jax.jit(model.init)(KEY, {"x": X})
    return model, {**params, "likelihood": jax.tree.map(jnp.zeros_like, params["likelihood"])}


@pytest.mark.parametrize("name", ["planar", "iaf"])
def test_bounds_are_below_the_exact_evidence_and_rise_to_it(name):
    model, params = linear_gaussian(posterior=POSTERIORS[name])

    def bounds(num_samples, times):
        """`[times, B]`; with one sample, the ELBO."""
        keys = jax.random.split(jax.random.key(1), times)
        bound = jax.vmap(lambda key: model.log_prob_bound(params, X, key, num_samples))
        return np.asarray(jax.jit(bound)(keys))

    elbo, tight = bounds(1, 1000), bounds(10_000, 1)
    assert elbo.mean() + 3 * elbo.mean(axis=1).std() / math.sqrt(1000) < EVIDENCE.mean()
    np.testing.assert_allclose(tight[0], EVIDENCE, atol=0.08)


def test_a_flow_as_the_prior_is_a_density_and_is_trained():
    prior = FlowPrior(Inverse(MaskedAutoregressive((8,))))
    model, params = linear_gaussian(prior=prior)
    at = prior(params["prior"], 3, 2)
    z, log_p = at.sample_and_log_prob(KEY)
    np.testing.assert_allclose(at.log_prob(z), log_p, atol=1e-4)
    loss = jax.jit(jax.grad(lambda p: model.loss(p, {"x": X}, KEY)[0]))
    for path, grad in jax.tree_util.tree_leaves_with_path(loss(params)["prior"]):
        assert np.all(np.isfinite(grad)) and np.any(grad != 0), jax.tree_util.keystr(path)


def test_no_layers_are_the_normal_posterior():
    """With the KL by the codes drawn, in place of the closed form."""
    h = np.random.default_rng(0).normal(size=(B, 4)).astype(np.float32)
    at = FlowPosterior(Chain(()), amortized=True)({"bijector": {}}, h, D)
    normal = gm.autoencoders.DiagonalNormal()({}, h, D)
    z, log_q = at.sample_and_log_prob(KEY)
    np.testing.assert_allclose(z, normal.sample(KEY), rtol=1e-6)
    np.testing.assert_allclose(log_q, normal.log_prob(z), rtol=1e-6)
