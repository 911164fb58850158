"""The U-Net's parts: normalisation, upsampling, attention where it is asked for, dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from genjax_models.networks.conv import conv2d, upsampled_conv
from genjax_models.networks.normalization import GroupNorm
from genjax_models.networks.unet import FrameConv, ResidualBlock, UNet

KEY = jax.random.key(0, impl="rbg")


def shapes(network, shape, context=None):
    """The parameters' shapes, and the output's, without computing anything."""
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    levels = jax.ShapeDtypeStruct((2,), jnp.float32)
    y, variables = jax.eval_shape(network.init_with_output, KEY, x, levels, context)
    return variables["params"], y.shape


def size(params):
    return sum(a.size for a in jax.tree.leaves(params))


def test_sizes():
    digits, y = shapes(UNet(multipliers=(1, 2), attention=(False, True)), (8, 8, 1))
    assert y == (2, 8, 8, 1)
    mnist, y = shapes(UNet(channels=28, groups=7), (28, 28, 1), jnp.zeros((2, 10)))
    assert y == (2, 28, 28, 1)
    assert 2.4e6 < size(mnist) < 2.8e6
    assert shapes(UNet(out=6), (28, 20, 9))[1] == (2, 28, 20, 6)


def test_attention_is_where_it_is_asked_for():
    """Attention of width c has 4 c^2 weights and as many biases, and a norm of 2 c."""
    of = lambda *on: size(shapes(UNet(8, multipliers=(1, 2), attention=on), (8, 8, 1))[0])  # noqa: E731
    cost = lambda c: 4 * c**2 + 4 * c + 2 * c  # noqa: E731
    none = of(False, False)
    assert of(True, False) == none + 4 * cost(8)  # two blocks down and two up
    assert of(False, True) == none + 5 * cost(16)  # and one at the bottom
    # Of pixels that see each other there are (4 4)^2 pairs at the low resolution, none elsewhere.
    network = UNet(8, multipliers=(1, 2), attention=(False, True))
    args = jnp.zeros((2, 8, 8, 1)), jnp.zeros(2)
    jaxpr = str(jax.make_jaxpr(network.apply)(jax.eval_shape(network.init, KEY, *args), *args))
    assert "f32[2,4,16,16]" in jaxpr and "f32[2,4,64,64]" not in jaxpr


def test_frames_see_each_other_and_no_other_film():
    network = UNet(8, multipliers=(1, 2), attention=(False, False), blocks=1, frames=3)
    x, levels = jax.random.normal(KEY, (6, 4, 4, 1)), jnp.zeros(6)
    params = jax.jit(network.init)(KEY, x, levels)
    params = jax.tree.map(lambda a: a + 0.1, params)  # blocks and the end start near 0
    reach = jax.jit(jax.grad(lambda x: network.apply(params, x, levels)[0, 0, 0, 0]))(x)
    seen = jnp.abs(reach).max((1, 2, 3))
    assert (seen[:3] > 1e-6).all() and (seen[3:] == 0).all()


def test_a_convolution_over_frames():
    """Against numpy's, frame by frame; the same at every place."""
    x = jax.random.normal(KEY, (2 * 4, 2, 2, 8))
    conv = FrameConv(4, 8, jnp.float32)
    params = jax.jit(conv.init)(KEY, x)["params"]
    w = params["Dense_0"]["kernel"].reshape(3, 8, 8)
    norm = GroupNorm(8).apply({"params": params["GroupNorm_0"]}, x)
    h = jax.nn.silu(norm).reshape(2, 4, 2, 2, 8)
    want = np.array(x).reshape(h.shape)
    for t in range(4):
        for i, near in enumerate((t - 1, t, t + 1)):
            if 0 <= near < 4:
                want[:, t] += h[:, near] @ w[i]
    y = conv.apply({"params": params}, x)
    np.testing.assert_allclose(y, want.reshape(x.shape), atol=1e-5)
    assert float(jnp.abs(y - x).max()) > 1e-4


