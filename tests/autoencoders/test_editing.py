"""Walks between codes, and along each of their entries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm

MODEL = gm.VAE(gm.networks.MLP((16, 6)), gm.networks.MLP((16, 64)), 3)


@pytest.fixture(scope="module")
def params(digits):
    return MODEL.init(jax.random.key(0), digits.rows(np.arange(4)))[0]


def test_interpolation_starts_and_ends_at_the_reconstructions(params, digits):
    x = digits.arrays["x"]
    path = gm.autoencoders.interpolate(MODEL, params, x[:2], x[2:4], num=5)
    assert path.shape == (2, 5, 8, 8, 1)
    for at, ends in ((0, x[:2]), (-1, x[2:4])):
        reconstruction = MODEL.decode(params, MODEL.encode(params, ends))
        np.testing.assert_allclose(path[:, at], reconstruction, rtol=1e-5)


def test_traversal_moves_one_entry_at_a_time(params, digits):
    x = digits.arrays["x"][:1]
    grid = gm.autoencoders.traverse(MODEL, params, x, values=(-2.0, 0.0, 2.0))
    assert grid.shape == (3, 3, 8, 8, 1)
    z = MODEL.encode(params, x).at[:, 1].set(2.0)
    np.testing.assert_allclose(grid[1, 2], MODEL.decode(params, z)[0], rtol=1e-5)


def test_bad_walks_are_refused(params, digits):
    x = digits.arrays["x"]
    with pytest.raises(ValueError, match="at least 2"):
        gm.autoencoders.interpolate(MODEL, params, x[:1], x[1:2], num=1)
    with pytest.raises(ValueError, match="one example"):
        gm.autoencoders.traverse(MODEL, params, x[:2])
    codes = jnp.zeros((1, 2), jnp.int32)

    class Quantised:
        def encode(self, params, x):
            return codes

    with pytest.raises(ValueError, match="int32"):
        gm.autoencoders.interpolate(Quantised(), {}, x[:1], x[1:2])
