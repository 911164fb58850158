"""The cells of discrete data: points in them, their middles, their volume, and the way back."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core.dequantization import SYMMETRIC, UNIT, Cells, Uniform, num_levels_of
from genjax_models.core.types import DataSpec

SPEC = DataSpec((2,), num_levels=5, name="small")
REAL = DataSpec((2,), num_levels=None, name="points")
X = jax.random.randint(jax.random.key(9), (4000, 2), 0, 5).astype(jnp.uint8)


@pytest.mark.parametrize("cells", [UNIT, SYMMETRIC, Cells(-1.25, 1.25)])
def test_points_are_uniform_in_their_cells_which_fill_the_interval(cells):
    v = cells.dequantize(X, jax.random.key(0), SPEC)
    width = (cells.high - cells.low) / 5
    u = (np.asarray(v) - cells.low) / width - X
    assert u.min() > -1e-5 and u.max() < 1 + 1e-5
    np.testing.assert_allclose([u.mean(), u.var()], [1 / 2, 1 / 12], atol=0.01)
    np.testing.assert_allclose(cells.log_volume(SPEC), 2 * math.log(width), rtol=1e-6)
    np.testing.assert_array_equal(cells.quantize(v, SPEC), X)
    assert cells.quantize(v, SPEC).dtype == X.dtype


def test_the_middles_of_cells_and_what_lies_beyond_the_interval():
    x = jnp.array([[0, 4]])
    np.testing.assert_allclose(UNIT.centres(x, SPEC), [[0.1, 0.9]])
    np.testing.assert_allclose(SYMMETRIC.centres(x, SPEC), [[-0.8, 0.8]])
    assert SYMMETRIC.quantize(jnp.array([[-7.0, 7.0]]), SPEC).tolist() == [[0, 4]]


def test_uniform_noise_has_the_density_of_its_cells():
    for cells in UNIT, SYMMETRIC:
        v, log_q = Uniform(cells)({}, X, jax.random.key(0), SPEC)
        np.testing.assert_array_equal(v, cells.dequantize(X, jax.random.key(0), SPEC))
        np.testing.assert_allclose(log_q, jnp.full(4000, -cells.log_volume(SPEC)), rtol=1e-6)


def test_real_values_stay_as_they_are():
    v = jnp.array([[0.3, -2.0]])
    for way in (SYMMETRIC.centres(v, REAL), SYMMETRIC.quantize(v, REAL)):
        np.testing.assert_array_equal(way, v)
    np.testing.assert_array_equal(SYMMETRIC.dequantize(v, jax.random.key(0), REAL), v)
    assert SYMMETRIC.log_volume(REAL) == 0.0
    assert num_levels_of(SPEC, "leave it") == 5
    with pytest.raises(ValueError, match="points has real-valued entries and no levels: leave it"):
        num_levels_of(REAL, "leave it")
