"""The replay buffer's distribution, and who owns its slots."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.energy import EnergyModel, Gaussian, Langevin, Replay
from tests.energy.exact import POINTS, Quadratic, Stay

BATCH, SLOTS, TURNS = 20, 10, 400


def zero(x):
    return jnp.zeros(())


def test_one_chain_in_twenty_starts_anew_in_a_slot_of_its_own():
    replay = Replay(Stay(), steps=1, size=BATCH * SLOTS, reinit_probability=0.05)
    # Each slot starts as its position's number; the chains that start anew are near 1000.
    reference = Gaussian(scale=0.1, mean=1000.0)
    state = replay.init(jax.random.key(0), reference, (1,))
    owner = np.repeat(np.arange(BATCH), SLOTS)
    state = {"buffer": state["buffer"].replace(values=jnp.asarray(owner, jnp.float32)[:, None])}

    def turn(state, key):
        before = state["buffer"].values.reshape(BATCH, SLOTS)
        draw = replay.draw(zero, reference, (BATCH, 1), key, state, train=True)
        x, _, state = draw
        fresh = ~jnp.any(x == before, axis=1)
        changed = state["buffer"].values.reshape(BATCH, SLOTS) != before
        return state, (fresh, changed)

    keys = jax.random.split(jax.random.key(1), TURNS)
    state, (fresh, changed) = jax.jit(lambda s: jax.lax.scan(turn, s, keys))(state)
    fresh, changed = np.asarray(fresh), np.asarray(changed)
    error = 4 * np.sqrt(0.05 * 0.95 / fresh.size)
    assert abs(fresh.mean() - 0.05) < error
    # A chain that starts anew takes one slot of its position's; others stay as they are.
    np.testing.assert_array_equal(changed.sum(2), fresh)
    # Every slot is as likely as every other: 400 / 10 * 0.05 = 2 changes each on average.
    counts = changed.sum((0, 1))
    assert np.all(np.abs(counts - counts.mean()) < 5 * np.sqrt(counts.mean()))
    values = np.asarray(state["buffer"].values)[:, 0]
    kept = values < 900
    np.testing.assert_array_equal(values[kept], owner[kept])
    assert 0 < kept.mean() < 1


def test_looking_changes_nothing_and_takes_any_number():
    model = EnergyModel(Quadratic(), POINTS, replay=Replay(Langevin(0.1), 2, size=60))
    batch = {"x": jnp.ones((7, 2))}
    params, state = model.init(jax.random.key(0), batch)
    assert state["buffer"].values.shape == (60, 2)
    look = jax.jit(functools.partial(model.forward, train=False))
    outputs, after = look(params, batch, jax.random.key(1), state=state)
    assert outputs.x_model.shape == (7, 2)
    np.testing.assert_array_equal(after["buffer"].values, state["buffer"].values)


def test_without_a_buffer_all_chains_start_anew():
    replay = Replay(Stay(), steps=1, size=0)
    reference = Gaussian(mean=5.0)
    assert replay.init(jax.random.key(0), reference, (2,)) == {}
    x, info, state = replay.draw(zero, reference, (4000, 2), jax.random.key(1), {}, train=True)
    np.testing.assert_allclose(x.mean(0), 5.0, atol=0.1)
    assert info.acceptance_rate.shape == (4000,) and state == {}


def test_bad_sizes_are_refused():
    model = EnergyModel(Quadratic(), POINTS, replay=Replay(Langevin(0.1), 1, size=10))
    batch = {"x": jnp.ones((20, 2))}
    params, state = model.init(jax.random.key(0), batch)
    forward = functools.partial(model.forward, params, key=jax.random.key(1), state=state)
    with pytest.raises(ValueError, match="the buffer has 10 slots for a batch of 20"):
        forward(batch, train=True)
    with pytest.raises(ValueError, match="steps is 0"):
        Replay(steps=0)
    with pytest.raises(ValueError, match="reinit_probability is 1.5"):
        Replay(reinit_probability=1.5)
    with pytest.raises(ValueError, match="the model has no buffer"):
        model.sample_buffer({}, jax.random.key(0), 3)
