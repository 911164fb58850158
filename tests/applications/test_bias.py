"""Rarity against counts by hand, resampling against its weights, and a run in stretches."""

import signal

import jax
import numpy as np
import optax
import pytest

import genjax_models as gm
from genjax_models.applications import bias
from genjax_models.data.dataset import Dataset
from tests.applications.models import BASIS, Linear


def test_weights_are_products_over_entries():
    z = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 1.0], [1.0, 1.0]])
    # Shares of the bins: 3/4, 3/4, 3/4, 1/4 along the first entry, 1/2 along the second.
    np.testing.assert_allclose(
        bias.histograms(z, 2).of(z), [[0.75, 0.5], [0.75, 0.5], [0.75, 0.5], [0.25, 0.5]]
    )
    weight = 1 / ((np.array([0.75, 0.75, 0.75, 0.25]) + 0.25) * 0.75)
    np.testing.assert_allclose(bias.rarity(z, bins=2, alpha=0.25), weight / weight.sum())
    # Values beyond the outermost bins count as theirs.
    np.testing.assert_allclose(bias.histograms(z, 2).of([[-9.0, 9.0]]), [[0.75, 0.5]])


def test_a_rare_group_gains():
    draw = np.random.default_rng(0)
    z = np.concatenate([draw.normal(size=(970, 4)), draw.normal(3.0, 0.5, (30, 4))])
    weights = [bias.rarity(z, alpha=alpha) for alpha in (1e6, 0.3, 0.05)]
    shares = [w[970:].sum() for w in weights]
    assert shares[0] == pytest.approx(0.03, abs=1e-3) and 0.1 < shares[1] < shares[2]
    sizes = [bias.effective_size(w) for w in weights]
    assert sizes[0] == pytest.approx(1000, rel=1e-3) and sizes[0] > sizes[1] > sizes[2]


def test_resampling_gives_each_example_its_share():
    data = Dataset.from_arrays(np.arange(200, dtype=np.float32)[:, None])
    weights = np.random.default_rng(0).exponential(size=200)
    weights[7] = 0.0
    drawn = bias.resample(data, weights, seed=3)
    times = np.bincount(drawn.arrays["x"][:, 0].astype(int), minlength=200)
    expected = 200 * weights / weights.sum()
    assert times.sum() == 200 and times[7] == 0
    assert (np.abs(times - expected) < 1.0).all()
    np.testing.assert_array_equal(bias.resample(data, np.ones(200)).arrays["x"], data.arrays["x"])


@pytest.mark.parametrize("wrong", [np.ones(3), -np.ones(4), np.zeros(4), np.full(4, np.nan)])
def test_refuses_weights_that_are_none(wrong):
    data = Dataset.from_arrays(np.zeros((4, 1), np.float32))
    with pytest.raises(ValueError, match="one finite number an example"):
        bias.resample(data, wrong)


def test_codes_are_those_of_the_model():
    x = np.random.default_rng(0).normal(size=(11, 2, 2, 1)).astype(np.float32)
    data = Dataset(Linear().spec, "train", {"x": x})
    found = bias.encode_dataset(Linear(), {"basis": BASIS}["basis"], data, batch_size=8)
    np.testing.assert_allclose(found, Linear().encode(BASIS, x), rtol=1e-4, atol=1e-5)


def test_what_is_stopped_is_not_said_to_be_kept(digits):
    model = gm.VAE(gm.networks.MLP((4,)), gm.networks.MLP((64,)), 2)
    data = digits.take(32)

    def stop(state, metrics):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="at step 1 of 4: nothing of the run is kept") as e:
        bias.fit_resampled(
            model, data, optax.adam(1e-2), lambda state: np.ones(32), steps=4, every=2,
            batch_size=8, devices=1, hooks=[gm.training.hooks.Every(1, stop)],
        )  # fmt: skip
    assert not isinstance(e.value, gm.training.Interrupted)


def test_stretches_with_equal_weights_are_one_run(digits):
    """Parameters, optimizer and noise go on where the stretch before left them."""
    model = gm.VAE(gm.networks.MLP((4,)), gm.networks.MLP((64,)), 2)
    data, options = digits.take(32), {"batch_size": 8, "seed": 3, "devices": 1}
    asked = []

    def equal(state):
        asked.append(int(state.step))
        return np.ones(32)

    run = bias.fit_resampled(model, data, optax.adam(1e-2), equal, steps=3, every=2, **options)
    whole = gm.fit(model, data, optax.adam(1e-2), steps=3, **options)
    assert asked == [2]
    for a, b in zip(jax.tree.leaves(run.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_array_equal(a, b)
