"""Normalisations of adversarial networks, and what mixes the examples of all devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax_models.core import random
from genjax_models.core.random import DATA_AXIS
from genjax_models.networks.layers import MinibatchStandardDeviation
from genjax_models.networks.normalization import BatchNorm, InstanceNorm, instance_norm, pixel_norm

KEY = jax.random.key(0, impl="rbg")
X = 3.0 + 2.0 * np.random.default_rng(0).normal(size=(8, 4, 2, 3)).astype(np.float32)
SCALE, BIAS = np.array([1.0, 2.0, -1.0]), np.array([0.5, 0.0, 3.0])


def normalised(axes):
    mean, variance = X.mean(axes, keepdims=True), X.var(axes, keepdims=True)
    return (X - mean) / np.sqrt(variance + 1e-5)


def test_batch_norm_takes_the_batch_s_statistics_and_keeps_their_averages():
    variables = BatchNorm(True).init(KEY, X)
    for name, value in (("mean", 0.0), ("variance", 1.0)):  # init is no step of training
        np.testing.assert_array_equal(variables["batch_stats"][name], value)
    variables = {**variables, "params": {"scale": SCALE, "bias": BIAS}}
    y, kept = BatchNorm(True, decay=0.5).apply(variables, X, mutable=["batch_stats"])
    np.testing.assert_allclose(y, normalised((0, 1, 2)) * SCALE + BIAS, rtol=1e-4, atol=1e-5)
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(kept["batch_stats"]["mean"], 0.5 * mean, rtol=1e-5)
    np.testing.assert_allclose(kept["batch_stats"]["variance"], 0.5 + 0.5 * variance, rtol=1e-4)


def test_batch_norm_of_one_value_a_channel_is_refused():
    variables = BatchNorm(True).init(KEY, X[:1, 0, 0])
    with pytest.raises(ValueError, match="one value a channel leaves nothing .* 2 examples"):
        BatchNorm(True).apply(variables, X[:1, 0, 0], mutable=["batch_stats"])
    with pytest.raises(ValueError, match="one value a channel"):
        BatchNorm(True).apply(variables, X[:1, :1, :1], mutable=["batch_stats"])
    for x in (X[:2, 0, 0], X[:1, :2, :1]):
        y, _ = BatchNorm(True).apply(variables, x, mutable=["batch_stats"])
        np.testing.assert_allclose(np.abs(y), 1.0, atol=1e-3)  # two values are one to either side
    y = BatchNorm(False).apply(variables, X[:1, 0, 0])
    np.testing.assert_allclose(y, X[:1, 0, 0], rtol=1e-4)
    one_each = functools.partial(BatchNorm(True).apply, variables, mutable=["batch_stats"])
    y, _ = jax.pmap(one_each, axis_name=DATA_AXIS)(X[:2, :1, 0])
    np.testing.assert_allclose(np.abs(y), 1.0, atol=1e-3)


def test_batch_norm_in_use_takes_the_running_averages_and_changes_nothing():
    stats = {"mean": jnp.array([1.0, 2.0, 3.0]), "variance": jnp.array([4.0, 1.0, 0.25])}
    variables = {"params": {"scale": SCALE, "bias": BIAS}, "batch_stats": stats}
    y, kept = BatchNorm(False).apply(variables, X, mutable=["batch_stats"])
    expected = (X - stats["mean"]) / np.sqrt(stats["variance"]) * SCALE + BIAS
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, kept["batch_stats"], stats)


def test_instance_norm_is_of_one_image_and_channel():
    plain = InstanceNorm(affine=False)
    assert not plain.init(KEY, X)
    np.testing.assert_allclose(plain.apply({}, X), normalised((1, 2)), rtol=1e-4, atol=1e-5)
    y = instance_norm(True).apply({"params": {"scale": SCALE, "bias": BIAS}}, X)
    np.testing.assert_allclose(y, normalised((1, 2)) * SCALE + BIAS, rtol=1e-4, atol=1e-5)


def test_pixel_norm_makes_every_pixel_s_mean_square_1():
    y = pixel_norm(jnp.asarray(X))
    np.testing.assert_allclose(np.mean(np.square(y), axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(y / y[..., :1], X / X[..., :1], rtol=1e-4)


def test_minibatch_standard_deviation_is_one_more_channel():
    layer = MinibatchStandardDeviation()
    y = layer.apply({}, X)
    np.testing.assert_array_equal(y[..., :3], X)
    np.testing.assert_allclose(y[..., 3], X.std(0).mean(), rtol=1e-5)
    # Examples that are all one: nearly 0, and a gradient that is a number.
    same = jnp.ones((4, 3))
    assert np.all(layer.apply({}, same)[:, 3] <= 1e-4)
    assert np.all(np.isfinite(jax.grad(lambda x: jnp.sum(layer.apply({}, x)))(same)))


class Mixing(nn.Module):
    """Everything that mixes examples, one after the other."""

    @nn.compact
    def __call__(self, x):
        h = jnp.tanh(BatchNorm(True)(nn.Dense(4)(x.reshape(x.shape[0], -1))))
        return nn.Dense(1)(MinibatchStandardDeviation()(h**2))[:, 0]


def value(params, x, stats):
    """A loss as `Loss` computes it, and the statistics that training keeps."""
    variables = {"params": params, "batch_stats": stats}
    y, kept = Mixing().apply(variables, x, mutable=["batch_stats"])
    return jnp.mean(random.all_examples(jnp.sin(y))), (y, kept)


def gradient(params, x, stats):
    (_, (y, kept)), grads = jax.value_and_grad(value, has_aux=True)(params, x, stats)
    return y, kept, random.mean_over_devices(grads)


@pytest.fixture(scope="module")
def whole():
    variables = Mixing().init(KEY, X)
    args = variables["params"], X, variables["batch_stats"]
    return args, jax.jit(gradient)(*args)


def assert_same(got, expected):
    check = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(check, got, expected)


def test_a_mesh_gives_the_outputs_and_gradients_of_one_device(whole):
    (params, x, stats), expected = whole
    mesh = Mesh(np.asarray(jax.devices()), (DATA_AXIS,))
    split = jax.device_put(x, NamedSharding(mesh, PartitionSpec(DATA_AXIS)))
    assert_same(jax.jit(gradient)(params, split, stats), expected)
    # And the examples do matter to each other.
    (few, _) = value(params, x[:2], stats)[1]
    assert np.max(np.abs(few - expected[0][:2])) > 1e-2


def test_pmap_gives_the_outputs_and_gradients_of_one_device(whole):
    (params, x, stats), expected = whole
    mapped = jax.pmap(gradient, DATA_AXIS, in_axes=(None, 0, None), devices=jax.devices()[:4])
    y, *rest = mapped(params, x.reshape(4, 2, *x.shape[1:]), stats)
    assert_same(y.reshape(-1), expected[0])
    for device in (0, 3):
        assert_same(jax.tree.map(lambda a, d=device: a[d], tuple(rest)), expected[1:])
