"""Kernel distances against public implementations' numbers, closed forms and plain loops."""

import itertools

import numpy as np
import pytest

from genjax_models.metrics import Gaussian, kernel_distance, median_bandwidth, mmd
from genjax_models.metrics.kernel import polynomial

X = np.random.RandomState(0).normal(size=(60, 5))
Y = 1.2 * np.random.RandomState(1).normal(size=(50, 5))


def value(x, y, *kernel):
    return mmd(x, y, *kernel, groups=None).value


def test_they_are_torch_fidelity_s():
    """Of torch-fidelity 0.4.0, on the arrays above."""
    found = kernel_distance(X, Y, subsets=10, subset_size=20)
    assert found.value == pytest.approx(0.11119734150053184, rel=1e-9)
    assert found.standard_error == pytest.approx(0.20060023323875661, rel=1e-9)
    assert value(X[:50], Y, Gaussian(2.0)) == pytest.approx(0.007124133866332039, rel=1e-9)


def test_mmd_of_gaussians():
    """Of N(0, 1) and N(m, 1), with k of width h: 2 (1 - exp(-m^2 / (2 (h^2 + 2)))) h / sqrt(..)."""
    rng, m, h = np.random.default_rng(0), 0.7, 1.3
    x, y = rng.normal(size=(2000, 1)), m + rng.normal(size=(1500, 1))
    exact = 2 * h / np.sqrt(h**2 + 2) * (1 - np.exp(-(m**2) / (2 * (h**2 + 2))))
    found = mmd(x, y, Gaussian(h))
    assert found.value == pytest.approx(exact, abs=4 * found.standard_error)
    assert 0 < found.standard_error < exact / 5
    assert value(x[:40], y[:30], polynomial) == pytest.approx(by_loops(x[:40], y[:30]), rel=1e-9)


def by_loops(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    def mean(pairs):
        return np.mean([k(a, b) for a, b in pairs])

    within = (mean(itertools.permutations(z, 2)) for z in (x, y))
    return sum(within) - 2 * mean(itertools.product(x, y))


def test_a_gaussian_kernel_does_not_know_where_the_origin_is():
    assert value(X[:50] + 1e8, Y + 1e8, Gaussian(2.0)) == pytest.approx(
        value(X[:50], Y, Gaussian(2.0)), rel=1e-4
    )


def test_the_error_of_mmd_is_its_spread_and_it_has_no_bias():
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(60, 3)), 0.5 + 1.4 * rng.normal(size=(50, 3))) for _ in range(400)]
    kernel = Gaussian(1.5)
    values = [value(x, y, kernel) for x, y in draws]
    errors = [mmd(x, y, kernel, groups=10).standard_error for x, y in draws[:100]]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.25)
    x, y = rng.normal(size=(1500, 3)), 0.5 + 1.4 * rng.normal(size=(1500, 3))
    whole = mmd(x, y, kernel)
    together = np.hypot(whole.standard_error, np.std(values) / 20)
    assert np.mean(values) == pytest.approx(whole.value, abs=3 * together)
    left = [value(np.delete(X, slice(g, None, 5), 0), np.delete(Y, slice(g, None, 5), 0))
            for g in range(5)]  # fmt: skip
    assert mmd(X, Y, groups=5).standard_error == pytest.approx(np.std(left) * 2)


def test_the_median_distance():
    few = np.array([[0.0], [1.0], [3.0]])
    assert median_bandwidth(few[:2], few[2:]) == pytest.approx(2.0)
    near = median_bandwidth(X, Y)
    pairs = itertools.combinations(np.concatenate([X, Y]), 2)
    assert near == pytest.approx(np.median([np.linalg.norm(a - b) for a, b in pairs]))
    many = np.concatenate([X] * 40)
    assert median_bandwidth(many, many, most=60) == pytest.approx(median_bandwidth(X, X), rel=0.1)
    with pytest.raises(ValueError, match="more than half of the samples are alike"):
        median_bandwidth(np.zeros((9, 2)), np.zeros((2, 2)))


def test_bad_input():
    with pytest.raises(ValueError, match="60 samples, and the kernel distance.*at least 1000"):
        kernel_distance(X, Y)
    with pytest.raises(ValueError, match="1 samples, and the maximum mean .* at least 2"):
        mmd(X[:1], Y, groups=None)
    with pytest.raises(ValueError, match="at least 20: give more"):
        mmd(X[:19], Y)
    with pytest.raises(ValueError, match="bandwidth is 0"):
        Gaussian(0)
    for metric in (mmd, median_bandwidth):
        with pytest.raises(ValueError, match="5 and 4 features"):
            metric(X, Y[:, :4])
        with pytest.raises(ValueError, match="1 of 60 samples.*NaN.*row 3"):
            metric(np.where(np.arange(60)[:, None] == 3, np.nan, X), Y)
