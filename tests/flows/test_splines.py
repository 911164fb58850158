"""The rational-quadratic spline: what makes it one, and that its inverse loses nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.flows import splines
from tests.flows.bijectors import jit

BOUND, NUM_BINS = 3.0, 6
forward, inverse = jax.jit(splines.forward), jax.jit(splines.inverse)
make_knots = jax.jit(functools.partial(splines.knots, bound=BOUND))


def draw_knots(num, scale=1.0, dtype=jnp.float32):
    raw = scale * np.random.default_rng(0).normal(size=(num, 3 * NUM_BINS - 1))
    return make_knots(jnp.asarray(raw, dtype))


def test_zeros_give_the_identity():
    x = jnp.linspace(-5.0, 5.0, 41)
    knots = make_knots(jnp.zeros((41, 3 * NUM_BINS - 1)))
    for way in (forward, inverse):
        y, log_slope = way(knots, x)
        np.testing.assert_allclose(y, x, atol=1e-5)
        np.testing.assert_allclose(log_slope, 0.0, atol=1e-5)


def test_it_goes_through_the_knots_with_their_slopes():
    with jax.enable_x64(True):
        knots = draw_knots(1, dtype=jnp.float64)
        places = knots.x[0]
        each = splines.Knots(*(jnp.repeat(a, NUM_BINS + 1, axis=0) for a in knots))
        for side in (-1e-9, 0.0, 1e-9):  # from both sides: value and derivative are continuous
            y, log_slope = forward(each, places + side)
            np.testing.assert_allclose(y, knots.y[0], atol=1e-7)
            np.testing.assert_allclose(jnp.exp(log_slope), knots.slope[0], rtol=1e-6)
    np.testing.assert_array_equal(knots.x[0, [0, -1]], [-BOUND, BOUND])
    np.testing.assert_array_equal(knots.y[0, [0, -1]], [-BOUND, BOUND])


def test_it_is_the_paper_s_quotient_of_quadratics():
    """Equation 4 of arXiv:1906.04032, as it stands there."""
    knots = draw_knots(1)
    x_k, y_k, d = (np.asarray(a[0], np.float64) for a in knots)
    for k in range(NUM_BINS):
        xi = np.linspace(0.05, 0.95, 7)
        s = (y_k[k + 1] - y_k[k]) / (x_k[k + 1] - x_k[k])
        numerator = (y_k[k + 1] - y_k[k]) * (s * xi**2 + d[k] * xi * (1 - xi))
        denominator = s + (d[k + 1] + d[k] - 2 * s) * xi * (1 - xi)
        x = jnp.asarray(x_k[k] + xi * (x_k[k + 1] - x_k[k]), jnp.float32)
        each = splines.Knots(*(jnp.repeat(a, len(xi), axis=0) for a in knots))
        y, _ = forward(each, x)
        np.testing.assert_allclose(y, y_k[k] + numerator / denominator, rtol=1e-4, atol=1e-5)


def test_it_rises_and_is_the_identity_outside():
    x = jnp.linspace(-2 * BOUND, 2 * BOUND, 2001)
    knots = splines.Knots(*(jnp.repeat(a, len(x), axis=0) for a in draw_knots(1, 2.0)))
    y, log_slope = forward(knots, x)
    assert np.all(np.diff(y) > 0)
    outside = np.abs(x) > BOUND
    np.testing.assert_array_equal(y[outside], x[outside])
    np.testing.assert_array_equal(log_slope[outside], 0.0)


def test_the_log_slope_is_that_of_the_derivative():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(1).uniform(-4, 4, 500))
        knots = draw_knots(500, dtype=jnp.float64)
        for way in (forward, inverse):
            _, log_slope = way(knots, x)
            slope = jax.grad(lambda x, way=way: jnp.sum(way(knots, x)[0]))(x)
            np.testing.assert_allclose(log_slope, jnp.log(slope), atol=1e-9)


def test_the_inverse_of_very_uneven_splines():
    """Raw numbers far from 0: bins and slopes at the limits that they are held to."""
    x = np.random.default_rng(1).uniform(-BOUND, BOUND, 4000)
    for dtype, x64, tolerance in ((jnp.float32, False, 1e-5), (jnp.float64, True, 1e-13)):
        with jax.enable_x64(x64):
            knots = draw_knots(len(x), scale=8.0, dtype=dtype)
            y, log_slope = forward(knots, jnp.asarray(x, dtype))
            back, log_slope_back = inverse(knots, y)
            # The best that rounding y allows: its error over the slope.
            error = np.abs(back - jnp.asarray(x, dtype))
            allowed = tolerance * np.maximum(1.0, np.exp(-np.asarray(log_slope)))
            assert np.all(error <= allowed)
            assert np.all(np.isfinite(log_slope_back))


def test_gradients_are_finite_at_and_beyond_every_place():
    def value(raw, x):
        knots = make_knots(raw)
        both = [*forward(knots, x), *inverse(knots, x)]
        return sum(jnp.sum(a) for a in both)

    one = draw_knots(1)
    x = jnp.concatenate([one.x[0], one.y[0], jnp.asarray([-1e30, -150.0, 150.0, 1e30])])
    raw = np.random.default_rng(0).normal(size=(1, 3 * NUM_BINS - 1))
    raw = jnp.repeat(jnp.asarray(raw, jnp.float32), len(x), axis=0)
    gradients = jit(jax.grad(value, argnums=(0, 1)))
    for scale in (1.0, 100.0):
        assert all(np.all(np.isfinite(g)) for g in gradients(scale * raw, x))
