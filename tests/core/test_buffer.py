"""Buffers: who owns which slots, and what is drawn from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core import buffer
from genjax_models.core.buffer import Buffer


def test_positions_read_and_write_their_own_slots_alone():
    kept = Buffer(jnp.arange(12.0)[:, None])  # 4 positions of 3 slots
    chosen, values = buffer.draw(jax.random.key(0), kept, 4)
    np.testing.assert_array_equal(values[:, 0], 3 * np.arange(4) + chosen)
    after = buffer.put(kept, chosen, -values - 1.0)
    changed = np.flatnonzero(after.values != kept.values)
    np.testing.assert_array_equal(changed, 3 * np.arange(4) + chosen)
    np.testing.assert_array_equal(after.values[changed], -kept.values[changed] - 1.0)


def test_every_slot_is_drawn_equally_often():
    kept = Buffer(jnp.zeros((20, 1)))
    keys = jax.random.split(jax.random.key(0), 4_000)
    chosen = jax.vmap(lambda k: buffer.draw(k, kept, 4)[0])(keys)  # [4000, 4]
    counts = np.stack([np.bincount(chosen[:, i], minlength=5) for i in range(4)])
    chi2 = np.sum((counts - 800) ** 2 / 800, axis=-1)  # 4 degrees of freedom: 18.5 in 1 of 1,000
    assert np.all(chi2 < 18.5)


@pytest.mark.parametrize("num", [8, 5])
def test_a_buffer_that_does_not_serve_the_batch_is_refused(num):
    with pytest.raises(ValueError, match=f"7 slots for a batch of {num}.*a multiple of {num}"):
        buffer.slots(Buffer(jnp.zeros((7, 2))), num)