def test_blocks_start_near_the_identity():
    x, level = jax.random.normal(KEY, (2, 4, 4, 8)), jnp.ones((2, 3))
    block = ResidualBlock(8, 4, 0.0, jnp.float32)
    init = functools.partial(block.init_with_output, train=False)
    y, _ = jax.jit(init)(KEY, x, level)
    assert 0.0 < float(jnp.std(y - x)) < 0.2 * float(jnp.std(x))


def test_the_upsampled_convolution_is_that_of_repeated_pixels():
    x, w = jax.random.normal(KEY, (2, 3, 5, 4)), jax.random.normal(KEY, (3, 3, 4, 2))
    large = lambda x, w: conv2d(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2), w)  # noqa: E731

    @jax.jit
    def both(x, w):
        total = lambda x, w, f: jnp.sum(jnp.tanh(f(x, w)))  # noqa: E731
        return [(f(x, w), *jax.grad(total, (0, 1))(x, w, f)) for f in (upsampled_conv, large)]

    for a, b in zip(*both(x, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_group_norm_is_flax_s_then_scaled_and_shifted():
    x = 3.0 + 2.0 * jax.random.normal(KEY, (2, 5, 4, 12))
    scale, shift = jax.random.normal(KEY, (2, 2, 12))
    gain, bias = jax.random.normal(jax.random.key(1), (2, 12))
    ours = lambda x: GroupNorm(4).apply(  # noqa: E731
        {"params": {"gain": gain, "bias": bias}}, x, scale, shift
    )
    norm = nn.GroupNorm(4, epsilon=1e-5)
    theirs = lambda x: (  # noqa: E731
        norm.apply({"params": {"scale": gain, "bias": bias}}, x) * (1 + scale[:, None, None])
        + shift[:, None, None]
    )

    @jax.jit
    def both(x):
        return [
            (f(x), jax.grad(lambda x, f=f: jnp.sum(jnp.tanh(jnp.asarray(f(x)))))(x))
            for f in (ours, theirs)
        ]

    for a, b in zip(*both(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    constant = jnp.full((1, 2, 2, 12), 1e4)
    assert np.all(np.abs(GroupNorm(4).init_with_output(KEY, constant)[0]) < 1.0)


def test_dropout_is_the_example_s_own_and_of_training_alone():
    x = jax.random.normal(KEY, (4, 4, 4, 8))
    level = jax.random.normal(KEY, (4, 3))
    block = ResidualBlock(8, 4, 0.5, jnp.float32)
    variables = jax.jit(functools.partial(block.init, train=False))(KEY, x, level)
    variables = jax.tree.map(lambda a: a + 0.1, variables)

    @jax.jit
    def apply(x, level):
        rngs = {"dropout": jax.random.key(3)}
        train = block.apply(variables, x, level, train=True, rngs=rngs)
        without = ResidualBlock(8, 4, 0.0, jnp.float32)
        still = without.apply(variables, x, level, train=True)
        return train, block.apply(variables, x, level, train=False), still

    train, test, without = apply(x, level)
    np.testing.assert_allclose(train[:2], apply(x[:2], level[:2])[0], rtol=1e-4, atol=1e-5)
    assert np.max(np.abs(train - test)) > 0.1
    np.testing.assert_array_equal(test, without)


@pytest.mark.parametrize(
    ("attributes", "shape", "message"),
    [
        ({}, (2, 30, 28, 1), r"multiples of 4, but it was given \(2, 30, 28, 1\)"),
        ({}, (2, 64), r"images \[B, H, W, C\].*given \(2, 64\)"),
        ({"multipliers": (1, 2)}, (2, 8, 8, 1), "attention says of 3 levels.*multipliers has 2"),
        ({"heads": 5}, (2, 8, 8, 1), "128 channels cannot be attended to by 5 heads"),
        ({"groups": 5}, (2, 8, 8, 1), "32 channels cannot be normalised in 5 groups"),
    ],
)
def test_what_cannot_be_is_refused(attributes, shape, message):
    args = jnp.zeros(shape), jnp.zeros(2)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(UNet(**attributes).init, KEY, *args)
