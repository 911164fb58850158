"""Convolutions of stride 2, their transposes, and layers of one learning rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from genjax_models.networks.conv import (
    NHWC,
    NONE,
    ONE,
    StridedConv,
    TransposedConv,
    conv2d,
    conv_by_products,
    upsampled_conv,
)
from genjax_models.networks.progressive import HE_GAIN, EqualizedConv, EqualizedDense

KEY = jax.random.key(0, impl="rbg")


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def values_and_gradients(f, x, w):
    y = f(x, w)
    return y, jax.grad(lambda x, w: jnp.sum(jnp.tanh(f(x, w))), (0, 1))(x, w)


@pytest.mark.parametrize(
    ("shape", "size", "features", "padding"),
    [
        ((3, 6, 5, 2), 2, 7, ONE),  # a product a tap
        ((1, 3, 3, 16), 2, 20, NONE),  # one product
        ((2, 4, 6, 3), 4, 1, ONE),
        ((2, 4, 6, 3), 1, 4, NONE),
    ],
)
def test_products_are_the_convolution(shape, size, features, padding):
    x, w = normal(*shape), normal(size, size, shape[-1], features)
    both = jax.jit(
        lambda x, w: [
            values_and_gradients(lambda x, w, f=f: f(x, w, padding), x, w)
            for f in (conv_by_products, conv2d)
        ]
    )(x, w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), *both)


@pytest.mark.parametrize("side", [6, 2])
def test_the_strided_convolution_has_4x4_taps_and_a_stride_of_2(side):
    x, layer = normal(2, side, side, 3), StridedConv(5)
    kernel = layer.init(KEY, x)["params"]["kernel"]
    w = normal(*kernel.shape)
    n = w.shape[0]  # of each side's two blocks, or of the one that is not beyond the edge
    taps = w.reshape(n, n, 2, 2, 3, 5).transpose(0, 2, 1, 3, 4, 5).reshape(2 * n, 2 * n, 3, 5)
    pad = (2 * n - 2) // 2
    expected = lax.conv_general_dilated(x, taps, (2, 2), [(pad, pad)] * 2, dimension_numbers=NHWC)
    y = layer.apply({"params": {"kernel": w, "bias": np.arange(5.0)}}, x)
    np.testing.assert_allclose(y, expected + np.arange(5.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [3, 1])
def test_the_transposed_convolution_is_the_strided_one_s_transpose(side):
    """<strided(x), y> = <x, transposed(y)>, where the taps are the same."""
    x, y = normal(2, 2 * side, 2 * side, 3), normal(2, side, side, 5)
    layer = TransposedConv(3)
    w = normal(*layer.init(KEY, y)["params"]["kernel"].shape)  # [5, taps * 3]
    up = layer.apply({"params": {"kernel": w, "bias": np.arange(3.0)}}, y) - np.arange(3.0)
    n = 1 if side == 1 else 2
    down = StridedConv(5, use_bias=False)
    kernel = w.reshape(5, n, n, 12).transpose(1, 2, 3, 0)
    lower = down.apply({"params": {"kernel": kernel}}, x)
    assert up.shape == x.shape
    np.testing.assert_allclose(np.vdot(lower, y), np.vdot(x, up), rtol=1e-4)


def test_odd_images_cannot_be_halved():
    with pytest.raises(ValueError, match="7x4 pixels cannot be halved: use fewer levels"):
        StridedConv(2).init(KEY, jnp.zeros((1, 7, 4, 1)))


def test_equalised_weights_are_scaled_where_they_are_used():
    x, layer = normal(3, 7), EqualizedDense(5)
    params = layer.init(KEY, x)["params"]
    expected = x @ np.asarray(params["kernel"]) * np.sqrt(2.0 / 7.0)
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, rtol=1e-4, atol=1e-5)
    images, conv = normal(2, 3, 5, 4), EqualizedConv(2, 3, 1.0, upsampled_conv)
    params = conv.init(KEY, images)["params"]
    large = np.repeat(np.repeat(images, 2, 1), 2, 2)
    expected = conv2d(jnp.asarray(large), params["kernel"]) / np.sqrt(9 * 4)
    y = conv.apply({"params": params}, images)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


def test_equalised_layers_start_with_weights_of_variance_1_and_keep_the_signal_s_size():
    for layer, x in (
        (EqualizedDense(256), normal(64, 200)),
        (EqualizedConv(256), normal(1, 12, 12, 40)),
    ):
        y, variables = layer.init_with_output(KEY, x)
        assert 0.95 < float(jnp.std(variables["params"]["kernel"])) < 1.05
        inner = y if y.ndim == 2 else y[:, 1:-1, 1:-1]
        # He's gain: after a rectifier the mean square is the input's.
        assert 0.85 < float(jnp.mean(jax.nn.relu(inner) ** 2)) < 1.15
    assert HE_GAIN**2 == pytest.approx(2.0)
