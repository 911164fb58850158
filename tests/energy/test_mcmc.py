"""Chains on Gaussians: moments, acceptance and gradients against what is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.energy import mcmc

COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.4]])
PRECISION = np.linalg.inv(COVARIANCE)
MEAN = np.array([0.5, -1.0])
NUM = 10_000


def log_density(x):
    apart = x - MEAN
    return -0.5 * apart @ jnp.asarray(PRECISION, jnp.float32) @ apart


def ends(kernel, steps, start=None):
    x = jax.random.normal(jax.random.key(0), (NUM, 2)) if start is None else start
    run = jax.jit(lambda x: mcmc.run_chains(kernel, log_density, x, jax.random.key(1), steps))
    return jax.tree.map(np.asarray, run(x))


def biased(eps):
    """The covariance of the unadjusted chain: A^-1 (I - eps A / 2)^-1 for the precision A."""
    return COVARIANCE @ np.linalg.inv(np.eye(2) - 0.5 * eps * PRECISION)


def assert_moments(x, covariance):
    # Five standard errors of independent draws.
    error = 5 * np.sqrt(covariance.max() / NUM)
    np.testing.assert_allclose(x.mean(0), MEAN, atol=error)
    np.testing.assert_allclose(
        np.cov(x.T), covariance, atol=5 * covariance.max() * (2 / NUM) ** 0.5
    )


def test_langevin_has_the_bias_that_its_step_size_gives():
    x, info = ends(mcmc.Langevin(0.3), 60)
    assert_moments(x, biased(0.3))
    assert np.all(info.acceptance_rate == 1)
    with pytest.raises(AssertionError):
        assert_moments(x, COVARIANCE)


@pytest.mark.parametrize("kernel", [mcmc.MALA(0.3), mcmc.HMC(0.3, 4)], ids=["mala", "hmc"])
def test_adjusted_kernels_are_exact(kernel):
    x, info = ends(kernel, 60)
    assert_moments(x, COVARIANCE)
    assert np.all(info.acceptance_rate < 1) and info.acceptance_rate.mean() > 0.7


def test_less_noise_is_a_lower_temperature():
    eps, temperature = 0.03, 0.25
    kernel = mcmc.Langevin(eps, noise=(2 * eps * temperature) ** 0.5)
    x, _ = ends(kernel, 200)
    assert_moments(x, temperature * biased(eps))


def expected_acceptance(eps, leapfrogs):
    """E min(1, exp(-dH)) of HMC on N(0, 1), by quadrature over position and momentum."""
    g = np.linspace(-8, 8, 801)
    q, p = np.meshgrid(g, g)
    weight = np.exp(-0.5 * (q**2 + p**2)) * (g[1] - g[0]) ** 2 / (2 * np.pi)
    x, v = q, p
    for _ in range(leapfrogs):
        v = v - 0.5 * eps * x
        x = x + eps * v
        v = v - 0.5 * eps * x
    change = 0.5 * (x**2 + v**2 - q**2 - p**2)
    return np.sum(weight * np.minimum(1.0, np.exp(-change)))


@pytest.mark.parametrize(
    ("kernel", "eps", "leapfrogs"),
    # A MALA step is one leapfrog step of size sqrt(2 eps).
    [(mcmc.MALA(0.8), 1.6**0.5, 1), (mcmc.HMC(1.2, 3), 1.2, 3)],
    ids=["mala", "hmc"],
)
def test_acceptance_and_gradient_are_those_of_a_chain_at_rest(kernel, eps, leapfrogs):
    def normal(x):
        return -0.5 * jnp.sum(x**2)

    x = jax.random.normal(jax.random.key(2), (NUM, 1))
    run = jax.jit(lambda x: mcmc.run_chains(kernel, normal, x, jax.random.key(3), 5))
    _, info = run(x)
    exact = expected_acceptance(eps, leapfrogs)
    assert exact < 0.95
    for found, wanted in ((info.acceptance_rate, exact), (info.gradient_norm, (2 / np.pi) ** 0.5)):
        error = float(np.std(found) / NUM**0.5)
        np.testing.assert_allclose(float(np.mean(found)), wanted, atol=4 * error)


def test_noise_belongs_to_chains_and_context_to_each():
    def around(x, centre):
        return -0.5 * jnp.sum((x - centre) ** 2)

    centres = jnp.arange(5.0)[:, None] * jnp.ones((5, 2))

    @jax.jit
    def run(centres):
        x, key = jnp.zeros_like(centres), jax.random.key(0)
        return mcmc.run_chains(mcmc.Langevin(0.1), around, x, key, 100, centres)[0]

    far = run(100 * centres)
    np.testing.assert_allclose(run(100 * centres[:3]), far[:3], rtol=1e-5)
    np.testing.assert_allclose(far, 100 * centres, atol=5)


def test_a_chain_makes_steps():
    with pytest.raises(ValueError, match="steps is 0"):
        mcmc.run_chains(mcmc.Langevin(0.1), log_density, jnp.zeros((2, 2)), jax.random.key(0), 0)
