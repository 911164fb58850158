"""What the networks of diffusion models have in common: `network(x, log_snr, context)`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax_models.networks.dit import DiT
from genjax_models.networks.mlp import DenoisingMLP
from genjax_models.networks.unet import UNet

LEVELS = jnp.array([-3.0, 0.5, jnp.inf])
CONTEXT = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
CASES = {
    "unet": (
        functools.partial(UNet, 8, 2, (1, 2), 1, (False, True), heads=2, groups=4),
        (6, 4, 3),
        (6, 4, 2),
    ),
    "dit": (functools.partial(DiT, 2, 8, 2, 2, 2), (6, 4, 3), (6, 4, 2)),
    "mlp": (functools.partial(DenoisingMLP, 2, 16, 2), (5,), (2,)),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """The network's maker, fresh variables and noisy ones, inputs and the output's shape."""
    make, shape, out = CASES[request.param]
    rng = np.random.default_rng(0)
    draw = lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    x = draw((3, *shape))
    # The generator whose draws are the fastest to compile.
    fresh = jax.jit(make().init)(jax.random.key(0, impl="rbg"), x, LEVELS, CONTEXT)
    noisy = jax.tree.map(lambda a: a + 0.2 * draw(a.shape), fresh)
    return make, fresh, noisy, x, out, jax.jit(make().apply)


def test_the_output_is_small_at_first_and_depends_on_everything(case):
    _, fresh, noisy, x, out, apply = case
    y = apply(fresh, x, LEVELS, CONTEXT)
    assert y.shape == (3, *out) and y.dtype == jnp.float32
    assert 0.0 < np.std(y) < 0.3
    y = apply(noisy, x, LEVELS, CONTEXT)
    assert np.all(np.isfinite(y))
    for other in (
        apply(noisy, 2 * x, LEVELS, CONTEXT),
        apply(noisy, x, LEVELS[::-1], CONTEXT),
        apply(noisy, x, LEVELS, 1.0 - CONTEXT),
    ):
        assert np.max(np.abs(other - y)[0]) > 1e-3


def test_examples_do_not_see_each_other(case):
    _, _, noisy, x, _, apply = case
    order = jnp.array([2, 0, 1])
    y = apply(noisy, x, LEVELS, CONTEXT)
    permuted = apply(noisy, x[order], LEVELS[order], CONTEXT[order])
    np.testing.assert_allclose(permuted, y[order], rtol=1e-4, atol=1e-5)


def test_a_context_of_zeros_is_no_context(case):
    make, _, noisy, x, _, apply = case
    params = {**noisy["params"]}
    params["level"] = {k: v for k, v in params["level"].items() if k != "of_context"}
    without = jax.jit(make().apply)({"params": params}, x, LEVELS)
    zeros = apply(noisy, x, LEVELS, jnp.zeros_like(CONTEXT))
    np.testing.assert_allclose(zeros, without, rtol=1e-4, atol=1e-5)


def test_half_precision_gives_float32_near_the_whole(case):
    make, _, noisy, x, _, apply = case
    whole = apply(noisy, x, LEVELS, CONTEXT)
    half = jax.jit(make(dtype=jnp.bfloat16).apply)
    y = half(noisy, x, LEVELS, CONTEXT)
    assert y.dtype == jnp.float32
    assert np.mean(np.abs(y - whole)) < 0.1 * np.std(whole)
    assert "bf16" in half.lower(noisy, x, LEVELS, CONTEXT).as_text()


def test_every_parameter_has_a_gradient_from_the_first_step(case):
    make, fresh, _, x, out, _ = case
    target = jax.random.normal(jax.random.key(3), (3, *out))
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(variables, state):
        def loss(v):
            return jnp.mean((make().apply(v, x, LEVELS, CONTEXT) - target) ** 2)

        value, grads = jax.value_and_grad(loss)(variables)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(variables, updates), state, value, grads

    variables, state, losses = fresh, optimizer.init(fresh), []
    for i in range(12):
        variables, state, value, grads = step(variables, state)
        losses.append(value)
        for path, grad in jax.tree_util.tree_leaves_with_path(grads if i == 0 else {}):
            where = jax.tree_util.keystr(path)
            assert np.all(np.isfinite(grad)) and np.any(grad != 0), where
    assert losses[-1] < losses[0]
