"""Schedules against their definitions: ends, monotone log-SNR, inverses, and DDPM's own numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import diffusion
from genjax_models.diffusion import samplers

SCHEDULES = {
    "linear_beta": diffusion.LinearBeta(),
    "cosine": diffusion.Cosine(),
    "variance_exploding": diffusion.VarianceExploding(),
    "edm": diffusion.EDM(),
    "rectified_flow": diffusion.RectifiedFlow(),
}
T = jnp.linspace(0.001, 0.999, 400)


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


def test_the_log_snr_is_that_of_alpha_and_sigma_and_falls(schedule):
    alpha, sigma = schedule(T)
    log_snr = schedule.log_snr(T)
    np.testing.assert_allclose(log_snr, 2 * jnp.log(alpha / sigma), rtol=1e-4, atol=1e-4)
    assert np.all(np.diff(log_snr) < 0)


def test_the_time_of_a_log_snr_is_its_inverse(schedule):
    np.testing.assert_allclose(schedule.time(schedule.log_snr(T)), T, rtol=2e-4, atol=2e-6)


def test_it_is_differentiable_where_samplers_look(schedule):
    slopes = jax.vmap(jax.grad(lambda t: sum(schedule(t))))(T)
    assert np.all(np.isfinite(slopes))


@pytest.mark.parametrize("name", ["linear_beta", "cosine"])
def test_variance_is_preserved_and_time_0_is_the_data_exactly(name):
    alpha, sigma = SCHEDULES[name](T)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, rtol=1e-6)
    alpha, sigma = SCHEDULES[name](jnp.zeros(()))
    assert float(alpha) == 1.0 and float(sigma) == 0.0


def test_linear_beta_in_1000_steps_is_ddpm():
    # alpha_bar_i = prod (1 - beta_j), beta from 1e-4 to 0.02; time i / 1000 to first order in beta.
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    alpha, _ = diffusion.LinearBeta()(jnp.arange(1, 1001) / 1000)
    np.testing.assert_allclose(2 * np.log(alpha), np.log(alpha_bar), rtol=0.02, atol=5e-4)


def test_cosine_is_the_papers_but_for_its_end():
    f = np.cos((np.asarray(T) + 0.008) / 1.008 * np.pi / 2)
    alpha, _ = diffusion.Cosine(min_log_snr=-40.0)(T)
    np.testing.assert_allclose(alpha, f / np.cos(0.008 / 1.008 * np.pi / 2), atol=1e-6)
    assert float(diffusion.Cosine().log_snr(jnp.ones(()))) == pytest.approx(-13.0, abs=0.01)


def test_edm_times_are_karras_grid():
    i = np.arange(18)
    sigma = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    _, ours = diffusion.EDM()(1 - jnp.asarray(i) / 17)
    np.testing.assert_allclose(ours, sigma, rtol=1e-4)
    times = samplers.karras_timesteps(diffusion.LinearBeta(), 18, sigma_max=40.0)
    alpha, ours = diffusion.LinearBeta()(times)
    sigma = (40 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 40 ** (1 / 7))) ** 7
    np.testing.assert_allclose(ours / alpha, sigma, rtol=1e-2)


def test_grids_fall_from_one():
    np.testing.assert_allclose(samplers.linear_timesteps(4), [1.0, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(samplers.quadratic_timesteps(4), [1.0, 0.5625, 0.25, 0.0625])
    samplers.check_timesteps(samplers.karras_timesteps(diffusion.RectifiedFlow(), 10))


@pytest.mark.parametrize("num", [0, -3])
def test_a_grid_without_steps_is_refused(num):
    with pytest.raises(ValueError, match=f"is {num}: give a whole number"):
        samplers.linear_timesteps(num)


@pytest.mark.parametrize("times", [[0.5, 0.7], [1.0, 1.0], [1.2, 0.5], [0.5, -0.1]])
def test_times_that_do_not_fall_are_refused(times):
    with pytest.raises(ValueError, match="give timesteps that fall"):
        samplers.check_timesteps(jnp.asarray(times))
