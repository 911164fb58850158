"""Energy models of Gaussians: what each training learns against closed form."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.core.types import DataSpec
from genjax_models.energy import (
    HMC,
    EnergyModel,
    Gaussian,
    Langevin,
    Normalized,
    NormalizedDiscrete,
    Replay,
    log_partition,
    sigmoidal,
)
from tests.energy.exact import POINTS, Exactly, Quadratic

COVARIANCE = np.array([[0.8, 0.3], [0.3, 0.5]])
MEAN = np.array([0.4, -0.6])
MODEL = EnergyModel(Quadratic(), POINTS, Gaussian(1.5), Replay(Langevin(0.1), 2, size=100))


def draws(key, num):
    noise = jax.random.normal(key, (num, 2))
    return jnp.asarray(MEAN) + noise @ jnp.asarray(np.linalg.cholesky(COVARIANCE).T)


def learned(loss, steps=600, num=500):
    """The network's parameters after Adam on fresh data."""
    params, state = MODEL.init(jax.random.key(0), {"x": jnp.zeros((4, 2))})
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, steps))

    def step(carry, key):
        params, opt_state = carry
        key_x, key_loss = jax.random.split(key)
        batch = {"x": draws(key_x, num)}
        grads, _ = jax.grad(loss, has_aux=True)(params, batch, key_loss, state=state)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    keys = jax.random.split(jax.random.key(1), steps)
    start = (params, optimizer.init(params))
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, keys))(start)
    return params


def gaussian_of(params):
    """Precision and mean of what the quadratic network is, tilted by its reference."""
    p = params["network"]
    precision = 0.5 * (p["a"] + p["a"].T) + np.eye(2) / MODEL.reference.scale**2
    return precision, np.linalg.solve(precision, p["b"])


@pytest.mark.parametrize("sigma", [None, 0.3], ids=["sliced", "denoising"])
def test_score_matching_recovers_the_precision(sigma):
    loss = MODEL.sliced_loss() if sigma is None else MODEL.denoising_loss(sigma)
    precision, mean = gaussian_of(learned(loss))
    # Denoising learns the data with their noise.
    covariance = COVARIANCE + (sigma or 0.0) ** 2 * np.eye(2)
    np.testing.assert_allclose(precision, np.linalg.inv(covariance), atol=0.1)
    np.testing.assert_allclose(mean, MEAN, atol=0.05)


def test_noise_contrastive_estimation_recovers_the_log_normaliser():
    params = learned(MODEL.noise_contrastive_loss(nu=2))
    precision, mean = gaussian_of(params)
    np.testing.assert_allclose(precision, np.linalg.inv(COVARIANCE), atol=0.2)
    np.testing.assert_allclose(mean, MEAN, atol=0.05)
    # The density integrates to 1: its constant is that of the Gaussian.
    x = draws(jax.random.key(7), 500)
    exact = jax.scipy.stats.multivariate_normal.logpdf(x, MEAN, COVARIANCE)
    np.testing.assert_allclose(MODEL.log_density(params, x).mean(), exact.mean(), atol=0.03)
    options = {"num": 300, "betas": sigmoidal(40), "kernel": HMC(0.1, 3)}
    estimate = jax.jit(lambda p: log_partition(MODEL, p, jax.random.key(8), **options))
    found = estimate(params)
    assert abs(found.value) < 4 * found.standard_error < 0.2


def quadratic(a, b=(0.0, 0.0), c=0.0):
    return {"network": {"a": jnp.asarray(a), "b": jnp.asarray(b), "c": jnp.asarray(c)}}


def test_the_gradient_of_contrastive_divergence_is_that_of_the_likelihood():
    """With exact samples of the model, -d/dA E log p = (E_data x x^T - E_model x x^T) / 2."""
    curvature, num = 0.7, 20_000
    variance = 1 / (curvature + 1 / MODEL.reference.scale**2)
    model = dataclasses.replace(MODEL, replay=Replay(Exactly(variance), steps=1, size=0))
    params = quadratic(curvature * np.eye(2), c=3.0)
    loss = model.loss.drop("energy_magnitude")
    batch = {"x": draws(jax.random.key(0), num)}
    grads, aux = jax.jit(jax.grad(loss, has_aux=True))(params, batch, jax.random.key(1))
    second = COVARIANCE + np.outer(MEAN, MEAN)
    np.testing.assert_allclose(
        grads["network"]["a"], 0.5 * (second - variance * np.eye(2)), atol=5 * 1.4 / num**0.5
    )
    np.testing.assert_allclose(grads["network"]["b"], -MEAN, atol=5 * 1.5 / num**0.5)
    # A constant cancels; it is the energies' magnitude that holds it.
    np.testing.assert_allclose(grads["network"]["c"], 0.0, atol=1e-6)
    assert aux.metrics["acceptance_rate"] == 1
    terms = model.loss.terms
    forward = jax.jit(functools.partial(model.forward, train=True))
    outputs, _ = forward(params, batch, jax.random.key(1), state={})
    np.testing.assert_allclose(
        terms["energy_magnitude"](outputs), outputs.tilt**2 + outputs.tilt_model**2, rtol=1e-5
    )
    np.testing.assert_allclose(
        outputs.energy, -model.log_density(params, batch["x"]), rtol=1e-4, atol=1e-4
    )


