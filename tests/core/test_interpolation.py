"""Paths between codes and along their entries, of a linear model whose every answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core.interpolation import interpolate, slerp, traverse
from tests.applications.models import BASIS, Linear

MODEL = Linear()
Z = np.array([[1.0, -1.0], [0.5, 2.0], [0.0, 0.0], [-1.0, 1.0]], np.float32)
X = np.asarray(MODEL.decode(BASIS, Z))


def test_interpolation_goes_straight_from_end_to_end():
    path = interpolate(MODEL, BASIS, X[:2], X[2:], 5)
    assert path.shape == (2, 5, 2, 2, 1)
    for i, t in enumerate(np.linspace(0, 1, 5)):
        np.testing.assert_allclose(path[:, i], (1 - t) * X[:2] + t * X[2:], atol=1e-5)


def test_interpolation_goes_along_the_sphere_when_asked():
    path = interpolate(MODEL, BASIS, X[:1], X[1:2], 3, path=slerp)
    middle = slerp(jnp.asarray(Z[:1]), jnp.asarray(Z[1:2]), 0.5)
    np.testing.assert_allclose(path[:, 1], MODEL.decode(BASIS, middle), atol=1e-5)


def test_traversal_moves_one_entry_at_a_time():
    grid = traverse(MODEL, BASIS, X, values=(-2.0, 0.0, 2.0))
    assert grid.shape == (4, 2, 3, 2, 2, 1)
    z = Z.copy()
    z[:, 1] = 2.0
    np.testing.assert_allclose(grid[:, 1, 2], MODEL.decode(BASIS, z), atol=1e-5)


class Coded(Linear):
    """A model whose codes are of one kind."""

    def __init__(self, codes):
        self.codes = codes

    def encode(self, params, x, **condition):
        return self.codes


def test_codes_without_paths_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        interpolate(MODEL, BASIS, X[:2], X[2:], num=1)
    with pytest.raises(ValueError, match="int32"):
        interpolate(Coded(jnp.zeros((1, 2), jnp.int32)), BASIS, X[:1], X[1:2])
    with pytest.raises(ValueError, match=r"traverse needs vectors \[B, d\]"):
        traverse(Coded(jnp.zeros((1, 2, 2))), BASIS, X[:1])


def test_slerp_keeps_to_the_sphere_and_to_its_ends():
    z, w = jax.random.normal(jax.random.key(0), (2, 64))
    z, w = 8 * z / jnp.linalg.norm(z), 8 * w / jnp.linalg.norm(w)
    path = slerp(z, w, jnp.linspace(0, 1, 9)[:, None])
    np.testing.assert_allclose(path[0], z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(path[-1], w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 8.0, rtol=1e-4)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=-1)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)
    np.testing.assert_allclose(slerp(z, 2 * z, 0.5), 1.5 * z, rtol=1e-4)
    # Each pair of a batch has an angle of its own.
    both = slerp(jnp.stack([z, w]), jnp.stack([w, z]), 0.25)
    np.testing.assert_allclose(both, [path[2], path[6]], rtol=1e-4, atol=1e-5)
