"""Each density is normalised, and its samples follow it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from genjax_models import data
from genjax_models.data import densities

EXTENT = {"two_moons": 3.0, "ring": 3.5, "pinwheel": 6.0}  # half a side that holds all the mass
CELLS, FINE = 40, 16  # cells a side of the histogram, grid points a side of a cell


NUM = 100_000

sample = jax.jit(lambda density, key, num: density.sample(key, num), static_argnums=(0, 2))
log_prob = jax.jit(lambda density, x: density.log_prob(x), static_argnums=0)
scores = jax.jit(
    lambda density, x: jax.vmap(jax.grad(lambda p: density.log_prob(p[None])[0]))(x),
    static_argnums=0,
)


@pytest.fixture(scope="module", params=densities.DENSITIES)
def case(request):
    """A density, its log density on a fine grid, that grid's measures, and points drawn."""
    density, extent = densities.DENSITIES[request.param](), EXTENT.get(request.param, 5.0)
    step = 2 * extent / (CELLS * FINE)
    line = -extent + step * (np.arange(CELLS * FINE) + 0.5)
    rows = jnp.asarray(np.stack(np.meshgrid(line, line, indexing="ij"), -1), jnp.float32)
    log_p = np.asarray(jax.lax.map(jax.jit(density.log_prob), rows), np.float64)
    points = sample(density, jax.random.key(0), NUM)
    return density, log_p, step**2, extent, points


def test_it_integrates_to_one(case):
    _, log_p, area, *_ = case
    assert np.exp(log_p).sum() * area == pytest.approx(1.0, abs=1e-3)


def test_samples_fill_cells_as_the_density_says(case):
    _, log_p, area, extent, points = case
    counts = np.histogram2d(*np.asarray(points).T, bins=CELLS, range=[[-extent, extent]] * 2)[0]
    assert counts.sum() >= NUM * (1 - 1e-4)
    expected = NUM * area * np.exp(log_p).reshape(CELLS, FINE, CELLS, FINE).sum((1, 3))
    usual = expected >= 5
    counts = np.append(counts[usual], NUM - counts[usual].sum())
    expected = np.append(expected[usual], NUM - expected[usual].sum())
    kept = expected > 1
    statistic = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    low, high = chi2.ppf([1e-4, 1 - 1e-4], kept.sum() - 1)
    # A fit that is too good would mean that the points are not independent.
    assert low < statistic < high


def test_the_mean_log_density_of_samples_is_minus_the_entropy(case):
    density, log_p, area, _, points = case
    p = np.exp(log_p)
    entropy = -(p * np.where(p > 0, log_p, 0.0)).sum() * area
    sampled = -np.asarray(log_prob(density, points), np.float64)
    assert np.isfinite(sampled).all()
    error = sampled.std() / np.sqrt(len(sampled))
    assert sampled.mean() == pytest.approx(entropy, abs=4 * error + 1e-3)


def test_gradients_are_finite_where_the_density_is(case):
    density, *_, points = case
    points = jnp.concatenate([points[:200], jnp.zeros((1, 2)), jnp.full((1, 2), 4.5)])
    assert np.isfinite(scores(density, points)).all()


def test_it_is_pure_and_static(case):
    density, *_, points = case
    np.testing.assert_array_equal(sample(density, jax.random.key(0), NUM), points)
    other = sample(density, jax.random.key(1), NUM)
    assert not np.isin(np.asarray(other)[:100, 0], np.asarray(points)[:, 0]).all()
    assert hash(density) == hash(dataclasses.replace(density))
    some = points[:5]
    np.testing.assert_allclose(log_prob(density, some), density.log_prob(some), rtol=1e-4)


def test_the_twist_keeps_areas():
    x = jax.random.normal(jax.random.key(0), (50, 2))
    twist = jax.jacobian(lambda p: densities._twist(p[None], 1.3)[0])
    jacobian = jax.jit(jax.vmap(twist))(x)
    np.testing.assert_allclose(np.linalg.det(jacobian), 1.0, atol=1e-4)
    np.testing.assert_allclose(densities._twist(densities._twist(x, 1.3), -1.3), x, atol=1e-5)


def test_the_modes_of_ring_and_grid():
    ring, grid = densities.ring(), densities.grid(scale=0.05)
    assert len(ring.modes) == 8 and len(grid.modes) == 25 and grid.scale == 0.05
    np.testing.assert_allclose(np.linalg.norm(ring.modes, axis=1), 2.0)
    assert set(np.unique(grid.modes)) == {-4.0, -2.0, 0.0, 2.0, 4.0}
    # At a mode far from the others the density is the Gaussian's own height, shared by all.
    height = -np.log(25 * 2 * np.pi * 0.05**2)
    np.testing.assert_allclose(grid.log_prob(jnp.asarray(grid.modes)), height, rtol=1e-5)


def test_loaded_by_name_the_splits_differ_and_stay():
    train, test = data.load("ring"), data.load("ring", "test")
    assert train.spec.shape == (2,) and train.spec.num_levels is None and len(train) == 50_000
    again = data.load("ring", "train[:10]")
    np.testing.assert_array_equal(again.rows(range(10))["x"], train.rows(range(10))["x"])
    assert not np.intersect1d(train.arrays["x"][:, 0], test.arrays["x"][:, 0]).size > 100
