"""The pool's rule, and the distribution of what comes out of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.adversarial.image_pool import empty, exchange
from genjax_models.core.random import DATA_AXIS

NUM, SLOTS, STEPS = 4000, 3, 80


def images(step, num=NUM, first=0):
    """The image of step t and position i holds t and i."""
    return jnp.stack([jnp.full(num, step, jnp.float32), first + jnp.arange(num)], axis=-1)


@pytest.fixture(scope="module")
def shown():
    """What came out at each step `[STEPS, NUM, 2]`."""

    def one(pool, step):
        out, pool = exchange(jax.random.fold_in(jax.random.key(0), step), pool, images(step))
        return pool, out

    pool = empty(NUM * SLOTS, (2,))
    return np.asarray(jax.jit(lambda p: jax.lax.scan(one, p, jnp.arange(STEPS)))(pool)[1])


def test_while_it_fills_the_new_images_are_shown(shown):
    np.testing.assert_array_equal(shown[:SLOTS, :, 0], np.arange(SLOTS)[:, None] * np.ones(NUM))


def test_nobody_is_shown_an_image_of_another_position(shown):
    np.testing.assert_array_equal(shown[..., 1], np.broadcast_to(np.arange(NUM), (STEPS, NUM)))


def test_half_are_new_and_the_others_of_geometric_age(shown):
    """A slot is overwritten with probability 1 / (2 S) a step, so P(age = a) is geometric."""
    age = (np.arange(STEPS)[:, None] - shown[..., 0])[50:]
    new = np.mean(age == 0, axis=1)
    np.testing.assert_allclose(new, 0.5, atol=5 * 0.5 / np.sqrt(NUM))
    old, p = age[age > 0], 1 / (2 * SLOTS)
    for a in (1, 2, 5, 10):
        assert np.mean(old == a) == pytest.approx(p * (1 - p) ** (a - 1), abs=0.006)
    assert np.mean(old) == pytest.approx(2 * SLOTS, rel=0.03)


def test_an_image_leaves_the_pool_when_it_is_shown(shown):
    """Once shown out of the pool, an image never comes back."""
    for i in range(50):
        times = shown[:, i, 0]
        old = times[np.arange(STEPS) != times]
        assert len(set(old)) == len(old)


def test_the_first_old_images_are_equally_likely(shown):
    out = shown[SLOTS, :, 0]
    shares = np.bincount(out[out < SLOTS].astype(int), minlength=SLOTS) / np.sum(out < SLOTS)
    np.testing.assert_allclose(shares, 1 / SLOTS, atol=0.05)


def test_parts_of_a_batch_are_shown_what_the_whole_would_be():
    key, num, parts = jax.random.key(3), 8, 4
    pool = empty(2 * num, (2,))
    split = jax.tree.map(
        lambda a: a.reshape(parts, -1, 2) if a.ndim else jnp.broadcast_to(a, parts), pool
    )
    part = jax.jit(jax.vmap(exchange, (None, 0, 0), axis_name=DATA_AXIS))
    whole = jax.jit(exchange)
    for step in range(6):
        k, new = jax.random.fold_in(key, step), images(step, num)
        expected, pool = whole(k, pool, new)
        out, split = part(k, split, new.reshape(parts, -1, 2))
        np.testing.assert_array_equal(out.reshape(num, 2), expected)
    np.testing.assert_array_equal(split.images.values.reshape(-1, 2), pool.images.values)


def test_no_gradient_passes_it():
    def total(new):
        return jnp.sum(exchange(jax.random.key(0), empty(4, (2,)), new)[0])

    np.testing.assert_array_equal(jax.jit(jax.grad(total))(images(1, 4)), 0.0)


@pytest.mark.parametrize("size", [2, 6])
def test_a_pool_that_the_batch_does_not_divide(size):
    with pytest.raises(ValueError, match=f"{size} slots for a batch of 4"):
        exchange(jax.random.key(0), empty(size, (2,)), images(0, 4))
