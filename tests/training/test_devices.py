"""Mappings over devices: the same run however it is split, and what is refused."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.core import random
from genjax_models.training import devices
from tests.training.toys import Affine, arrays, points

MODEL = Affine(noise=0.5, coupled=True, size=8, remembers=True)
"""It draws noise, has a term that mixes examples, and keeps a state, of examples too."""


def fit(steps=9, **kwargs):
    kwargs = {"batch_size": 16, "log_every": 4, "accumulate": 2, **kwargs}
    return gm.fit(MODEL, points(), optax.adam(0.05), steps=steps, **kwargs)


def assert_same_run(state, reference):
    state, reference = arrays(state), arrays(reference)
    np.testing.assert_array_equal(state.key, reference.key)
    chex.assert_trees_all_close(
        state._replace(key=0), reference._replace(key=0), rtol=1e-5, atol=1e-6
    )


@pytest.fixture(scope="module")
def reference():
    return fit(devices=1)


@pytest.mark.parametrize(
    ("num", "mapping"), [(2, "mesh"), (8, "mesh"), (1, "pmap"), (2, "pmap"), (8, "pmap")]
)
def test_every_mapping_gives_the_same_run(num, mapping, reference):
    assert_same_run(fit(devices=num, mapping=mapping), reference)


def test_the_reference_is_a_run_worth_comparing(reference):
    assert int(reference.state["passes"]) == 9 * 2
    moved = reference.params["affine"]["shift"]
    assert np.all(np.abs(moved) > 0.2)
    # The noise, the term that mixes examples and those remembered all matter to it.
    assert np.count_nonzero(np.any(reference.state["seen"].values != 0, axis=-1)) > 20
    for change in ({"noise": 0.0}, {"coupled": False}, {"remembers": False}):
        other = dataclasses.replace(MODEL, **change)
        state = gm.fit(
            other, points(), optax.adam(0.05), steps=9, batch_size=16, accumulate=2, devices=1
        )
        assert not np.allclose(state.params["affine"]["shift"], moved, rtol=1e-4)


def test_a_fully_sharded_state_is_split_and_gives_the_same_run(reference, tmp_path):
    seen = []

    def hook(state, metrics):
        for tree in (state.params, state.ema, state.opt_state["affine"][0].mu):
            seen.append({s.data.shape for s in tree["affine"]["unused"].addressable_shards})

    options = {"devices": 8, "partition": devices.fully_sharded(8), "hooks": [hook]}
    state = fit(steps=5, checkpoint_dir=tmp_path, **options)
    assert seen and all(shapes == {(3, 1)} for shapes in seen)  # an eighth of (3, 8) each
    assert state.params["affine"]["shift"].is_fully_replicated  # two numbers do not split so
    assert len(state.params["affine"]["shift"].addressable_shards) == 8
    # It is gone on with by other devices, under the other mapping.
    fit(steps=7, devices=2, mapping="pmap", checkpoint_dir=tmp_path)
    assert_same_run(fit(checkpoint_dir=tmp_path, **options), reference)


@pytest.mark.parametrize("mapping", ["mesh", "pmap"])
def test_a_buffer_is_split_as_the_batch_is(mapping, reference):
    strategy = devices.device_strategy(8, mapping)
    placed = strategy.put(jax.device_get(reference))
    parts = placed.state["seen"].values.addressable_shards
    assert [part.data.size for part in parts] == [4 * 2] * 8
    assert_same_run(strategy.get(placed), reference)


def test_fully_sharded_takes_the_longest_axis_that_divides():
    def of(*shape):
        return tuple(devices.fully_sharded(4)(jax.ShapeDtypeStruct(shape, jnp.float32)))

    assert of(8, 12) == (None, "data")
    assert of(8, 13) == ("data", None)
    assert of(3, 5) == of() == of(0, 3) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"devices": 9}, r"9 devices are asked for, but there are 8 \(cpu\): ask for 1 to 8"),
        ({"devices": 0}, "0 devices are asked for"),
        ({"devices": []}, "give at least one, and none twice"),
        ({"devices": jax.devices()[:1] * 2}, "give at least one, and none twice"),
        ({"mapping": "vmap"}, "mapping is 'vmap', but it can be 'mesh' or 'pmap'"),
        ({"mapping": "pmap", "partition": devices.replicated}, "pmap keeps every parameter whole"),
    ],
)
def test_devices_that_cannot_be_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        devices.device_strategy(**given)


def test_a_choice_of_devices_is_kept_to():
    chosen = jax.devices()[3:5]
    state = fit(steps=1, devices=chosen)
    assert state.params["affine"]["shift"].devices() == set(chosen)
    assert devices.device_strategy(None).size == 8


def test_batches_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="=12 is no multiple of 16, 8 devices times accumulate=2"):
        fit(batch_size=12)


def test_samples_and_measures_do_not_depend_on_the_devices():
    def draw(params, key):
        return params + random.normal(key, (16, 2))

    def measure(params, batch):
        return jnp.sum((batch["x"] - params) ** 2, axis=-1)

    params, key, batch = jnp.ones(2), jax.random.key(0), points().rows(np.arange(16))
    samples = {n: devices.sampler(draw, n)(params, key) for n in (1, 2, 8)}
    measures = {n: devices.over_examples(measure, n)(params, batch) for n in (1, 2, 8)}
    for n in (2, 8):
        np.testing.assert_array_equal(samples[n], samples[1])
        np.testing.assert_allclose(measures[n], measures[1], rtol=1e-6)
        assert {s.data.shape for s in samples[n].addressable_shards} == {(16 // n, 2)}
    with pytest.raises(ValueError):
        devices.sampler(lambda params, key: random.normal(key, (3, 2)), 2)(params, key)
