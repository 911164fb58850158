"""MADE: what each output sees, and steps that compute what the full pass does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.networks.made import MADE

KEY = jax.random.key(0)
IMAGE, VECTOR = (3, 2, 2), (5,)
CASES = {
    "vector_context": (MADE(VECTOR, 2, (12, 20), activation=jnp.tanh, direct=False), 3),
    "image": (MADE(IMAGE, 3, (25, 25), activation=jnp.tanh, residual=True), None),
    "double": (MADE(VECTOR, 1, (3,), dtype=jnp.float64), None),
    "text": (MADE((4,), 3, (9,), vocabulary=3), None),
    "one": (MADE((1,), 2, (9,)), None),
    "one_context": (MADE((1,), 2, (9,)), 3),
}


@functools.cache
def setup(name):
    """The network, its variables, inputs `[2, ...]`, a context, and all outputs `[2, N, K]`."""
    network, context_dim = CASES[name]
    x = np.random.default_rng(0).normal(size=(2, *network.shape)).astype(network.dtype)
    if network.vocabulary is not None:
        x = np.array([[0, 2, 1, 1], [1, 1, 2, 0]], np.int32)
    context = None if context_dim is None else np.eye(2, context_dim)
    y, variables = jax.jit(network.init_with_output)(KEY, x, context)
    return network, variables, x, context, rows(network, y)


def rows(network, a):
    """Arrays `[B, *positions, n]` as `[B, N, n]`."""
    return np.reshape(a, (a.shape[0], network._num, -1))


@pytest.fixture(params=CASES)
def name(request):
    with jax.enable_x64(request.param == "double"):
        yield request.param


@pytest.mark.parametrize("name", ["vector_context", "image", "double", "one"], indirect=True)
def test_outputs_are_functions_of_all_earlier_positions_and_no_others(name):
    network, variables, x, context, _ = setup(name)

    @jax.jit
    @jax.jacrev
    def jacobian(x):
        y = network.apply(variables, x, context)
        return jnp.sum(y.reshape(len(x), network._num, network.outputs), axis=(0, 2))

    seen = np.abs(rows(network, np.max(np.abs(jacobian(x)), axis=1))).max(axis=-1) > 0  # [i, j]
    np.testing.assert_array_equal(seen, np.tril(np.ones_like(seen), -1))


def test_tokens_are_seen_later_and_not_before():
    network, variables, x, *_ = setup("text")
    outputs = jax.jit(network.apply)
    before = outputs(variables, x)
    for j in range(network.shape[0]):
        other = x.copy()
        other[:, j] = (x[:, j] + 1) % 3
        changed = np.any(outputs(variables, other) != before, axis=(0, 2))
        np.testing.assert_array_equal(changed, np.arange(len(changed)) > j)


def test_steps_compute_what_the_full_pass_does(name):
    network, variables, x, context, full = setup(name)
    inputs = x if x.ndim == 2 else x.reshape(len(x), -1, x.shape[-1])
    step = jax.jit(lambda c, t, p: network.apply(variables, c, t, p, context, method="step"))
    cache = network.apply(variables, len(x), context, method="start")
    # There is no input before position 0: whatever is given in its place changes nothing.
    previous = np.full_like(inputs[:, 0], np.nan if inputs.dtype.kind == "f" else 7)
    for t in range(network._num):
        y, cache = step(cache, t, previous)
        assert y.dtype == full.dtype == network._out_dtype
        np.testing.assert_allclose(y, full[:, t], rtol=1e-5, atol=1e-6)
        previous = inputs[:, t]


def test_all_steps_together_cost_about_one_pass():
    """Floating-point operations, as XLA counts them, of a step and of a pass."""
    network = MADE((64,), 2, (256, 256))
    x = jnp.zeros((1, 64))
    variables = network.init(KEY, x)
    cache = network.apply(variables, 1, method="start")

    def flops(f, *args):
        return jax.jit(f).lower(*args).compile().cost_analysis()["flops"]

    one_pass = flops(lambda v, x: network.apply(v, x), variables, x)
    step = flops(
        lambda v, c, t, p: network.apply(v, c, t, p, method="step"), variables, cache, 3, x[:, 0]
    )
    assert 64 * step < 1.5 * one_pass


def test_every_parameter_has_a_gradient(name):
    network, variables, x, context, _ = setup(name)

    @jax.jit
    @jax.grad
    def gradient(variables):
        return jnp.sum((network.apply(variables, x, context) - 1.0) ** 2)

    for path, grad in jax.tree_util.tree_leaves_with_path(gradient(variables)):
        assert np.all(np.isfinite(grad)) and np.any(grad != 0), jax.tree_util.keystr(path)


def test_outputs_start_with_the_same_variance_wherever_they_are():
    """Weights start by the number of inputs that are seen, not by that of all inputs."""
    network = MADE((100,), 200, (400,), activation=lambda h: h, direct=False)
    x = np.random.default_rng(0).normal(size=(50, 100))
    y, _ = jax.jit(network.init_with_output)(KEY, x)
    deviation = np.std(y, axis=(0, 2))[1:]
    assert 0.6 < deviation.min() and deviation.max() < 1.6


def test_dropout_is_for_training_and_belongs_to_examples():
    network = MADE(VECTOR, 2, (64,), dropout=0.5)
    x = np.ones((400, *VECTOR))
    expected, variables = jax.jit(network.init_with_output)(KEY, x)

    @jax.jit
    def train(x, key):
        return network.apply(variables, x, train=True, rngs={"dropout": key})

    y = train(x, KEY)
    assert np.all(np.any(np.abs(y - expected) > 0.01, axis=(1, 2)))
    np.testing.assert_allclose(train(x[:2], KEY), y[:2], rtol=1e-5)
    np.testing.assert_allclose(np.mean(y, axis=0), expected[0], atol=0.2)  # mean of 400, s.d. <= 1


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match=r"examples of shape \(5,\), but was given \(4,\)"):
        MADE(VECTOR, 1).init(KEY, jnp.zeros((2, 4)))
