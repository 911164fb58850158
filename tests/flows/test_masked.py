"""Masked autoregressive flows: what test_bijectors.py does not ask of every bijector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.flows.masked import Affine, MaskedAutoregressive
from genjax_models.flows.splines import Spline
from genjax_models.networks.made import MADE

B, D = 4, 5
X = np.random.default_rng(0).normal(size=(B, D)).astype(np.float32)


def start(bijector, context=None):
    params = jax.jit(bijector.init)(jax.random.key(0), X, context)
    return jax.tree.map(lambda a: 2.0 * a, params)


@pytest.fixture(scope="module", params=[Affine(), Spline(4, 3.0)], ids=["affine", "spline"])
def flow(request):
    bijector = MaskedAutoregressive((20, 20), request.param)
    return bijector, start(bijector)


def test_an_entry_depends_on_itself_and_on_those_before_it(flow):
    bijector, params = flow
    jacobian = jax.jit(jax.vmap(jax.jacrev(lambda x: bijector.forward(params, x[None])[0][0])))(X)
    seen = np.abs(jacobian).max(axis=0) > 0
    np.testing.assert_array_equal(seen, np.tril(np.ones((D, D))) > 0)
    log_det = jax.jit(bijector.forward)(params, X)[1]
    diagonal = np.diagonal(jacobian, axis1=1, axis2=2)
    assert np.all(diagonal > 0)
    np.testing.assert_allclose(log_det, np.log(diagonal).sum(axis=1), rtol=1e-4, atol=1e-5)


def test_the_inverse_finds_what_went_in(flow):
    bijector, params = flow
    y, log_det = jax.jit(bijector.forward)(params, X)
    x, log_det_back = jax.jit(bijector.inverse)(params, y)
    np.testing.assert_allclose(x, X, atol=1e-5)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-5)


def test_scales_are_bounded_whatever_the_network_returns():
    h = jnp.asarray([[0.0, 1e30], [0.0, -1e30], [3.0, 0.0]])
    y, log_slope = Affine(2.0).forward(h, jnp.ones(3))
    np.testing.assert_allclose(log_slope, [-2.0, 2.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(y, [np.exp(-2), np.exp(2), -2.0], rtol=1e-6)


def test_a_network_of_ones_own_serves_and_must_fit():
    bijector = MaskedAutoregressive(network=MADE((D,), 2, (9,)))
    params = start(bijector)
    y, _ = jax.jit(bijector.forward)(params, X)
    np.testing.assert_allclose(jax.jit(bijector.inverse)(params, y)[0], X, atol=1e-4)
    wrong = MaskedAutoregressive(network=MADE((D,), 3, (9,)))
    with pytest.raises(ValueError, match="Affine takes 2 network outputs an entry.*outputs=2"):
        wrong.forward(start(wrong), jnp.asarray(X))


def test_both_directions_have_gradients_by_every_parameter(flow):
    """Also the inverse, which an IAF is trained through when densities are asked of it."""
    bijector, params = flow

    @jax.jit
    @jax.grad
    def gradient(params):
        x, log_det = bijector.inverse(params, X)
        return jnp.mean(log_det) + jnp.mean(x**2)

    for path, grad in jax.tree_util.tree_leaves_with_path(gradient(params)):
        assert np.all(np.isfinite(grad)) and np.any(grad != 0), jax.tree_util.keystr(path)
