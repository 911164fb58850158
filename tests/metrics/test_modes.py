"""Exact samples of a mixture, and samples that fail in known ways."""

import jax
import numpy as np
import pytest

from genjax_models.data import densities
from genjax_models.metrics.modes import mode_shares

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
