"""The Fréchet distance against closed forms and the root of a matrix, and its standard error."""

import functools

import jax
import numpy as np
import pytest
import scipy.linalg

from genjax_models.metrics.frechet import (
    Moments,
    frechet_distance,
    frechet_floor,
    frechet_of_gaussians,
    merge,
    moments,
)


def frechet(x, y):
    return frechet_distance(x, y, groups=None).value


def test_it_is_pytorch_fid_s():
    """Of pytorch-fid 0.3.0, on these arrays."""
    x = np.random.RandomState(0).normal(size=(60, 5))
    y = 1.2 * np.random.RandomState(1).normal(size=(50, 5))
    assert frechet(x, y) == pytest.approx(0.6628580413365892, rel=1e-9)


def features(num, dims, seed=0, spread=1.0):
    """Correlated, skewed and of different scales, as the last layer of a network."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(dims, dims)) * np.logspace(0, -3, dims)
    return np.maximum(spread * rng.normal(size=(num, dims)) @ mix + 0.1, 0.0)


def covariance(dims, rank, seed=0):
    a = np.random.default_rng(seed).normal(size=(dims, rank))
    return a @ a.T


def by_the_root_of_a_matrix(x, y):
    apart = x.mean(0) - y.mean(0)
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return apart @ apart + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real)


@pytest.mark.parametrize("dims", [1, 7, 60])
def test_it_is_the_formula_with_the_root_of_a_matrix(dims):
    x, y = features(400, dims), features(300, dims, seed=1, spread=1.1)
    if dims == 1:
        exact = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    else:
        exact = by_the_root_of_a_matrix(x, y)
    assert frechet(x, y) == pytest.approx(exact, rel=1e-6)
    assert frechet_of_gaussians(moments(x), moments(y)) == frechet(x, y)
    assert frechet(y, x) == pytest.approx(exact, rel=1e-6)
    assert frechet(x.astype(np.float32), y) == pytest.approx(exact, rel=1e-4)


def test_closed_forms():
    m, n = np.array([1.0, 2.0, -1.0]), np.array([0.5, 0.0, 3.0])
    s = covariance(3, 3)
    equal = frechet_of_gaussians(Moments(9, m, s), Moments(9, n, s))
    assert equal == pytest.approx(0.25 + 4.0 + 16.0, rel=1e-9)
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 0.25, 0.0])
    diagonal = frechet_of_gaussians(Moments(9, m, np.diag(a)), Moments(9, m, np.diag(b)))
    assert diagonal == pytest.approx(1.0 + 2.25 + 9.0, rel=1e-9)
    # Scales that lie far apart must not drown the small ones.
    scaled = frechet_of_gaussians(
        Moments(9, m, np.diag(a * [1, 1e-6, 1e6])), Moments(9, m, np.diag(b * 0))
    )
    assert scaled == pytest.approx(1 + 4e-6 + 9e6, rel=1e-12)


def test_singular_covariances():
    s, zero = covariance(6, 2), np.zeros(6)
    assert frechet_of_gaussians(Moments(9, zero, s), Moments(9, zero, 9 * s)) == pytest.approx(
        4 * np.trace(s)
    )
    across = scipy.linalg.null_space(s)
    across = across @ across.T
    distance = frechet_of_gaussians(Moments(9, zero, s), Moments(9, zero, across))
    assert distance == pytest.approx(np.trace(s) + 4.0)
    # A unit that never fires, and one that repeats another.
    x, y = features(200, 8), features(200, 8, seed=1)
    wider = (np.concatenate([z, z[:, :1], np.zeros((200, 1))], axis=1) for z in (x, y))
    apart = frechet(*wider)
    assert apart == pytest.approx(by_the_root_of_a_matrix_of_the_support(x, y), rel=1e-6)


def by_the_root_of_a_matrix_of_the_support(x, y):
    """Features with their first one twice: as one feature, sqrt(2) times as large."""
    scale = np.where(np.arange(x.shape[1]) == 0, np.sqrt(2.0), 1.0)
    return by_the_root_of_a_matrix(scale * x, scale * y)


def test_it_is_zero_for_equal_sets_and_moves_with_the_space():
    x, y = features(300, 12), features(300, 12, seed=1, spread=1.2)
    assert 0 <= frechet(x, x[::-1]) < 1e-7 * np.trace(moments(x).covariance)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    assert frechet(3 * x @ turn + 5, 3 * y @ turn + 5) == pytest.approx(9 * frechet(x, y), rel=1e-6)


def test_moments_in_batches():
    x = features(100, 5) + 1e3
    whole = moments(x)
    np.testing.assert_allclose(whole.covariance, np.cov(x, rowvar=False), rtol=1e-10)
    parts = [x[:1], x[1:2], x[2:40], x[40:]]
    merged = functools.reduce(merge, map(moments, parts))
    assert merged.num == 100
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-9, atol=1e-12)


def test_the_standard_error_is_the_spread_of_the_figure():
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(400, 3)), 1.3 * rng.normal(size=(300, 3)) + 0.3) for _ in range(150)]
    spread = np.std([frechet(x, y) for x, y in draws])
    estimates = [frechet_distance(x, y, groups=10) for x, y in draws[:40]]
    error = np.sqrt(np.mean([e.standard_error**2 for e in estimates]))
    assert error == pytest.approx(spread, rel=0.25)
    assert estimates[0].value == frechet(*draws[0])


def test_the_order_of_the_samples_is_of_no_account():
    """Sorted by class, strided groups would each be of one class."""
    rng = np.random.default_rng(0)
    label = np.arange(600) % 20
    x, y = (rng.normal(size=(600, 3)) + 3.0 * np.stack([label] * 3, -1) for _ in range(2))
    in_turn = frechet_distance(x, y)
    shuffled = frechet_distance(rng.permutation(x), rng.permutation(y))
    assert in_turn.standard_error == pytest.approx(shuffled.standard_error, rel=0.7)
    assert in_turn.value == pytest.approx(shuffled.value)


@pytest.mark.parametrize("num", [150, 600, 5_000])
def test_the_floor_is_the_distance_of_fresh_samples(num):
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(num, 8)), rng.normal(size=(600, 8))) for _ in range(20)]
    floors = [frechet_floor(y, num, jax.random.key(0)) for _, y in draws]
    fresh = [frechet(x, y) for x, y in draws]
    assert np.mean(floors) == pytest.approx(np.mean(fresh), rel=0.1)


def two_halves(x, key):
    """The mean distance of two halves, of which the floor is made."""
    return 2 * frechet_floor(x, len(x), key)


def test_two_halves_are_as_far_apart_as_two_fresh_sets():
    rng = np.random.default_rng(0)
    fresh = [frechet(*rng.normal(size=(2, 500, 4))) for _ in range(60)]
    x = rng.normal(size=(1_000, 4))
    x = x[np.argsort(x[:, 0])]
    value = two_halves(x, jax.random.key(0))
    assert value == pytest.approx(np.mean(fresh), abs=3 * np.std(fresh))
    assert frechet(x[:500], x[500:]) > 1.0  # in its order, the halves differ
    assert value == two_halves(x, jax.random.key(0)) != two_halves(x, jax.random.key(1))


def test_bad_input():
    x = features(30, 20)
    with pytest.raises(ValueError, match="20 samples of 20 features.*at least 21"):
        frechet(x[:20], x)
    with pytest.raises(ValueError, match="30 samples of 20 features.*at least 42"):
        two_halves(x, jax.random.key(0))
    with pytest.raises(ValueError, match="20 samples of 20 features.*at least 28"):
        frechet_distance(x, x[:20], groups=4)
    least = features(28, 20)
    assert frechet_distance(least, features(28, 20, seed=1), groups=4).standard_error > 0
    with pytest.raises(ValueError, match="1 of 30 samples.*NaN.*row 3"):
        frechet(np.where(np.arange(30)[:, None] == 3, np.nan, x), x)
    with pytest.raises(ValueError, match="20 and 19 features"):
        frechet(x, x[:, :19])
    with pytest.raises(ValueError, match=r"shape \(20,\)"):
        moments(x[0])
