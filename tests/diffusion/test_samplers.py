"""Samplers on Gaussian data, whose denoiser and whose ODE are known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models import diffusion
from genjax_models.diffusion import samplers

M, S = 0.7, 0.6  # the data: N(M, S^2)
KEY = jax.random.key(0)
VP, FLOW, EDM = diffusion.LinearBeta(), diffusion.RectifiedFlow(), diffusion.EDM(sigma_max=20.0)


def denoiser(schedule):
    """E[x_0 | x_t] of the data."""

    def denoise(x_t, t):
        alpha, sigma = schedule(t)
        gain = alpha * S**2 / (alpha**2 * S**2 + sigma**2)
        return M + gain * (x_t - alpha * M)

    return denoise


def deviation(schedule, t):
    """The mean and the standard deviation of x_t."""
    alpha, sigma = schedule(t)
    return alpha * M, jnp.sqrt(alpha**2 * S**2 + sigma**2)


def solution(schedule, x, t, end=None):
    """Where the probability-flow ODE leads from x at time t: to the data, or to a time."""
    mean, scale = deviation(schedule, t)
    mean_end, scale_end = (M, S) if end is None else deviation(schedule, end)
    return mean_end + scale_end * (x - mean) / scale


def draw(sampler, schedule, times, num=20_000):
    x = diffusion.initial_noise(schedule, (num,), times, KEY)
    run = jax.jit(lambda x, k: sampler(denoiser(schedule), schedule, x, times, k))
    return x, run(x, jax.random.key(1))


def order(sampler, schedule):
    """The slope of log error over log steps, in float64, where rounding is no error.

    Between two fixed times: before the last step, to no noise, whose error is the grid's.
    """
    with jax.enable_x64(True):
        x, errors = jnp.asarray([-1.3, 0.4, 1.9], jnp.float64), []
        for num in (32, 64, 128):
            times = jnp.linspace(0.97, 0.03, num, dtype=jnp.float64)
            path = sampler(denoiser(schedule), schedule, x, times, KEY, trajectory=True)
            exact = solution(schedule, x, times[0], times[-1])
            errors.append(float(jnp.max(jnp.abs(path[-2] - exact))))
    return np.log2(errors[-2] / errors[-1])


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (diffusion.ddim, 1),
        (diffusion.euler, 1),
        (diffusion.heun, 2),
        (diffusion.dpm_solver_2m, 2),
        (diffusion.dpm_solver_2s, 2),
    ],
    ids=lambda p: getattr(p, "__name__", str(p)),
)
@pytest.mark.parametrize("schedule", [EDM, FLOW], ids=["edm", "flow"])
def test_the_order_of_convergence_is_the_theorys(sampler, expected, schedule):
    assert order(sampler, schedule) == pytest.approx(expected, abs=0.2)


STOCHASTIC = {
    "ancestral_small": diffusion.ancestral,
    "ancestral_large": functools.partial(diffusion.ancestral, variance=diffusion.fixed_large),
    "ddim_eta_1": functools.partial(diffusion.ddim, eta=1.0),
    "heun_churned": functools.partial(diffusion.heun, churn=30.0),
    "predictor_corrector": diffusion.predictor_corrector,
}


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samplers_have_the_datas_moments(name):
    _, x_0 = draw(STOCHASTIC[name], VP, samplers.linear_timesteps(300))
    assert float(jnp.mean(x_0)) == pytest.approx(M, abs=0.02)
    assert float(jnp.std(x_0)) == pytest.approx(S, rel=0.03)


@pytest.mark.parametrize(
    ("sampler", "tolerance"),
    [
        (diffusion.ddim, 0.1),
        (diffusion.euler, 0.1),
        (diffusion.heun, 0.003),
        (diffusion.dpm_solver_2m, 0.003),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
@pytest.mark.parametrize("schedule", [VP, FLOW, EDM], ids=["vp", "flow", "edm"])
def test_deterministic_samplers_follow_the_ode_to_its_end(sampler, tolerance, schedule):
    times = samplers.karras_timesteps(schedule, 200, sigma_min=0.002)
    x, x_0 = draw(sampler, schedule, times, num=64)
    exact = solution(schedule, x, times[0])
    np.testing.assert_allclose(x_0, exact, atol=tolerance)


def test_ancestral_is_ddim_with_eta_1():
    times = samplers.linear_timesteps(20)
    _, one = draw(diffusion.ancestral, VP, times, num=16)
    _, other = draw(functools.partial(diffusion.ddim, eta=1.0), VP, times, num=16)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_on_straight_lines_euler_is_ddim():
    times = samplers.linear_timesteps(20)
    _, one = draw(diffusion.euler, FLOW, times, num=16)
    _, other = draw(diffusion.ddim, FLOW, times, num=16)
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "sampler",
    [
        diffusion.ancestral,
        diffusion.ddim,
        diffusion.euler,
        diffusion.heun,
        diffusion.dpm_solver_2m,
        diffusion.dpm_solver_2s,
        diffusion.predictor_corrector,
    ],
    ids=lambda p: p.__name__,
)
@pytest.mark.parametrize("steps", [1, 7])
def test_data_of_one_point_are_drawn_exactly(sampler, steps):
    # Whatever the noise, the last step ends at the denoised value: no noise left, none missing.
    point = jnp.asarray([0.3, -2.0, 5.0])
    times = samplers.linear_timesteps(steps)
    x = diffusion.initial_noise(VP, (3,), times, KEY)
    path = sampler(lambda x_t, t: point, VP, x, times, KEY, trajectory=True)
    assert path.shape == (steps + 1, 3)
    np.testing.assert_array_equal(path[0], x)
    np.testing.assert_allclose(path[-1], point, rtol=1e-6)


def test_predictions_of_exact_networks_are_one_denoiser():
    x_0, eps = jnp.asarray([0.5, -1.2]), jnp.asarray([0.1, 2.0])
    predictions = (
        diffusion.NoisePrediction(),
        diffusion.DataPrediction(),
        diffusion.VelocityPrediction(),
        diffusion.FlowPrediction(),
        diffusion.EDMPrediction(0.5),
    )
    for schedule in (VP, FLOW, EDM):
        alpha, sigma = schedule(jnp.asarray(0.6))
        x_t = alpha * x_0 + sigma * eps
        for prediction in predictions:
            network = prediction.target(x_0, eps, alpha, sigma)
            found = prediction.denoised(network, x_t, alpha, sigma)
            np.testing.assert_allclose(found, x_0, atol=2e-5, err_msg=str(prediction))


def test_edm_is_karras_preconditioning():
    p, s, s_d = diffusion.EDMPrediction(0.5), 0.8, 0.5
    root = np.sqrt(s**2 + s_d**2)
    one, sigma = jnp.ones(()), jnp.asarray(s)
    assert float(p.input_scale(one, sigma)) == pytest.approx(1 / root)
    assert float(p.denoised(0.0, 1.0, one, sigma)) == pytest.approx(s_d**2 / root**2)
    assert float(p.denoised(1.0, 0.0, one, sigma)) == pytest.approx(s * s_d / root)
