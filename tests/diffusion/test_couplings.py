"""Couplings against SciPy's assignment, on one device and several; interpolants by their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax_models.core import random
from genjax_models.diffusion import couplings, samplers
from genjax_models.diffusion.grids import linear
from genjax_models.diffusion.schedules import RectifiedFlow

KEY = jax.random.key(4)
X = 1.0 + 0.5 * jax.random.normal(jax.random.key(1), (32, 2, 3))
transport = jax.jit(couplings.minibatch_optimal_transport)


def cost(x, noise):
    return float(jnp.sum((x - noise) ** 2))


def test_the_transport_is_the_cheapest_permutation_of_the_noise():
    from scipy.optimize import linear_sum_assignment

    drawn, dealt = couplings.independent(KEY, X), transport(KEY, X)
    rows = lambda a: sorted(map(tuple, np.asarray(a).reshape(len(a), -1).tolist()))  # noqa: E731
    assert rows(dealt) == rows(drawn)
    distances = np.sum((np.asarray(X)[:, None] - np.asarray(drawn)[None]) ** 2, axis=(2, 3))
    least = distances[linear_sum_assignment(distances)].sum()
    assert cost(X, dealt) == pytest.approx(least, rel=1e-5)
    assert cost(X, dealt) < 0.95 * cost(X, drawn)


@pytest.mark.parametrize("devices", [2, 8])
def test_the_transport_is_the_same_on_any_number_of_devices(devices):
    whole = transport(KEY, X)
    mapped = jax.pmap(
        lambda x: couplings.minibatch_optimal_transport(KEY, x), axis_name=random.DATA_AXIS
    )(X.reshape(devices, -1, 2, 3))
    np.testing.assert_array_equal(mapped.reshape(X.shape), whole)
    mesh = Mesh(np.asarray(jax.devices()[:devices]), (random.DATA_AXIS,))
    split = jax.device_put(X, NamedSharding(mesh, PartitionSpec(random.DATA_AXIS)))
    np.testing.assert_array_equal(transport(KEY, split), whole)


def test_independent_noise_is_that_of_the_examples_positions():
    np.testing.assert_array_equal(couplings.independent(KEY, X), random.normal(KEY, X.shape))


@pytest.mark.parametrize("path", [couplings.Interpolant(), couplings.bridge(2.0)])
def test_an_interpolant_starts_and_ends_at_its_examples_and_knows_its_velocity(path):
    x_0, x_1, z = jax.random.normal(KEY, (3, 5, 2))
    for t, end in ((0.0, x_0), (1.0, x_1)):
        np.testing.assert_allclose(path(x_0, x_1, z, jnp.full((5, 1), t))[0], end, atol=1e-6)
    t, h = jnp.linspace(0.1, 0.9, 5)[:, None], 1e-3
    slope = (path(x_0, x_1, z, t + h)[0] - path(x_0, x_1, z, t - h)[0]) / (2 * h)
    np.testing.assert_allclose(path(x_0, x_1, z, t)[1], slope, rtol=1e-3, atol=1e-3)


def test_an_interpolants_mean_velocity_leads_from_one_distribution_to_the_other():
    """x_0 ~ N(2, 0.25), x_1 ~ N(-1, 1): E[velocity | x_t] is linear in x_t."""
    path, schedule = couplings.bridge(0.8), RectifiedFlow()
    mean, variance = jnp.asarray([2.0, -1.0, 0.0]), jnp.asarray([0.25, 1.0, 1.0])

    def denoise(x_t, t):
        # Factors of x_0, x_1 and z in the state and in its velocity.
        state, velocity = jax.vmap(lambda e: jnp.stack(path(*e, t)))(jnp.eye(3)).T
        slope = jnp.sum(state * velocity * variance) / jnp.sum(state**2 * variance)
        return x_t - t * (jnp.sum(velocity * mean) + slope * (x_t - jnp.sum(state * mean)))

    x_1 = -1.0 + jax.random.normal(KEY, (20_000,))
    x_0 = jax.jit(lambda x: samplers.heun(denoise, schedule, x, linear(100), KEY))(x_1)
    assert float(jnp.mean(x_0)) == pytest.approx(2.0, abs=0.02)
    assert float(jnp.std(x_0)) == pytest.approx(0.5, abs=0.02)
