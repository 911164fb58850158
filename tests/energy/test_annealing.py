"""Annealed importance sampling against known constants, and its error bar against its errors."""

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.energy import annealing
from genjax_models.energy.mcmc import HMC, MALA

DIM = 10
SCALES = np.linspace(0.3, 1.5, DIM).astype(np.float32)
LOG_Z = float(np.sum(np.log(SCALES)) + 0.5 * DIM * np.log(2 * np.pi)) + 3.0


def log_base(x):
    return -0.5 * jnp.sum(x**2) - 0.5 * DIM * jnp.log(2 * jnp.pi)


def log_target(x):
    return 3.0 - 0.5 * jnp.sum(((x - 0.5) / SCALES) ** 2)


PATH = annealing.geometric(log_base, log_target)


@jax.jit
def estimates(betas):
    """Thirty estimates of 100 chains each, and their acceptance: one program for all betas."""
    kernel = HMC(0.3, 3)
    first = jax.random.normal(jax.random.key(0), (100, DIM))
    sizes = annealing.tune_step_sizes(kernel, PATH, betas, first, jax.random.key(1))

    def one(key):
        key_x, key_run = jax.random.split(key)
        x = jax.random.normal(key_x, (100, DIM))
        done = annealing.anneal(kernel, PATH, betas, x, key_run, step_sizes=sizes)
        return annealing.LogPartition.of_weights(done.log_weight), done.acceptance_rate

    return jax.vmap(one)(jax.random.split(jax.random.key(2), 30))


def test_log_z_in_ten_dimensions_is_within_its_error_bar():
    found, acceptance = jax.tree.map(np.asarray, estimates(annealing.sigmoidal(60)))
    z = (found.value - LOG_Z) / found.standard_error
    # Their errors are as large as their bars say, and centred.
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.5
    assert abs(np.mean(z)) < 4 / np.sqrt(len(z))
    assert np.median(found.standard_error) < 0.2
    assert 20 < np.median(found.effective_sample_size) < 100
    # Step sizes were tuned to accept two of three.
    assert abs(acceptance.mean() - 0.65) < 0.08


def test_fewer_betas_are_too_low_in_the_mean_and_less_sure():
    few = jnp.concatenate([jnp.zeros(58), annealing.sigmoidal(2)])
    found, _ = jax.tree.map(np.asarray, estimates(few))
    assert found.value.mean() < LOG_Z - 3 * found.value.std() / np.sqrt(30)
    assert np.median(found.effective_sample_size) < 20


def test_the_chains_end_at_the_target():
    betas, key = annealing.sigmoidal(40), jax.random.key(3)
    x = jax.random.normal(key, (1000, DIM))
    done = jax.jit(lambda x: annealing.anneal(MALA(0.05), PATH, betas, x, key, steps=3))(x)
    weights = np.asarray(jax.nn.softmax(done.log_weight))[:, None]
    mean = np.sum(weights * done.x, axis=0)
    np.testing.assert_allclose(mean, np.full(DIM, 0.5), atol=0.25)
    np.testing.assert_allclose(
        np.sqrt(np.sum(weights * (done.x - mean) ** 2, axis=0)), SCALES, rtol=0.25
    )


def test_the_weights_of_equal_chains_have_no_error():
    of_weights = jax.jit(annealing.LogPartition.of_weights)
    found = of_weights(jnp.full(7, -1234.5))
    np.testing.assert_allclose(found.value, -1234.5, rtol=1e-6)
    np.testing.assert_allclose(
        [found.standard_error, found.effective_sample_size], [0, 7], atol=1e-3
    )
    one_counts = of_weights(jnp.array([0.0] + [-200.0] * 6))
    np.testing.assert_allclose(one_counts.value, -np.log(7), rtol=1e-6)
    np.testing.assert_allclose(one_counts.effective_sample_size, 1, rtol=1e-5)


def test_betas_go_from_0_to_1_and_are_dense_at_the_ends():
    betas = np.asarray(annealing.sigmoidal(50))
    assert betas[0] == 0 and betas[-1] == 1 and len(betas) == 51
    steps = np.diff(betas)
    assert np.all(steps > 0) and steps[25] > 5 * steps[0]
    np.testing.assert_allclose(steps, steps[::-1], rtol=1e-3)


def test_the_evidence_of_a_linear_decoder():
    """x | z ~ N(W z, s^2 I) with z ~ N(0, I): the evidence is N(0, W W^T + s^2 I)."""
    w, s = np.array([[1.0, 0.5], [-0.7, 1.2], [0.4, -0.9]], np.float32), 0.3
    covariance = w @ w.T + s**2 * np.eye(3)
    x = np.array([[0.3, 0.1, -0.2], [2.0, 1.0, -0.5], [-1.0, 3.0, 0.5]], np.float32)
    exact = (
        -0.5 * np.einsum("bi,ij,bj->b", x, np.linalg.inv(covariance), x)
        - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    )

    def log_likelihood(x, z):
        return jnp.sum(jax.scipy.stats.norm.logpdf(x, w @ z, s))

    def log_prior(z):
        return jnp.sum(jax.scipy.stats.norm.logpdf(z))

    def estimate(x):
        z = jax.random.normal(jax.random.key(0), (200, 2))
        return annealing.log_evidence(
            log_likelihood, log_prior, z, x, jax.random.key(1), kernel=HMC(0.3, 3),
            betas=annealing.sigmoidal(40),
        )  # fmt: skip

    found = jax.jit(estimate)(x)
    assert found.value.shape == (3,)
    assert np.all(np.abs(found.value - exact) < 4 * found.standard_error)
    assert np.all(found.standard_error < 0.25)
