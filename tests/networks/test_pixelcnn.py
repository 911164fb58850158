"""The gated PixelCNN: what each pixel sees, and the same pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.networks.pixelcnn import GatedPixelCNN
from tests.networks.causality import check_causality, check_steps, dependence


def small(shape, **kwargs):
    kwargs = {"channels": 6, "layers": 3, "size": 3, "first_size": 3, "head": 8, **kwargs}
    return GatedPixelCNN(shape, 4, **kwargs)


def in_reach(shape, sizes):
    """`[H, W, H, W]`: whether a pixel is to be seen, by the definition of the two stacks.

    Row by row upwards, a set of columns that begins at the pixel itself widens by what a kernel
    reaches; in its own row a pixel sees to the left only.
    """
    height, width, _ = shape
    sides = [size // 2 for size in sizes]
    expected = np.zeros((height, width, height, width), bool)
    for r in range(height):
        for c in range(width):
            left = 1 + sum(sides)
            expected[r, c, r, max(c - left, 0) : c] = True
            # The horizontal stack at c - n looks at the vertical stack there, which looks up by
            # 1 + n' rows and n' columns to either side, where n and n' are of different layers.
            for layers in range(len(sides) + 1):
                before, later = sum(sides[:layers]), sum(sides[layers:])
                if layers == 0:
                    continue
                rows = slice(max(r - 1 - before, 0), r)
                columns = slice(max(c - later - before, 0), c + before + 1)
                expected[r, c, rows, columns] = True
    return expected


@pytest.mark.parametrize("channels", [1, 3])
def test_the_receptive_field_is_all_that_is_in_reach_and_nothing_else(channels):
    """No pixel from the one itself on; every pixel before it that is near, so no blind spot."""
    shape = (6, 7, channels)
    network = small(shape, layers=2, first_size=3)
    seen = dependence(network)
    check_causality(seen)
    np.testing.assert_array_equal(seen > 0, in_reach(shape, [3, 3]))


def test_with_enough_layers_every_pixel_before_is_seen():
    network = small((5, 6, 1), layers=5)
    seen = dependence(network).reshape(30, 30)
    np.testing.assert_array_equal(seen > 0, np.tri(30, k=-1, dtype=bool))


@pytest.mark.parametrize(
    ("shape", "context", "kwargs"),
    [
        ((5, 7, 3), None, {"first_size": 5}),
        ((6, 4, 1), 2, {"size": 5, "residual": False}),
        ((1, 1, 1), 2, {"layers": 1}),
    ],
)
def test_steps_are_the_whole_pass(shape, context, kwargs):
    context = None if context is None else jax.random.normal(jax.random.key(5), (2, context))
    check_steps(small(shape, **kwargs), context)


def test_dropout_is_the_examples_own_and_for_training_only():
    network = small((4, 4, 1), dropout=0.5)
    x = jax.random.normal(jax.random.key(0), (3, 4, 4, 1))
    variables = network.init(jax.random.key(1), x)
    train = lambda x, key: network.apply(variables, x, train=True, rngs={"dropout": key})  # noqa: E731
    first = train(x, jax.random.key(2))
    np.testing.assert_array_equal(first, train(x, jax.random.key(2)))
    assert not np.allclose(first, train(x, jax.random.key(3)))
    np.testing.assert_allclose(first[:2], train(x[:2], jax.random.key(2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(network.apply(variables, x), network.apply(variables, x))


def test_bad_input():
    x = jnp.zeros((2, 4, 4, 1))
    with pytest.raises(ValueError, match=r"shape \(5, 4, 1\), but was given \(4, 4, 1\)"):
        small((5, 4, 1)).init(jax.random.key(0), x)
    with pytest.raises(ValueError, match="size is the width of a centred kernel, so odd: got 4"):
        small((4, 4, 1), size=4).init(jax.random.key(0), x)


def test_bfloat16_gives_float32():
    network = small((4, 4, 1), dtype=jnp.bfloat16)
    y, variables = network.init_with_output(jax.random.key(0), jnp.zeros((2, 4, 4, 1)))
    assert y.dtype == jnp.float32
    assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
