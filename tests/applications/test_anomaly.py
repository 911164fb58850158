"""Scores of models whose densities are known in closed form."""

import math
import zlib

import jax
import numpy as np
import pytest

from genjax_models.applications import anomaly
from genjax_models.data.dataset import Dataset
from tests.applications.models import PLANE, Gaussian, Linear, TwoGaussians

KEY = jax.random.key(0)
POINTS = np.array([[0.0, 0.0], [3.0, 4.0], [-3.0, 0.0]], np.float32)
DATA = Dataset(PLANE, "test", {"x": POINTS})


def test_scores_are_those_that_the_protocols_allow():
    found = anomaly.score(Gaussian(), np.zeros(2, np.float32), DATA, KEY, batch_size=8)
    assert set(found) == {"nll", "energy"}
    np.testing.assert_allclose(found["energy"], [0.0, 12.5, 4.5], rtol=1e-6)
    np.testing.assert_allclose(found["nll"], found["energy"] + math.log(2 * math.pi), rtol=1e-6)
    assert set(anomaly.default_scores(Linear())) == {"reconstruction_error"}


def test_a_conditional_model_is_asked_for_every_label():
    (nll,) = anomaly.score(TwoGaussians(), {}, DATA, KEY).values()
    near, far = math.exp(-0.5 * 0.0), math.exp(-0.5 * 36.0)
    expected = -math.log(0.5 * (near + far) / (2 * math.pi))
    assert nll[2] == pytest.approx(expected, rel=1e-6)
    assert nll[0] == pytest.approx(4.5 + math.log(2 * math.pi), rel=1e-6)


def test_many_batches_give_what_one_does():
    points = np.random.default_rng(0).normal(size=(37, 2)).astype(np.float32)
    data = Dataset(PLANE, "test", {"x": points})
    found = anomaly.score(Gaussian(), np.zeros(2, np.float32), data, KEY, batch_size=8)
    np.testing.assert_allclose(found["energy"], 0.5 * (points**2).sum(1), rtol=1e-5)


def test_too_likely_is_not_typical():
    np.testing.assert_allclose(anomaly.typicality([1.0, 5.0, 9.0], 5.0), [4.0, 0.0, 4.0])
    np.testing.assert_allclose(anomaly.likelihood_ratio([3.0, 5.0], [1.0, 9.0]), [2.0, -4.0])


def test_complexity_is_the_compressed_length():
    flat = np.zeros((28, 28), np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    found = anomaly.complexity(np.stack([flat, noise]))
    assert found[1] == 8 * math.log(2) * len(zlib.compress(noise.tobytes(), 9))
    assert found[0] < found[1] / 20
    # Incompressible bits cost about one bit each, plus deflate's few bytes.
    bits = np.random.default_rng(0).integers(0, 2, (1, 28, 28))
    assert 784 <= anomaly.complexity(bits, 2)[0] / math.log(2) <= 784 + 8 * 12
    with pytest.raises(ValueError, match="float64"):
        anomaly.complexity(np.ones((2, 3)))


def test_distance_to_samples_is_of_directions():
    samples = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 5.0]])
    x = np.array([[9.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    nearest = [0.0, math.sqrt(2 - math.sqrt(2)), math.sqrt(2)]
    np.testing.assert_allclose(anomaly.sample_distance(x, samples), nearest, atol=1e-6)
    third = [math.sqrt(2), math.sqrt(2 - math.sqrt(2)), 2.0]
    np.testing.assert_allclose(anomaly.sample_distance(x, samples, 3), third, atol=1e-6)
    with pytest.raises(ValueError, match="3 samples"):
        anomaly.sample_distance(x, samples, 4)
    with pytest.raises(ValueError, match="hold NaN"):
        anomaly.sample_distance(np.full_like(x, np.nan), samples)
    with pytest.raises(ValueError, match="0 examples"):
        anomaly.sample_distance(x[:0], samples)


def test_refuses_what_cannot_be_scored(digits):
    with pytest.raises(ValueError, match="alike"):
        anomaly.score(Gaussian(), np.zeros(2), digits, KEY)

    class Implicit:
        spec = PLANE

    with pytest.raises(ValueError, match="sample_distance"):
        anomaly.score(Implicit(), {}, DATA, KEY)
