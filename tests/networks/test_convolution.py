"""The convolution and its gradients against XLA's own, and its speed in a loop."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.networks.conv import NHWC, Conv, conv2d

KEY = jax.random.key(0)


def operands(size=(3, 3), shape=(2, 5, 6, 3), features=4):
    key_x, key_w = jax.random.split(KEY)
    kernel = (*size, shape[-1], features)
    return jax.random.normal(key_x, shape), jax.random.normal(key_w, kernel)


def by_xla(x, w, padding=None):
    padding = "SAME" if padding is None else padding
    return jax.lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=NHWC)


def total(conv):
    return lambda x, w: jnp.sum(jnp.tanh(conv(x, w)))


@pytest.mark.parametrize(
    ("size", "padding"),
    [
        ((1, 1), None),
        ((3, 3), None),
        ((3, 5), None),
        ((2, 3), ((1, 0), (1, 1))),  # a PixelCNN's vertical stack
        ((1, 4), ((0, 0), (3, 0))),  # and its horizontal one
        ((4, 2), ((0, 0), (0, 0))),  # only where the whole kernel lies within
        ((3, 2), ((2, 2), (1, 0))),  # larger than before
    ],
)
def test_it_is_the_convolution_and_its_gradients(size, padding):
    x, w = operands(size)
    ours, theirs = (lambda x, w, f=f: f(x, w, padding) for f in (conv2d, by_xla))
    np.testing.assert_allclose(ours(x, w), theirs(x, w), rtol=1e-5, atol=1e-6)
    for a, b in zip(
        jax.grad(total(ours), (0, 1))(x, w), jax.grad(total(theirs), (0, 1))(x, w), strict=True
    ):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_padding_on_one_side_is_a_masked_kernel():
    """The taps that are left out are those that a mask would have set to zero."""
    x, w = operands((2, 3))
    masked = jnp.concatenate([w, jnp.zeros_like(w[:1])])
    np.testing.assert_allclose(
        conv2d(x, w, ((1, 0), (1, 1))), conv2d(x, masked), rtol=1e-5, atol=1e-5
    )


def test_a_kernel_without_a_middle_needs_a_padding():
    x, w = operands((2, 3))
    with pytest.raises(ValueError, match="kernel of 2x3 has no middle.*give `padding`"):
        conv2d(x, w)
    layer = Conv(4, (2, 3))
    y, _ = layer.init_with_output(KEY, x, ((1, 0), (1, 1)))
    assert y.shape == (2, 5, 6, 4)


def test_gradients_of_gradients_and_batches():
    x, w = operands()
    penalty = lambda conv: lambda w: jnp.sum(jax.grad(total(conv))(x, w) ** 2)  # noqa: E731
    np.testing.assert_allclose(
        jax.grad(penalty(conv2d))(w), jax.grad(penalty(by_xla))(w), rtol=1e-3, atol=1e-4
    )
    each = jax.vmap(lambda x: jax.grad(total(conv2d), 1)(x[None], w))(x)
    np.testing.assert_allclose(each.sum(0), jax.grad(total(by_xla), 1)(x, w), rtol=1e-4, atol=1e-5)


def test_forward_mode_is_there_for_those_who_ask(monkeypatch):
    x, w = operands()
    monkeypatch.setenv("GENJAX_XLA_CONV_GRADIENTS", "1")
    _, ours = jax.jvp(total(conv2d), (x, w), (x, w))
    _, theirs = jax.jvp(total(by_xla), (x, w), (x, w))
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

    assert 4 * seconds(conv2d, 2) < seconds(by_xla, 2)
