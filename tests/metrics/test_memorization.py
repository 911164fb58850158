"""Copies of training examples are found, and draws of the same law are none."""

import numpy as np
import pytest

from genjax_models.metrics.memorization import memorization, nearest_neighbours


def images(num, seed):
    return np.random.default_rng(seed).integers(0, 17, (num, 3, 2, 1), np.uint8)


def test_nearest_neighbours(monkeypatch):
    monkeypatch.setattr("genjax_models.metrics.features._MOST_PAIRS", 450)
    x, y = images(70, 0), images(60, 1)
    found = nearest_neighbours(x, y)
    apart = np.linalg.norm(x.reshape(70, 1, 6) - y.reshape(60, 6).astype(float), axis=-1)
    np.testing.assert_allclose(found.distance, apart.min(1), rtol=1e-12)
    np.testing.assert_allclose(apart[np.arange(70), found.which], apart.min(1), rtol=1e-12)
    copies = nearest_neighbours(y[::-1], y)
    assert np.all(copies.distance == 0) and np.array_equal(y[copies.which], y[::-1])


def test_fresh_draws_and_copies():
    rng = np.random.default_rng(0)
    training, held_out, fresh = rng.normal(size=(3, 1000, 3)) + 5.0
    found = memorization(fresh, training, held_out)
    assert found.duplicates.value == found.duplicates_held_out.value == 0
    assert found.nearer.value == pytest.approx(0.5, abs=0.05)
    for share in (found.near_duplicates, found.near_duplicates_held_out):
        assert share.value == pytest.approx(0.01, abs=0.01)
        assert share.interval[0] <= share.value < share.interval[1] < 0.04
        assert share[2:5] == (1000, "nearest neighbours", 1000)
    copied = np.where(np.arange(1000)[:, None] < 200, training, fresh)
    beside = np.where(np.arange(1000)[:, None] < 300, copied + 1e-3, copied)
    found = memorization(beside, training, held_out)
    assert found.duplicates.value == 0 and found.near_duplicates.value >= 0.2
    assert found.near_duplicates_held_out.value < 0.02
    assert found.nearer.value == pytest.approx(0.2 + 0.8 / 2, abs=0.05)
    copies = memorization(copied, training, held_out)
    assert copies.duplicates.value == 0.2 and copies.near_duplicates_held_out.value < 0.02
    assert np.array_equal(copies.neighbours.which[:200], np.arange(200))
    few = memorization(copied, training, held_out, most=500)
    assert few.duplicates.value == 0.2 and few.threshold == pytest.approx(copies.threshold, rel=0.5)


def test_bad_input():
    x = images(200, 0)
    with pytest.raises(ValueError, match="6 and 4 features"):
        memorization(x, x, x[:, :2])
    with pytest.raises(
        ValueError, match="50 samples, .*distance of 0.01 of them needs at least 100"
    ):
        memorization(x, x[:50], x)
    with pytest.raises(ValueError, match="1 of 200 samples have features that are NaN"):
        nearest_neighbours(np.where(np.arange(200)[:, None] == 2, np.nan, x.reshape(200, 6)), x)
    with pytest.raises(ValueError, match="near is 1"):
        memorization(x, x, x, near=1)
