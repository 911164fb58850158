"""`FlowMatching` with networks whose velocity is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from genjax_models import diffusion
from genjax_models.core import DataSpec
from genjax_models.diffusion import FlowMatching, couplings, grids

KEY = jax.random.key(0)
SPEC = DataSpec((2,), num_levels=None, name="points")
MEAN, SCALE = jnp.array([0.7, -0.2]), 0.5


class Gaussian(nn.Module):
    """The mean velocity of straight paths between N(MEAN, SCALE^2) and N(0, 1), independent."""

    @nn.compact
    def __call__(self, x, log_snr, context=None, *, train=False):
        wrong = self.param("wrong", nn.initializers.zeros, ())
        t = jax.nn.sigmoid(-0.5 * log_snr)[:, None]
        gain = (1 - t) * SCALE**2 / ((1 - t) ** 2 * SCALE**2 + t**2)
        x_0 = MEAN + gain * (x - (1 - t) * MEAN)
        x_1 = t / ((1 - t) ** 2 * SCALE**2 + t**2) * (x - (1 - t) * MEAN)
        return x_1 - x_0 + wrong


class Shift(nn.Module):
    """Paths that all have one velocity."""

    @nn.compact
    def __call__(self, x, log_snr, context=None, *, train=False):
        return jnp.broadcast_to(self.param("velocity", nn.initializers.constant(3.0), ()), x.shape)


def points(num):
    return MEAN + SCALE * jax.random.normal(jax.random.key(1), (num, 2))


@pytest.mark.parametrize("sampler", [diffusion.euler, diffusion.dpm_solver_2m, diffusion.heun])
def test_samples_have_the_datas_moments(sampler):
    model = FlowMatching(Gaussian(), SPEC)
    params, state = model.init(KEY, {"x": points(4)})
    draw = jax.jit(lambda key: model.sample(params, key, 20_000, sampler=sampler, state=state))
    x = draw(KEY)
    np.testing.assert_allclose(jnp.mean(x, axis=0), MEAN, atol=0.02)
    np.testing.assert_allclose(jnp.std(x, axis=0), SCALE, rtol=0.05)


def test_the_loss_of_the_mean_velocity_is_the_variance_that_is_left():
    model = FlowMatching(Gaussian(), SPEC)
    params, state = model.init(KEY, {"x": points(4)})

    def loss(params):
        batch = {"x": points(20_000)}
        return model.loss(params, batch, KEY, state=state)[0]

    value, slope = jax.jit(jax.value_and_grad(loss))(params)
    t = (np.arange(1000) + 0.5) / 1000
    # Var[x_1 - x_0 | x_t] of two independent normals.
    left = SCALE**2 / ((1 - t) ** 2 * SCALE**2 + t**2)
    assert float(value) == pytest.approx(left.mean(), rel=0.02)
    assert abs(float(slope["network"]["wrong"])) < 0.05  # the mean velocity is where it is least


def test_optimal_transport_makes_paths_shorter():
    def length(coupling):
        model = FlowMatching(Gaussian(), SPEC, coupling)
        params, state = model.init(KEY, {"x": points(4)})
        out, _ = model.forward(params, {"x": points(128)}, KEY, state=state, train=True)
        return float(jnp.mean(out.velocity**2))

    assert length(couplings.minibatch_optimal_transport) < 0.5 * length(couplings.independent)


def test_paths_may_begin_at_examples():
    model = FlowMatching(Shift(), SPEC, base="from", path=couplings.bridge(0.5))
    x = points(64)
    batch = {"x": x, "from": x + 3.0}
    params, state = model.init(KEY, batch)
    out, _ = model.forward(params, batch, KEY, state=state, train=True)
    np.testing.assert_allclose(out.x_1, x + 3.0)
    straight = dataclasses.replace(model, path=couplings.Interpolant())
    assert float(straight.loss(params, batch, KEY, state=state)[0]) == pytest.approx(0, abs=1e-9)
    drawn = model.sample(params, KEY, 64, base=x + 3.0, times=grids.linear(7), state=state)
    np.testing.assert_allclose(drawn, x, atol=1e-5)
    with pytest.raises(ValueError, match="pass base="):
        model.sample(params, KEY, 4)
    with pytest.raises(ValueError, match="the batch has no entry 'from'"):
        model.init(KEY, {"x": x})
