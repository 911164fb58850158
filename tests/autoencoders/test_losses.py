"""Terms against closed forms."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.autoencoders import losses
from genjax_models.core import Normal
from genjax_models.core.distributions import Bernoulli

KEY = jax.random.key(0)


def outputs(**kwargs):
    return SimpleNamespace(**{"x": jnp.zeros((4, 3)), **kwargs})


def test_reconstruction_is_the_mean_over_an_examples_codes():
    x = jnp.array([[1.0], [0.0]])
    logits = jnp.array([[2.0], [-1.0], [0.5], [0.0], [1.0], [3.0]])  # 3 codes of each of 2 examples
    term = losses.reconstruction(outputs(x=x, z=jnp.zeros((6, 1)), likelihood=Bernoulli(logits)))
    sign = np.array([1, 1, 1, -1, -1, -1])
    expected = np.log1p(np.exp(-sign * np.asarray(logits)[:, 0])).reshape(2, 3).mean(1)
    np.testing.assert_allclose(term, expected, rtol=1e-5)


def test_free_bits_is_kl_above_the_minimum_and_flat_below():
    kl = jnp.array([[0.1, 3.0], [0.3, 1.0]])  # means 0.2 and 2
    term = losses.free_bits(0.5)
    np.testing.assert_allclose(term(outputs(x=jnp.zeros((2, 1)), kl=kl)), [2.5, 2.5], rtol=1e-6)
    grad = jax.grad(lambda kl: term(outputs(x=jnp.zeros((2, 1)), kl=kl)).mean())(kl)
    np.testing.assert_allclose(grad, [[0.0, 0.5], [0.0, 0.5]], rtol=1e-6)


def test_iwae_is_log_mean_exp_of_the_weights():
    x = jnp.zeros((2, 1))
    likelihood = Bernoulli(jnp.array([[0.0], [1.0], [2.0], [-1.0]]))
    log_p, log_q = jnp.array([-1.0, -2.0, -0.5, -3.0]), jnp.array([-0.3, -1.0, -2.0, -0.1])
    term = losses.iwae(
        outputs(x=x, z=jnp.zeros((4, 1)), likelihood=likelihood, log_p=log_p, log_q=log_q)
    )
    weights = np.exp(np.asarray(-jnp.logaddexp(0.0, likelihood.logits[:, 0]) + log_p - log_q))
    np.testing.assert_allclose(term, -np.log(weights.reshape(2, 2).mean(1)), rtol=1e-5)


def test_mmd_is_unbiased_and_tells_distributions_apart():
    def mmd(shift, seed):
        z, prior = jax.random.normal(jax.random.key(seed), (2, 64, 3))
        return losses.mmd(outputs(x=jnp.zeros((64, 1)), z=z + shift, z_prior=prior)).mean()

    same = np.array(jax.jit(jax.vmap(lambda s: mmd(0.0, s)))(jnp.arange(200)))
    assert abs(same.mean()) < 4 * same.std() / np.sqrt(200), "zero in expectation"
    apart = np.array([mmd(shift, 0) for shift in (0.5, 1.0, 2.0)])
    assert apart[0] > 5 * same.std() and np.all(np.diff(apart) > 0)


def test_total_correlation_of_gaussian_codes():
    """With q(z) a correlated normal, TC = -1/2 log(1 - rho^2).

    The posterior is a point of width s at each code, so q(z) is the codes' density smoothed by s.
    """
    rho, num, s = 0.9, 4000, 0.15
    covariance = np.array([[1.0, rho], [rho, 1.0]])
    loc = jax.random.multivariate_normal(KEY, jnp.zeros(2), covariance, (num,))
    posterior = Normal(loc, jnp.full(loc.shape, np.log(s)))
    z = posterior.sample(jax.random.key(1))
    term = jax.jit(
        lambda z: losses.total_correlation(num_data=num)(
            outputs(x=jnp.zeros((num, 1)), z=z, posterior=posterior)
        )
    )(z)
    # Minibatch-weighted sampling divides each density by M N, where the batch is the data's own
    # size M = N: by N once too often, d - 1 times more for the product of d marginals.
    offset = (2 - 1) * np.log(num)
    smoothed = covariance + s**2 * np.eye(2)
    truth = 0.5 * (np.log(smoothed[0, 0] * smoothed[1, 1]) - np.linalg.slogdet(smoothed)[1])
    np.testing.assert_allclose(term.mean() - offset, truth, atol=0.05)


def test_total_correlation_needs_densities_of_single_entries():
    with pytest.raises(TypeError, match="diagonal Normal"):
        losses.total_correlation(10)(outputs(z=jnp.zeros((4, 2)), posterior=object()))


def test_code_perplexity_is_the_number_of_codes_in_even_use():
    codes = jnp.array([[0, 1], [2, 3], [0, 1], [2, 3]])
    perplexity = losses.code_perplexity(outputs(codes=codes, num_codes=10))
    np.testing.assert_allclose(perplexity, 4.0, rtol=1e-6)
    one = losses.code_perplexity(outputs(codes=jnp.zeros((4, 2), int), num_codes=10))
    np.testing.assert_allclose(one, 1.0, rtol=1e-6)


def test_commitment_pulls_the_encoder_and_not_the_code():
    z_e, z_q = jnp.ones((2, 3)), jnp.zeros((2, 3))
    value = lambda e, q: losses.commitment(outputs(z_e=e, z_q=q)).sum()  # noqa: E731
    np.testing.assert_allclose(losses.commitment(outputs(z_e=z_e, z_q=z_q)), [3.0, 3.0])
    grad_e, grad_q = jax.grad(value, (0, 1))(z_e, z_q)
    np.testing.assert_allclose(grad_e, 2.0)
    np.testing.assert_allclose(grad_q, 0.0)
