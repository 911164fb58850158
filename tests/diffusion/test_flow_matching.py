"""`FlowMatching` with networks whose velocity is known; couplings and interpolants."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax_models import diffusion
from genjax_models.core import DataSpec, random
from genjax_models.diffusion import FlowMatching, flow_matching, samplers
from genjax_models.diffusion.schedules import RectifiedFlow

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

    assert length(flow_matching.minibatch_optimal_transport) < 0.5 * length(
        flow_matching.independent
    )


def test_paths_may_begin_at_examples():
    model = FlowMatching(Shift(), SPEC, base="from", path=flow_matching.bridge(0.5))
    x = points(64)
    batch = {"x": x, "from": x + 3.0}
    params, state = model.init(KEY, batch)
    out, _ = model.forward(params, batch, KEY, state=state, train=True)
    np.testing.assert_allclose(out.x_1, x + 3.0)
    straight = dataclasses.replace(model, path=flow_matching.Interpolant())
    assert float(straight.loss(params, batch, KEY, state=state)[0]) == pytest.approx(0, abs=1e-9)
    drawn = model.sample(
        params, KEY, 64, base=x + 3.0, timesteps=samplers.linear_timesteps(7), state=state
    )
    np.testing.assert_allclose(drawn, x, atol=1e-5)
    with pytest.raises(ValueError, match="pass base="):
        model.sample(params, KEY, 4)
    with pytest.raises(ValueError, match="the batch has no entry 'from'"):
        model.init(KEY, {"x": x})


NOISE_KEY = jax.random.key(4)
X = 1.0 + 0.5 * jax.random.normal(jax.random.key(1), (32, 2, 3))
transport = jax.jit(flow_matching.minibatch_optimal_transport)


def cost(x, noise):
    return float(jnp.sum((x - noise) ** 2))


def test_the_transport_is_the_cheapest_permutation_of_the_noise():
    from scipy.optimize import linear_sum_assignment

    drawn, dealt = flow_matching.independent(NOISE_KEY, X), transport(NOISE_KEY, X)
    rows = lambda a: sorted(map(tuple, np.asarray(a).reshape(len(a), -1).tolist()))  # noqa: E731
    np.testing.assert_allclose(rows(dealt), rows(drawn), rtol=1e-6)
    distances = np.sum((np.asarray(X)[:, None] - np.asarray(drawn)[None]) ** 2, axis=(2, 3))
    least = distances[linear_sum_assignment(distances)].sum()
    assert cost(X, dealt) == pytest.approx(least, rel=1e-5)
    assert cost(X, dealt) < 0.95 * cost(X, drawn)


@pytest.mark.parametrize("devices", [2, 8])
def test_the_transport_is_the_same_on_any_number_of_devices(devices):
    whole = transport(NOISE_KEY, X)
    mapped = jax.pmap(
        lambda x: flow_matching.minibatch_optimal_transport(NOISE_KEY, x),
        axis_name=random.DATA_AXIS,
    )(X.reshape(devices, -1, 2, 3))
    np.testing.assert_allclose(mapped.reshape(X.shape), whole, rtol=1e-6)
    mesh = Mesh(np.asarray(jax.devices()[:devices]), (random.DATA_AXIS,))
    split = jax.device_put(X, NamedSharding(mesh, PartitionSpec(random.DATA_AXIS)))
    np.testing.assert_allclose(transport(NOISE_KEY, split), whole, rtol=1e-6)


def test_independent_noise_is_that_of_the_examples_positions():
    np.testing.assert_array_equal(
        flow_matching.independent(NOISE_KEY, X), random.normal(NOISE_KEY, X.shape)
    )


@pytest.mark.parametrize("path", [flow_matching.Interpolant(), flow_matching.bridge(2.0)])
def test_an_interpolant_starts_and_ends_at_its_examples_and_knows_its_velocity(path):
    x_0, x_1, z = jax.random.normal(NOISE_KEY, (3, 5, 2))
    for t, end in ((0.0, x_0), (1.0, x_1)):
        np.testing.assert_allclose(path(x_0, x_1, z, jnp.full((5, 1), t))[0], end, atol=1e-6)
    t, h = jnp.linspace(0.1, 0.9, 5)[:, None], 1e-3
    slope = (path(x_0, x_1, z, t + h)[0] - path(x_0, x_1, z, t - h)[0]) / (2 * h)
    np.testing.assert_allclose(path(x_0, x_1, z, t)[1], slope, rtol=1e-3, atol=1e-3)


def test_an_interpolants_mean_velocity_leads_from_one_distribution_to_the_other():
    """x_0 ~ N(2, 0.25), x_1 ~ N(-1, 1): E[velocity | x_t] is linear in x_t."""
    path, schedule = flow_matching.bridge(0.8), RectifiedFlow()
    mean, variance = jnp.asarray([2.0, -1.0, 0.0]), jnp.asarray([0.25, 1.0, 1.0])

    def denoise(x_t, t):
        # Factors of x_0, x_1 and z in the state and in its velocity.
        state, velocity = jax.vmap(lambda e: jnp.stack(path(*e, t)))(jnp.eye(3)).T
        slope = jnp.sum(state * velocity * variance) / jnp.sum(state**2 * variance)
        return x_t - t * (jnp.sum(velocity * mean) + slope * (x_t - jnp.sum(state * mean)))

    x_1 = -1.0 + jax.random.normal(NOISE_KEY, (20_000,))
    x_0 = jax.jit(
        lambda x: samplers.heun(denoise, schedule, x, samplers.linear_timesteps(100), NOISE_KEY)
    )(x_1)
    assert float(jnp.mean(x_0)) == pytest.approx(2.0, abs=0.02)
    assert float(jnp.std(x_0)) == pytest.approx(0.5, abs=0.02)
