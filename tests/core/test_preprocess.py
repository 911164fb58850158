"""Binarisation and dequantisation, and the way back."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import genjax_models as gm
from genjax_models.core import DataSpec, preprocess

SPEC = DataSpec((4, 4, 1), num_levels=17, name="small")
KEYS = [jax.random.key(i) for i in range(2)]
X = jax.random.randint(jax.random.key(9), (500, 4, 4, 1), 0, 17).astype(jnp.uint8)


def test_dynamic_binarization_draws_anew_with_the_grey_values_as_probabilities():
    binarize = preprocess.dynamic_binarization.apply
    keys = jax.random.split(jax.random.key(0), 3000)
    draws = jax.vmap(lambda key: binarize(X[:4], key, SPEC))(keys)
    assert set(np.unique(draws)) == {0, 1} and draws.dtype == jnp.uint8
    np.testing.assert_allclose(draws.mean(axis=0), X[:4] / 16, atol=0.045)  # 5 standard errors
    assert preprocess.dynamic_binarization.describe(SPEC).num_levels == 2


def test_fixed_binarization_is_a_function_of_the_image_and_the_seed():
    binarize = preprocess.fixed_binarization(0).apply
    first = binarize(X, KEYS[0], SPEC)
    np.testing.assert_array_equal(first, binarize(X, KEYS[1], SPEC))
    np.testing.assert_array_equal(first[::-1], binarize(X[::-1], KEYS[0], SPEC))
    other = preprocess.fixed_binarization(1).apply(X, KEYS[0], SPEC)
    assert not np.array_equal(first, other)
    # Its noise is as good as fresh noise: mean and variance of the residuals.
    residual = np.asarray(first - X / 16.0)
    np.testing.assert_allclose(residual.mean(), 0.0, atol=0.02)
    np.testing.assert_allclose((residual**2).mean(), np.mean(X / 16 * (1 - X / 16)), rtol=0.05)


@pytest.mark.parametrize(
    "way", [preprocess.identity, preprocess.uniform_dequantization], ids=["identity", "uniform"]
)
def test_restoring_undoes_it(way):
    np.testing.assert_array_equal(way.restore(way.apply(X, KEYS[0], SPEC), SPEC), X)


@pytest.mark.parametrize("way", [preprocess.dynamic_binarization, preprocess.threshold])
def test_black_and_white_restored_is_binarised_to_itself(way):
    binary = way.apply(X, KEYS[0], SPEC)
    restored = way.restore(binary, SPEC)
    assert set(np.unique(restored)) == {0, 16} and restored.dtype == jnp.uint8
    np.testing.assert_array_equal(way.apply(restored, KEYS[1], SPEC), binary)


def test_dequantization_is_uniform_within_its_level_and_counts_its_volume():
    u = preprocess.uniform_dequantization.apply(X, KEYS[0], SPEC) * 17 - X
    assert 0 <= u.min() and u.max() < 1
    np.testing.assert_allclose([u.mean(), u.var()], [1 / 2, 1 / 12], atol=0.01)
    volume = preprocess.uniform_dequantization.log_volume(SPEC)
    # A uniform density of 1 on [0, 1]^16 is 17^-16 for each discrete image.
    np.testing.assert_allclose(volume, -16 * math.log(17))


def test_real_values_have_no_levels_to_binarise():
    with pytest.raises(ValueError, match="no levels"):
        preprocess.dynamic_binarization.apply(jnp.ones((1, 2)), KEYS[0], DataSpec((2,), None))


def test_preprocessing_is_a_value_that_prints_as_what_builds_it():
    fixed = preprocess.fixed_binarization(3)
    assert fixed == preprocess.fixed_binarization(3) != preprocess.fixed_binarization(4)
    assert hash(fixed) == hash(preprocess.fixed_binarization(3))
    for way in (fixed, preprocess.identity, preprocess.threshold):
        assert eval(repr(way), {"gm": gm}) == way
    assert repr(preprocess.dynamic_binarization) == "gm.preprocess.dynamic_binarization"
