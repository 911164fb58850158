"""Distances of point sets with a known optimal transport: shifts, and points on a line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from genjax_models.metrics.wasserstein import sliced_wasserstein, wasserstein, wasserstein_1d


def points(num, dims, seed=0):
    return np.random.default_rng(seed).normal(size=(num, dims)).astype(np.float32)


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_points_on_the_line(order):
    # Mass 1/3 each at 0, 1, 5 against 1/2 each at 1, 4: moved by 1 (1/3), 0 (1/6), 3 (1/6), 1 (1/3)
    cost = (1 + 1) / 3 + (0 + 3**order) / 6
    value = wasserstein_1d([5.0, 0.0, 1.0], [4.0, 1.0], order=order)
    assert float(value) == pytest.approx(cost ** (1 / order), rel=1e-6)


@pytest.mark.parametrize("numbers", [(7, 7), (6, 9), (1, 4)])
def test_unequal_numbers_on_the_line_agree_with_scipy(numbers):
    x, y = points(numbers[0], 1)[:, 0], points(numbers[1], 1, seed=1)[:, 0]
    value = float(wasserstein_1d(x, y, order=1.0))
    assert value == pytest.approx(wasserstein_distance(x, y), rel=1e-5)
    # A set that is there twice is the same law.
    assert float(wasserstein_1d(np.repeat(x, 3), y, order=1.0)) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("dims", [2, 10])
def test_a_shift_is_a_sliced_distance_of_its_length_over_root_dimensions(dims):
    x, shift = points(100, dims), np.linspace(1.0, 2.0, dims, dtype=np.float32)
    value = float(sliced_wasserstein(x, x + shift, jax.random.key(0), projections=4_000))
    exact = np.linalg.norm(shift) / np.sqrt(dims)
    assert value == pytest.approx(exact, rel=0.03)  # 4 standard errors of that many directions
    far = float(sliced_wasserstein(x, x + 3 * shift, jax.random.key(0), projections=4_000))
    assert far == pytest.approx(3 * value, rel=1e-4)


def test_of_gaussians_it_is_the_distance_of_their_scales():
    # W_2(N(0, a^2), N(0, b^2)) = |a - b| along every direction.
    x, y = 2.0 * points(8_000, 3), 0.5 * points(6_000, 3, seed=1)
    assert float(sliced_wasserstein(x, y, jax.random.key(0), 32)) == pytest.approx(1.5, rel=0.02)


def test_it_is_a_symmetric_distance_of_sets():
    x, y, key = points(30, 4), points(20, 4, seed=1), jax.random.key(0)
    assert float(sliced_wasserstein(x, x[::-1], key, 50)) == 0.0
    there, back = sliced_wasserstein(x, y, key, 50), sliced_wasserstein(y, x, key, 50)
    assert float(there) == pytest.approx(float(back), rel=1e-5)
    images = x.reshape(30, 2, 2, 1), y.reshape(20, 2, 2, 1)
    assert float(sliced_wasserstein(*images, key, 50)) == float(there)


def test_its_gradient_moves_points_to_the_others():
    x, shift, key = points(50, 2), jnp.array([3.0, 0.0]), jax.random.key(0)
    gradient = jax.grad(lambda v: sliced_wasserstein(x + v, x, key, 400) ** 2)(shift)
    np.testing.assert_allclose(gradient, shift, atol=0.3)  # d/dv |v|^2 / 2


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_exact_distances(order):
    x, shift = points(200, 3), np.array([0.3, -0.2, 0.6], np.float32)
    shuffled = np.random.default_rng(1).permutation(x + shift)
    assert wasserstein(x, shuffled, order=order) == pytest.approx(0.7, rel=1e-5)
    line = points(60, 1), points(60, 1, seed=1)
    along = float(wasserstein_1d(line[0][:, 0], line[1][:, 0], order=order))
    assert wasserstein(*line, order=order) == pytest.approx(along, rel=1e-5)
    # Never below the sliced distance.
    y = points(200, 3, seed=2) * 1.5
    assert wasserstein(x, y) > float(sliced_wasserstein(x, y, jax.random.key(0), 100))


def test_bad_input():
    x, key = points(10, 2), jax.random.key(0)
    with pytest.raises(ValueError, match="2 dimensions are compared with points of 3"):
        sliced_wasserstein(x, points(10, 3), key)
    with pytest.raises(ValueError, match="NaN"):
        sliced_wasserstein(x, np.full((4, 2), np.nan), key)
    with pytest.raises(ValueError, match="order is 0.5"):
        wasserstein(x, x, order=0.5)
    with pytest.raises(ValueError, match="projections is 0"):
        sliced_wasserstein(x, x, key, projections=0)
    with pytest.raises(ValueError, match="10 and 9 points"):
        wasserstein(x, x[:9])
    with pytest.raises(ValueError, match=r"shape \(0, 2\)"):
        wasserstein(x[:0], x)
    with pytest.raises(ValueError, match=r"shapes \(10, 2\), \(10, 2\): give \[N\]"):
        wasserstein_1d(x, x)


def test_a_small_shift_far_from_the_origin_is_seen():
    x = 1e6 + points(20, 2).astype(np.float64)
    assert wasserstein(x, x + np.array([1e-3, 0.0])) == pytest.approx(1e-3, rel=1e-4)
