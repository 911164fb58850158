"""Consistency models: with the truth there is nothing to learn, and one step is enough."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from genjax_models import diffusion
from genjax_models.core import DataSpec
from genjax_models.diffusion import Consistency, Diffusion, samplers
from genjax_models.diffusion.consistency import pseudo_huber, squared_difference
from genjax_models.diffusion.schedules import of_log_snr

KEY = jax.random.key(0)
SPEC = DataSpec((2,), num_levels=None, name="points")
S = 0.5


class Points(nn.Module):
    """Of N(0, S^2): the ODE's end, f(x_t) = S x_t / std(x_t); the denoised data if `end` is 0."""

    @nn.compact
    def __call__(self, x, log_snr, context=None, *, train=False):
        end = self.param("end", nn.initializers.ones, ())
        alpha, sigma = (a[:, None] for a in of_log_snr(log_snr))
        variance = (alpha * S) ** 2 + sigma**2
        x_0 = jnp.where(end > 0, S * x / jnp.sqrt(variance), alpha * S**2 / variance * x)
        eps = (x - alpha * x_0) / sigma
        return diffusion.VelocityPrediction().target(x_0, eps, alpha, sigma)


def student(intervals=200, **kwargs):
    model = Consistency(Diffusion(Points(), spec=SPEC), intervals, **kwargs)
    return model, *model.init(KEY, {"x": points(4)})


def points(num):
    return S * jax.random.normal(jax.random.key(1), (num, 2))


def test_the_end_of_the_ode_is_consistent_along_the_teachers_path():
    def difference(intervals):
        model, params, state = student(intervals)
        state = model.with_teacher(state, {"network": {"end": jnp.zeros(())}})
        forward = jax.jit(functools.partial(model.forward, train=True))
        out, _ = forward(params, {"x": points(2000)}, KEY, state=state)
        return float(jnp.mean(squared_difference(out)) ** 0.5)

    few, many = difference(50), difference(200)
    assert many < 0.01
    assert many == pytest.approx(few / 16, rel=0.3)  # a step's error is of second order


@pytest.mark.parametrize("steps", [1, 3])
def test_one_step_or_a_few_draw_the_data(steps):
    model, params, state = student()
    x = model.sample(params, KEY, 20_000, timesteps=samplers.linear_timesteps(steps), state=state)
    np.testing.assert_allclose(jnp.std(x, axis=0), S, rtol=0.03)
    np.testing.assert_allclose(jnp.mean(x, axis=0), 0.0, atol=0.02)


def test_without_a_teacher_the_same_noise_is_lowered():
    model, params, state = student(distil=False)
    assert "teacher" not in state
    out, _ = model.forward(params, {"x": points(100)}, KEY, state=state, train=True)
    alpha, sigma = (a[:, None] for a in model.diffusion.schedule(out.t))
    noise = (out.x_t - alpha * out.x_0) / sigma
    alpha, sigma = (a[:, None] for a in model.diffusion.schedule(out.s))
    np.testing.assert_allclose(out.x_s, alpha * out.x_0 + sigma * noise, atol=2e-3)
    # The pseudo-Huber loss is the distance itself where that is large.
    distance = jnp.linalg.norm(out.prediction - out.target, axis=-1) / 2**0.5
    np.testing.assert_allclose(pseudo_huber(out), distance, atol=6e-4)


def test_the_teacher_is_not_trained():
    model, params, state = student()
    _, after = model.forward(params, {"x": points(8)}, KEY, state=state, train=True)
    assert after["teacher"] is state["teacher"]
    assert tuple(model.players) == ("consistency",)
    with pytest.raises(ValueError, match="give 1 or more"):
        Consistency(Diffusion(Points(), spec=SPEC), 0)
