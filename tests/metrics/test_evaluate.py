"""Samples are compared with real examples by every figure of features, read once."""

import dataclasses

import jax
import numpy as np
import pytest

from genjax_models.metrics import Figure, compare_samples


@dataclasses.dataclass(frozen=True)
class Plain:
    """Examples that are their own features."""

    name: str = "the points themselves"

    def features(self, x):
        return np.asarray(x)


class Classified(Plain):
    passes = 0

    def features(self, x):
        return self.read(x)[0]

    def read(self, x):
        type(self).passes += 1
        return np.asarray(x), 3 * np.asarray(x)


def test_samples_are_compared_by_every_figure():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 4)), rng.normal(size=(250, 4))
    order = np.argsort(x[:, 0])
    found = compare_samples(Plain(), x[order], y)
    assert list(found) == [
        "frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage",
    ]  # fmt: skip
    for figure in found.values():
        assert isinstance(figure, Figure) and (figure.num, figure.num_reference) == (300, 250)
        low, high = figure.interval
        assert low <= figure.value <= high and high - low < 1.0
    assert found["kernel_distance"].interval[0] < 0 < found["kernel_distance"].interval[1]
    assert found == compare_samples(Plain(), x[order], y, key=jax.random.key(0))
    other = compare_samples(Plain(), x[order], y, key=jax.random.key(1))
    assert other["coverage"].value == found["coverage"].value  # the groups alone are others
    assert other["kernel_distance"].interval != found["kernel_distance"].interval
    far = compare_samples(Plain(), x + 1, y)
    assert far["frechet_distance"].interval[0] > found["frechet_distance"].interval[1]
    assert far["precision"].interval[1] < found["precision"].interval[0]
    score = compare_samples(Classified(), x, y)["inception_score"]
    assert Classified.passes == 2  # each set once
    assert score.num_reference == 0 and 1 < score.value < 4
    assert str(score).endswith("300 samples, the points themselves)")


def test_too_few_samples_are_refused():
    x, y = np.random.default_rng(0).normal(size=(2, 50, 5))
    with pytest.raises(ValueError, match="Fréchet distance needs at least"):
        compare_samples(Plain(), x[:5], y)
