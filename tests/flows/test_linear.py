"""Permutations, activation normalisation and 1x1 convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.flows.bijector import Repeat
from genjax_models.flows.linear import ActNorm, InvertibleConv1x1, Permute
from tests.flows.bijectors import jit

KEY = jax.random.key(0, impl="rbg")


def draw(*shape, loc=0.0, scale=1.0):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(loc, scale, shape), jnp.float32)


def test_permutations():
    x = jnp.arange(10.0).reshape(2, 5)
    np.testing.assert_array_equal(Permute().forward({}, x)[0], x[:, ::-1])
    np.testing.assert_array_equal(Permute((4, 0, 1, 2, 3)).forward({}, x)[0][0], [4, 0, 1, 2, 3])
    shuffled = Permute(seed=0).forward({}, x)[0][0]
    assert sorted(shuffled) == [0, 1, 2, 3, 4] and not np.array_equal(shuffled, x[0])
    np.testing.assert_array_equal(shuffled, Permute(seed=0).forward({}, x)[0][0])
    assert not np.array_equal(shuffled, Permute(seed=1).forward({}, x)[0][0])


def test_orders_that_are_none():
    with pytest.raises(ValueError, match="not a permutation of 0 .. 2"):
        Permute((0, 1, 1))
    with pytest.raises(ValueError, match="one of the two"):
        Permute((0, 1), seed=0)
    with pytest.raises(ValueError, match="has 2 entries, but the last axis has 3"):
        Permute((1, 0)).forward({}, jnp.zeros((1, 3)))


@pytest.mark.parametrize("shape", [(200, 3), (50, 4, 2, 3)])
def test_act_norm_starts_at_mean_0_and_variance_1(shape):
    x = draw(*shape, loc=7.0) * jnp.asarray([1.0, 0.2, 100.0])
    params = ActNorm().init(KEY, x)
    y, log_det = ActNorm().forward(params, x)
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(jnp.mean(y, axes), 0.0, atol=1e-4)
    np.testing.assert_allclose(jnp.std(y, axes), 1.0, atol=1e-4)
    # The determinant, from the standard deviations themselves.
    positions = np.prod(shape[1:-1])
    expected = -positions * np.sum(np.log(np.std(np.asarray(x, np.float64), axes)))
    np.testing.assert_allclose(log_det, expected, rtol=1e-4)


def test_act_norm_of_a_channel_that_does_not_vary_is_finite():
    x = jnp.full((10, 2), 3.0)
    params = ActNorm().init(KEY, x)
    y, log_det = ActNorm().forward(params, x)
    np.testing.assert_allclose(y, 0.0, atol=1e-3)
    assert np.all(np.isfinite(log_det))


@pytest.mark.parametrize("level", [0.0, 0.1, -3.0, 1e4])
@pytest.mark.parametrize("noise", [0.0, 1e-9])
@pytest.mark.parametrize("num", [1, 2, 128])
def test_a_channel_without_spread_starts_at_the_scale_1(level, noise, num):
    """So that what the first examples lack (here a 1 more) is not an event of 10^6 deviations."""
    x = draw(num, 3).at[:, 2].set(level + noise * np.arange(num))
    params = ActNorm().init(KEY, x)
    y, log_det = ActNorm().forward(params, x.at[:, 2].add(1.0))
    np.testing.assert_allclose(y[:, 2], 1.0, atol=1e-2)
    assert params["log_scale"][2] == 0.0
    if num == 1:
        np.testing.assert_array_equal(params["log_scale"], 0.0)
        np.testing.assert_array_equal(log_det, 0.0)


@pytest.mark.parametrize("size", [1, 2, 12])
def test_a_conv_1x1_starts_as_an_orthogonal_matrix(size):
    bijector = InvertibleConv1x1(seed=size)
    params = jit(bijector.init)(KEY, jnp.zeros((1, size)))
    weight = bijector.forward(params, jnp.eye(size))[0].T  # columns: what becomes of unit vectors
    np.testing.assert_allclose(weight @ weight.T, jnp.eye(size), atol=1e-5)
    np.testing.assert_allclose(jnp.sum(params["log_scale"]), 0.0, atol=1e-5)
    if size > 2:
        assert np.max(np.abs(np.tril(params["lower"], -1))) <= 1.0  # pivoting has done its work


def test_repeated_convolutions_start_at_different_matrices():
    params = jit(Repeat(InvertibleConv1x1(), 3).init)(KEY, jnp.ones((2, 4)))
    for i in range(3):
        assert not np.allclose(params["upper"][i], params["upper"][i - 1])


def test_a_conv_1x1_is_the_same_map_at_every_pixel():
    x = draw(2, 3, 4, 5)
    bijector = InvertibleConv1x1()
    params = jit(bijector.init)(KEY, x)
    params = {**params, "log_scale": params["log_scale"] + 0.1}
    y, log_det = bijector.forward(params, x)
    by_pixel, log_det_of_pixel = bijector.forward(params, x.reshape(-1, 5))
    np.testing.assert_allclose(y.reshape(-1, 5), by_pixel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_det, 12 * log_det_of_pixel[:2], rtol=1e-5)
    np.testing.assert_allclose(log_det, 12 * 5 * 0.1, rtol=1e-4)
