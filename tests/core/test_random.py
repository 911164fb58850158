"""Noise belongs to examples: the same under any split of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core import random

KEY = jax.random.key(3)


@pytest.mark.parametrize("draw", [random.normal, random.uniform, random.gumbel])
def test_noise_is_the_same_however_the_batch_is_mapped(draw):
    whole = draw(KEY, (8, 3))
    mapped = jax.pmap(lambda _: draw(KEY, (2, 3)), axis_name=random.DATA_AXIS)(jnp.arange(4))
    np.testing.assert_array_equal(mapped.reshape(8, 3), whole)


def test_a_row_does_not_depend_on_how_many_there_are():
    np.testing.assert_array_equal(random.normal(KEY, (8, 3))[:5], random.normal(KEY, (5, 3)))
    assert len(np.unique(np.asarray(random.normal(KEY, (64, 1))))) == 64


def test_all_examples_and_the_gradient_through_them():
    """A loss that mixes examples has, mapped, the gradient that it has whole."""
    x = jax.random.normal(KEY, (8, 3))

    def loss(w, x):
        y = random.all_examples(jnp.tanh(x @ w))
        return jnp.mean((y[:, None] - y[None]) ** 2) + jnp.mean(y)

    w = jnp.array([0.3, -0.2, 0.5])
    whole = jax.grad(loss)(w, x)
    mapped = jax.pmap(
        lambda x: random.mean_over_devices(jax.grad(loss)(w, x)), axis_name=random.DATA_AXIS
    )(x.reshape(4, 2, 3))
    np.testing.assert_allclose(mapped, jnp.broadcast_to(whole, (4, 3)), rtol=1e-5)


def test_moments():
    normal, uniform = random.normal(KEY, (10_000, 2)), random.uniform(KEY, (10_000, 2))
    np.testing.assert_allclose([normal.mean(), normal.std()], [0, 1], atol=0.02)
    np.testing.assert_allclose([uniform.mean(), uniform.var()], [0.5, 1 / 12], atol=0.01)
