"""Planar and radial flows: what test_bijectors.py does not ask of every bijector."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.flows.planar_radial import Planar, Radial

B, D = 6, 3
ROWS = np.random.default_rng(0)


def own_parameters(bijector, dtype=np.float32):
    """Parameters of each example's own `[B, ...]`, far from where they start."""
    start = bijector.init(jax.random.key(0), jnp.zeros((B, D)))
    return {
        name: np.asarray(a + 2.0 * ROWS.normal(size=(B, *a.shape)), dtype)
        for name, a in start.items()
    }


@pytest.mark.parametrize("bijector", [Planar(), Radial()], ids=["planar", "radial"])
def test_parameters_may_have_the_examples_axis(bijector):
    params, x = own_parameters(bijector), ROWS.normal(size=(B, D)).astype(np.float32)
    for way in (bijector.forward, bijector.inverse):
        together = jax.jit(way)(params, x)
        alone = jax.jit(jax.vmap(lambda p, row, way=way: way(p, row[None])))(params, x)
        np.testing.assert_allclose(together[0], alone[0][:, 0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(together[1], alone[1][:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_planar_inverse_is_exact_however_steep_or_flat_the_function_is(dtype):
    """w^T u from where the paper's constraint leaves a slope of 1e-9 to where it is 3000."""
    with jax.enable_x64(dtype == "float64"):
        w_u = np.concatenate([np.linspace(-20.0, 10.0, 61), np.geomspace(10.0, 3000.0, 40)])
        sizes = np.concatenate([-np.geomspace(1e-8, 1e4, 80), [0.0], np.geomspace(1e-8, 1e4, 80)])
        u, y = (a.ravel() for a in np.meshgrid(w_u, sizes))
        params = {"u": u[:, None], "w": np.ones_like(u)[:, None], "b": np.zeros_like(u)}
        params = {name: jnp.asarray(a, dtype) for name, a in params.items()}
        y = jnp.asarray(y[:, None], dtype)
        x, log_det = jax.jit(Planar().inverse)(params, y)
        again, _ = jax.jit(Planar().forward)(params, x)
        assert np.all(np.isfinite(log_det))
        error = np.abs(np.asarray(again) - np.asarray(y)) / np.maximum(np.abs(y), 1.0)
        assert error.max() < 10 * jnp.finfo(dtype).eps


@pytest.mark.parametrize("bijector", [Planar(), Radial()], ids=["planar", "radial"])
def test_gradients_through_the_inverse_are_those_of_the_solution(bijector):
    """f^-1(f(x)) = x for all parameters: as a function of them it is constant."""
    with jax.enable_x64(True):
        params = own_parameters(bijector, np.float64)
        x = ROWS.normal(size=(B, D))

        @jax.jit
        @functools.partial(jax.jacrev, argnums=(0, 1))
        def derivatives(params, x):
            y, log_det = bijector.forward(params, x)
            back, log_det_back = bijector.inverse(params, y)
            return back, log_det + log_det_back

        (of_params, of_x), (volume_of_params, volume_of_x) = derivatives(params, x)
        for a in jax.tree.leaves((of_params, volume_of_params, volume_of_x)):
            np.testing.assert_allclose(a, 0.0, atol=1e-9)
        identity = np.einsum("ab,ij->aibj", np.eye(B), np.eye(D))
        np.testing.assert_allclose(of_x, identity, atol=1e-9)
        # And it is not for want of a gradient: the inverse alone does depend on them.
        inverse = jax.jit(jax.grad(lambda p: jnp.sum(bijector.inverse(p, x)[0])))
        assert all(np.all(np.abs(a).max() > 1e-3) for a in jax.tree.leaves(inverse(params)))


def test_the_planar_constraint_is_the_papers():
    """w^T u_hat = -1 + log(1 + exp(w^T u)), read off from the slope at the hyperplane."""
    params = own_parameters(Planar())
    w = params["w"]
    on_hyperplane = -params["b"][:, None] * w / np.sum(w**2, axis=-1, keepdims=True)
    _, log_det = Planar().forward(params, jnp.asarray(on_hyperplane))
    w_u = np.sum(w * params["u"], axis=-1)
    slope = 1 + (-1 + np.log1p(np.exp(w_u)))
    np.testing.assert_allclose(np.exp(log_det), slope, rtol=1e-4, atol=3e-7)


def test_planar_flows_without_a_direction_shift_by_a_constant():
    params = {"u": jnp.ones(D), "w": jnp.zeros(D), "b": jnp.ones(())}
    x = jnp.asarray(ROWS.normal(size=(B, D)), jnp.float32)
    y, log_det = Planar().forward(params, x)
    np.testing.assert_allclose(y, x + np.tanh(1.0), rtol=1e-6)
    np.testing.assert_array_equal(log_det, 0.0)
    np.testing.assert_allclose(Planar().inverse(params, y)[0], x, atol=1e-6)


def test_a_radial_flow_is_smooth_at_its_center():
    """There it is linear, x_0 + (s / alpha)(x - x_0), with s = softplus(beta)."""
    params = {"center": jnp.ones(D), "alpha": jnp.asarray(0.3), "beta": jnp.asarray(-1.0)}
    x = jnp.ones((1, D))
    ratio = np.log1p(np.exp(-1.0)) / np.log1p(np.exp(0.3))
    jacobian = jax.jacrev(lambda x: Radial().forward(params, x)[0])(x)
    assert np.all(np.isfinite(jacobian))
    y, log_det = Radial().forward(params, x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_allclose(log_det, D * np.log(ratio), rtol=1e-5)
    near, _ = Radial().forward(params, x + 1e-3)
    np.testing.assert_allclose(near - 1.0, ratio * 1e-3, rtol=5e-3)
    np.testing.assert_array_equal(Radial().inverse(params, x)[0], x)
