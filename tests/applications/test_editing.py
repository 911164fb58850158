"""Edits of a linear model, whose every answer is known, and of models that complete themselves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.applications import editing
from genjax_models.networks.conv import average_pool
from tests.applications.models import BASIS, Gaussian, Linear

MODEL, KEY = Linear(), jax.random.key(0)
Z = np.array([[1.0, -1.0], [0.5, 2.0], [0.0, 0.0], [-1.0, 1.0]], np.float32)
X = np.asarray(MODEL.decode(BASIS, Z))


def test_a_direction_is_what_sets_two_groups_apart():
    draw = np.random.default_rng(0)
    z = draw.normal(size=(50, 2)).astype(np.float32)
    with_it, without = (MODEL.decode(BASIS, a) for a in (z + np.array([2.0, -1.0]), z))
    direction = editing.attribute(MODEL, BASIS, with_it, without)
    np.testing.assert_allclose(direction, [2.0, -1.0], atol=1e-4)
    moved = editing.shift(MODEL, BASIS, without, direction=direction)
    np.testing.assert_allclose(moved, with_it, atol=1e-4)
    back = editing.shift(MODEL, BASIS, with_it, direction=direction, strength=-1.0)
    np.testing.assert_allclose(back, without, atol=1e-4)


def test_between_integers_there_is_nothing():
    class Quantised(Linear):
        def encode(self, params, x, **condition):
            return jnp.zeros((len(x), 2), jnp.int32)

    with pytest.raises(ValueError, match="int32"):
        editing.shift(Quantised(), BASIS, X, direction=jnp.ones(2))
    with pytest.raises(ValueError, match="int32"):
        editing.latent_search(Quantised(), BASIS, X, lambda x: x, KEY)


def posterior_mean(operator, y, noise):
    """E[x | y] of x = z BASIS, z standard normal: its density has its mode there, too."""
    a = np.asarray(BASIS, np.float64) @ operator
    z = y @ a.T @ np.linalg.inv(a @ a.T + noise**2 * np.eye(2))
    return (z @ np.asarray(BASIS)).reshape(-1, 2, 2, 1)


def test_completion_is_the_posteriors_mode():
    mask = np.array([[True, False], [True, False]])[..., None]
    restored = editing.complete(MODEL, BASIS, X, KEY, mask=mask)
    operator = np.diag(mask.reshape(-1).astype(float))
    mean = posterior_mean(operator, X.reshape(4, 4) @ operator, 0.1)
    np.testing.assert_allclose(restored, np.where(mask, X, mean), atol=5e-3)
    np.testing.assert_array_equal(np.asarray(restored)[:, mask], X[:, mask])  # as they were


def test_super_resolution_is_the_posteriors_mode():
    small = average_pool(jnp.asarray(X), 2)
    np.testing.assert_allclose(small[:, 0, 0, 0], X.reshape(4, 4).mean(1), atol=1e-6)
    search = functools.partial(editing.latent_search, noise=0.5)
    restored = editing.super_resolve(MODEL, BASIS, small, KEY, factor=2, restore=search)
    operator = np.full((4, 1), 0.25)
    mean = posterior_mean(operator, np.asarray(small).reshape(4, 1), 0.5)
    np.testing.assert_allclose(restored, mean, atol=5e-3)
    with pytest.raises(ValueError, match="enlarged by 3"):
        editing.super_resolve(MODEL, BASIS, small, KEY, factor=3)
    with pytest.raises(ValueError, match=r"images \(4,\) enlarged by 2"):
        editing.super_resolve(MODEL, BASIS, small.reshape(-1, 4), KEY)


def test_a_model_that_completes_is_asked_itself():
    class Fills(Linear):
        def complete(self, params, x, mask, key, **options):
            return jnp.where(mask, x, 7.0)

    mask = np.arange(4).reshape(2, 2, 1) < 2
    found = editing.complete(Fills(), BASIS, X, KEY, mask=mask)
    np.testing.assert_array_equal(found, np.where(mask, X, 7.0))
    # Unless there is another way that the caller wants.
    ones = editing.complete(
        Fills(), BASIS, X, KEY, mask=mask, restore=lambda model, params, y, *_: jnp.ones_like(y)
    )
    np.testing.assert_array_equal(ones, np.where(mask, X, 1.0))


def test_refuses_what_has_no_way():
    with pytest.raises(TypeError, match="Gaussian neither completes"):
        editing.complete(Gaussian(), {}, X, KEY, mask=np.ones((2, 2, 1), bool))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        editing.complete(MODEL, BASIS, X, KEY, mask=np.ones(3, bool))