def test_energy_score_and_density_are_of_one_function():
    params = quadratic([[1.0, 0.2], [0.2, 0.5]], b=(0.3, -0.1), c=0.7)
    x = draws(jax.random.key(0), 5)
    precision, mean = gaussian_of(params)
    score, energy = jax.jit(lambda p, x: (MODEL.score(p, x), MODEL.energy(p, x)))(params, x)
    np.testing.assert_allclose(score, (mean - x) @ precision, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(energy, -MODEL.log_density(params, x), rtol=1e-5)
    # log Z of the Gaussian, in closed form: the energy's integral.
    least = MODEL.energy(params, jnp.asarray(mean)[None])[0]
    log_z = float(-least - 0.5 * np.linalg.slogdet(precision / (2 * np.pi))[1])
    density = Normalized(MODEL, log_z)
    exact = jax.scipy.stats.multivariate_normal.logpdf(x, mean, np.linalg.inv(precision))
    np.testing.assert_allclose(density.log_prob(params, x), exact, rtol=1e-4, atol=1e-4)
    assert isinstance(density, gm.core.TractableDensity)
    assert isinstance(MODEL, gm.core.UnnormalizedDensity)


def test_the_reference_is_a_density():
    reference = Gaussian(scale=0.7, mean=-0.2)
    g = np.linspace(-6, 6, 401)
    grid = jnp.stack(jnp.meshgrid(g, g), -1).reshape(-1, 2)
    total = np.exp(reference.log_prob(grid)).sum() * (g[1] - g[0]) ** 2
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)
    x = reference.sample(jax.random.key(0), (20_000, 2))
    np.testing.assert_allclose(
        -reference.log_prob(x).mean(), 1 + np.log(2 * np.pi * 0.49), atol=0.03
    )


LEVELS = DataSpec((2,), num_levels=5, name="levels")


def test_the_probabilities_of_discrete_data_are_bounded():
    every = jnp.stack(jnp.meshgrid(jnp.arange(5), jnp.arange(5)), -1).reshape(-1, 2)
    every = every.astype(jnp.uint8)
    # With f = 0 the model is its reference, whose cells have known probabilities.
    model = EnergyModel(Quadratic(), LEVELS, Gaussian(0.5), Replay(size=0))
    params = quadratic(np.zeros((2, 2)))
    cdf = jax.scipy.stats.norm.cdf(np.linspace(-1, 1, 6) / 0.5)
    exact = np.log(np.diff(cdf))[np.asarray(every)].sum(-1)
    density = NormalizedDiscrete(model, log_z=0.0)
    bound = jax.jit(density.log_prob_bound, static_argnums=3)
    found = bound(params, every, jax.random.key(1), 2000)
    np.testing.assert_allclose(found, exact, atol=0.05)
    one = np.mean([bound(params, every, jax.random.key(i), 1) for i in range(50)], 0)
    assert np.all(one < exact + 0.03) and one.mean() < exact.mean() - 0.01


def test_samples_are_the_model_s():
    params = quadratic([[1.0, 0.2], [0.2, 0.5]], b=(0.3, -0.1))
    precision, mean = gaussian_of(params)
    options = {"steps": 40, "kernel": gm.energy.MALA(0.4)}
    sample = jax.jit(functools.partial(MODEL.sample, num=5000, **options))
    x = np.asarray(sample(params, jax.random.key(0)))
    np.testing.assert_allclose(x.mean(0), mean, atol=0.06)
    np.testing.assert_allclose(np.cov(x.T), np.linalg.inv(precision), atol=0.08)


def test_bad_input_is_refused():
    model = EnergyModel(gm.networks.MLP((4, 2)), POINTS)
    with pytest.raises(ValueError, match=r"the network returned \(2,\) for each example"):
        model.init(jax.random.key(0), {"x": jnp.zeros((3, 2))})
    with pytest.raises(ValueError, match="use NormalizedDiscrete"):
        Normalized(EnergyModel(Quadratic(), LEVELS), 0.0)
    with pytest.raises(ValueError, match="use Normalized"):
        NormalizedDiscrete(MODEL, 0.0)
