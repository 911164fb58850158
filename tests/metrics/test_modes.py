"""Exact samples of a mixture, and samples that fail in known ways."""

import jax
import numpy as np
import pytest

from genjax_models.data import densities
from genjax_models.metrics.modes import classified_modes, classify_channels, mode_shares

NUM = 40_000


@pytest.fixture(scope="module", params=["ring", "grid"])
def exact(request):
    mixture = densities.DENSITIES[request.param]()
    sample = jax.jit(mixture.sample, static_argnums=1)
    return mixture, np.asarray(sample(jax.random.key(0), NUM))


def test_exact_samples(exact):
    mixture, x = exact
    num = len(mixture.modes)
    found = mode_shares(x, mixture)
    assert found.expected_within == pytest.approx(1 - np.exp(-4.5))  # of the Rayleigh distribution
    error = np.sqrt(np.exp(-4.5) / NUM)
    assert found.within == pytest.approx(found.expected_within, abs=4 * error)
    assert found.covered == num
    np.testing.assert_allclose(found.shares, 1 / num, rtol=4.5 * np.sqrt((num - 1) / NUM))
    assert found.largest_difference == pytest.approx(np.abs(found.shares * num - 1).max())
    # 2 N KL is about chi-squared with num - 1 degrees of freedom.
    assert 0 < 2 * NUM * found.kl < num - 1 + 5 * np.sqrt(2 * (num - 1))


@pytest.mark.parametrize("radius", [1.0, 2.0])
def test_the_mass_within_a_radius(exact, radius):
    mixture, x = exact
    found = mode_shares(x, mixture, radius)
    assert found.expected_within == pytest.approx(1 - np.exp(-(radius**2) / 2))
    assert found.within == pytest.approx(found.expected_within, abs=0.01)


def test_a_dropped_mode(exact):
    mixture, x = exact
    num = len(mixture.modes)
    kept = x[np.linalg.norm(x - np.asarray(mixture.modes[3]), axis=1) > 0.7]
    found = mode_shares(kept, mixture)
    assert found.covered == num - 1 and found.shares[3] == 0
    assert found.largest_difference == 1.0
    assert found.kl == pytest.approx(np.log(num / (num - 1)), abs=0.001)


def test_samples_between_the_modes_belong_to_none():
    ring = densities.ring()
    at_modes = np.repeat(np.asarray(ring.modes), [3, 1, 1, 1, 1, 1, 1, 1], axis=0)
    x = np.concatenate([at_modes, np.zeros((10, 2))])
    found = mode_shares(x, ring)
    assert found.within == 0.5 and found.covered == 8
    np.testing.assert_allclose(found.shares, [0.3] + [0.1] * 7)
    assert found.largest_difference == pytest.approx(0.3 * 8 - 1)
    assert found.kl == pytest.approx(0.3 * np.log(2.4) + 0.7 * np.log(0.8))
    nothing = mode_shares(np.zeros((5, 2)), ring)
    assert (nothing.within, nothing.covered, nothing.kl) == (0.0, 0, np.inf)


def test_other_weights():
    ring = densities.ring(num=2)
    x = np.repeat(np.asarray(ring.modes), [3, 1], axis=0)
    found = mode_shares(x, ring, weights=[0.75, 0.25])
    assert found.kl == 0.0 and found.largest_difference == 0.0


def test_bad_input():
    ring = densities.ring()
    with pytest.raises(ValueError, match=r"shape \(4, 3\), and the modes are points \[2\]"):
        mode_shares(np.zeros((4, 3)), ring)
    with pytest.raises(ValueError, match="NaN"):
        mode_shares(np.full((4, 2), np.nan), ring)
    with pytest.raises(ValueError, match="give 8 weights"):
        mode_shares(np.zeros((4, 2)), ring, weights=[0.5, 0.5])


def test_classified_modes_by_hand():
    found = classified_modes([0, 0, 0, 2], 4)
    np.testing.assert_array_equal(found.shares, [0.75, 0, 0.25, 0])
    assert found.covered == 2 and found.largest_difference == pytest.approx(2.0)
    assert found.kl == pytest.approx(0.75 * np.log(3.0) + 0.25 * np.log(1.0))
    weighted = classified_modes([0, 0, 0, 2], 3, weights=[0.6, 0.2, 0.2])
    assert weighted.kl == pytest.approx(0.75 * np.log(1.25) + 0.25 * np.log(1.25))


def test_exact_samples_of_a_thousand_modes():
    """What 26,000 samples show where nothing is missing; 5,000 miss a few."""
    draw = np.random.default_rng(0).integers
    found = classified_modes(draw(1_000, size=26_000), 1_000)
    assert found.covered == 1_000
    # 2 N KL is about chi-squared with 999 degrees of freedom.
    assert abs(2 * 26_000 * found.kl - 999) < 5 * np.sqrt(2 * 999)
    few = classified_modes(draw(1_000, size=5_000), 1_000)
    missed = 1_000 * (1 - 1 / 1_000) ** 5_000
    assert abs((1_000 - few.covered) - missed) < 5 * np.sqrt(missed)


def test_channels_are_the_digits_of_the_mode():
    images = np.zeros((3, 2, 2, 3), np.uint8)
    images[:] = np.array([[3, 0, 7], [0, 0, 0], [9, 9, 8]])[:, None, None]
    modes = classify_channels(lambda x: x[:, 0, 0, 0], images)
    np.testing.assert_array_equal(modes, [307, 0, 998])
    np.testing.assert_array_equal(
        classify_channels(lambda x: x[:, 0, 0, 0] % 2, images, 2), [5, 0, 6]
    )


def test_predictions_that_are_no_modes():
    with pytest.raises(ValueError, match=r"hold 4, and the modes are 0 \.\. 3"):
        classified_modes([0, 4], 4)
    with pytest.raises(ValueError, match=r"float64 of shape \(2, 3\): give one integer a sample"):
        classified_modes(np.zeros((2, 3)), 4)
    with pytest.raises(ValueError, match="give 4 weights"):
        classified_modes([0, 3], 4, weights=[0.5, 0.5])
    with pytest.raises(ValueError, match=r"shape \(2, 3\): give \[N, H, W, C\]"):
        classify_channels(np.argmax, np.zeros((2, 3)))
