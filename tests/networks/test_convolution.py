"""The convolution and its gradients against XLA's own, and its speed in a loop."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.networks.convolution import _plain, conv2d

KEY = jax.random.key(0)


def operands(size=3, shape=(2, 5, 6, 3), features=4):
    key_x, key_w = jax.random.split(KEY)
    kernel = (size, size, shape[-1], features)
    return jax.random.normal(key_x, shape), jax.random.normal(key_w, kernel)


def total(conv):
    return lambda x, w: jnp.sum(jnp.tanh(conv(x, w)))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_it_is_the_convolution_and_its_gradients(size):
    x, w = operands(size)
    np.testing.assert_array_equal(conv2d(x, w), _plain(x, w))
    for ours, theirs in zip(
        jax.grad(total(conv2d), (0, 1))(x, w), jax.grad(total(_plain), (0, 1))(x, w), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_of_gradients_and_batches():
    x, w = operands()
    penalty = lambda conv: lambda w: jnp.sum(jax.grad(total(conv))(x, w) ** 2)  # noqa: E731
    np.testing.assert_allclose(
        jax.grad(penalty(conv2d))(w), jax.grad(penalty(_plain))(w), rtol=1e-3, atol=1e-4
    )
    each = jax.vmap(lambda x: jax.grad(total(conv2d), 1)(x[None], w))(x)
    np.testing.assert_allclose(each.sum(0), jax.grad(total(_plain), 1)(x, w), rtol=1e-4, atol=1e-5)


def test_forward_mode_is_there_for_those_who_ask(monkeypatch):
    x, w = operands()
    monkeypatch.setenv("GENJAX_XLA_CONV_GRADIENTS", "1")
    _, ours = jax.jvp(total(conv2d), (x, w), (x, w))
    _, theirs = jax.jvp(total(_plain), (x, w), (x, w))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about XLA's convolutions on the CPU")
def test_gradients_in_a_loop_are_not_slow():
    """What this file is for: in a loop they take the time that they take outside."""
    x, w = operands(shape=(64, 14, 14, 32), features=32)

    def seconds(conv, steps):
        def descend(i, operands):
            grads = jax.grad(total(conv), (0, 1))(*operands)
            return jax.tree.map(lambda a, g: a - 1e-6 * g, operands, grads)

        run = jax.jit(lambda x, w: jax.lax.fori_loop(0, jnp.int32(steps), descend, (x, w)))
        jax.block_until_ready(run(x, w))
        begun = time.perf_counter()
        jax.block_until_ready(run(x, w))
        return time.perf_counter() - begun

    assert 4 * seconds(conv2d, 2) < seconds(_plain, 2)
