"""Figures of features against public implementations' numbers, closed forms and plain loops."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from genjax_models.metrics.distances import compare_samples
from genjax_models.metrics.divergence import Estimate
from genjax_models.metrics.figure import Figure, interval_of, interval_of_share
from genjax_models.metrics.frechet import frechet
from genjax_models.metrics.inception_score import inception_score
from genjax_models.metrics.kernel import (
    gaussian,
    kernel_distance,
    median_bandwidth,
    mmd,
    mmd_estimate,
    polynomial,
)
from genjax_models.metrics.manifold import manifold, manifold_estimates

X = np.random.RandomState(0).normal(size=(60, 5))
Y = 1.2 * np.random.RandomState(1).normal(size=(50, 5))
LOGITS = 2 * np.random.RandomState(2).normal(size=(43, 4))


def test_they_are_the_numbers_of_public_implementations():
    """Of pytorch-fid 0.3.0, torch-fidelity 0.4.0 and prdc 0.2, on the arrays above."""
    assert frechet(X, Y) == pytest.approx(0.6628580413365892, rel=1e-9)
    found = kernel_distance(X, Y, subsets=10, subset_size=20)
    assert found.value == pytest.approx(0.11119734150053184, rel=1e-9)
    assert found.standard_error == pytest.approx(0.20060023323875661, rel=1e-9)
    assert mmd(X[:50], Y, gaussian(2.0)) == pytest.approx(0.007124133866332039, rel=1e-9)
    score = inception_score(LOGITS, splits=4)
    assert score.value == pytest.approx(1.8712010195573665, rel=1e-9)
    assert score.standard_error == pytest.approx(0.3469242376759599 / np.sqrt(3), rel=1e-9)
    assert manifold(X, Y, 3) == pytest.approx((0.95, 0.82, 1.161111111111111, 0.92), rel=1e-9)


def test_mmd_of_gaussians():
    """Of N(0, 1) and N(m, 1), with k of width h: 2 (1 - exp(-m^2 / (2 (h^2 + 2)))) h / sqrt(..)."""
    rng, m, h = np.random.default_rng(0), 0.7, 1.3
    x, y = rng.normal(size=(2000, 1)), m + rng.normal(size=(1500, 1))
    exact = 2 * h / np.sqrt(h**2 + 2) * (1 - np.exp(-(m**2) / (2 * (h**2 + 2))))
    found = mmd_estimate(x, y, gaussian(h))
    assert found.value == pytest.approx(exact, abs=4 * found.standard_error)
    assert 0 < found.standard_error < exact / 5
    assert mmd(x[:40], y[:30], polynomial) == pytest.approx(by_loops(x[:40], y[:30]), rel=1e-9)


def by_loops(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    def mean(pairs):
        return np.mean([k(a, b) for a, b in pairs])

    within = (mean(itertools.permutations(z, 2)) for z in (x, y))
    return sum(within) - 2 * mean(itertools.product(x, y))


def test_a_gaussian_kernel_does_not_know_where_the_origin_is():
    assert mmd(X[:50] + 1e8, Y + 1e8, gaussian(2.0)) == pytest.approx(
        mmd(X[:50], Y, gaussian(2.0)), rel=1e-4
    )


def test_the_error_of_mmd_is_its_spread_and_it_has_no_bias():
    rng = np.random.default_rng(0)
    draws = [(rng.normal(size=(60, 3)), 0.5 + 1.4 * rng.normal(size=(50, 3))) for _ in range(400)]
    kernel = gaussian(1.5)
    values = [mmd(x, y, kernel) for x, y in draws]
    errors = [mmd_estimate(x, y, kernel, groups=10).standard_error for x, y in draws[:100]]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.25)
    x, y = rng.normal(size=(1500, 3)), 0.5 + 1.4 * rng.normal(size=(1500, 3))
    whole = mmd_estimate(x, y, kernel)
    together = np.hypot(whole.standard_error, np.std(values) / 20)
    assert np.mean(values) == pytest.approx(whole.value, abs=3 * together)
    left = [mmd(np.delete(X, slice(g, None, 5), 0), np.delete(Y, slice(g, None, 5), 0))
            for g in range(5)]  # fmt: skip
    assert mmd_estimate(X, Y, groups=5).standard_error == pytest.approx(np.std(left) * 2)


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


def test_inception_scores_of_known_answers():
    sure = 100 * np.eye(6)[np.arange(120) % 6]
    assert inception_score(sure, splits=1).value == pytest.approx(6.0)
    assert inception_score(np.zeros((40, 6)), splits=4).value == pytest.approx(1.0)
    assert inception_score(sure[:, :2] - sure[:, 1:3], splits=1).value < 3
    assert inception_score(LOGITS + 7.0) == pytest.approx(inception_score(LOGITS))


def test_manifolds_of_known_sets():
    line = np.arange(10.0)[:, None]
    same = manifold(line + 0.25, line, nearest=1)  # balls of radius 1, the samples a bit to a side
    assert same == (1.0, 1.0, pytest.approx(1.9), 1.0)
    collapsed = manifold(np.repeat(line[:1] + 0.01 * line, 5, 0), line, nearest=1)
    assert collapsed.precision == 1.0 and collapsed.recall <= 0.2 and collapsed.coverage == 0.2
    assert manifold(line + 100, line) == (0, 0, 0, 0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1500, 6))
    found = manifold(x, y)
    assert found.density == pytest.approx(1.0, abs=0.05)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    moved = manifold(x + 1e4, y + 1e4)  # a mean far from zero loses nothing
    assert moved == found


def plain(x, y, k):
    """The four figures by the definitions, all distances at once."""

    def distances(a, b):
        return np.linalg.norm(a[:, None] - b, axis=-1)

    radius_x, radius_y = (np.sort(distances(z, z), axis=1)[:, k] for z in (x, y))
    apart = distances(x, y)
    inside = apart < radius_y
    recalled = (apart < radius_x[:, None]).any(0)
    return inside.any(1).mean(), recalled.mean(), inside.sum(1).mean() / k, inside.any(0).mean()


def test_manifolds_without_each_group(monkeypatch):
    """Also in small blocks of rows."""
    monkeypatch.setattr("genjax_models.metrics.checks._MOST_PAIRS", 450)
    assert manifold(X, Y, 3) == pytest.approx(plain(X, Y, 3))
    left = [plain(np.delete(X, slice(g, None, 8), 0), np.delete(Y, slice(g, None, 8), 0), 3)
            for g in range(8)]  # fmt: skip
    found = manifold_estimates(X, Y, 3, groups=8)
    assert [e.standard_error for e in found.values()] == pytest.approx(
        np.std(left, axis=0) * np.sqrt(7)
    )


def test_errors_of_manifolds_are_no_smaller_than_their_spread():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(40):
        x, y = rng.normal(size=(200, 4)), 1.2 * rng.normal(size=(250, 4)) + 0.2
        found.append(list(manifold_estimates(x, y, groups=10).values()))
    values, errors = np.moveaxis(np.array(found), -1, 0)
    ratio = np.sqrt(np.mean(errors**2, axis=0)) / np.std(values, axis=0)
    assert np.all(ratio > 0.9) and np.all(ratio < 3)


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


def test_intervals():
    assert interval_of(Estimate(1.0, 0.1), 20) == pytest.approx((1 - 0.2093, 1 + 0.2093), abs=1e-4)
    assert interval_of(Estimate(0.1, 0.1), 20, at_least=0.0)[0] == 0.0
    assert interval_of(Estimate(0.1, float("nan"))) is None
    sure = interval_of_share(Estimate(1.0, 0.0), 100)
    assert sure == pytest.approx((1 / (1 + 1.96**2 / 100), 1.0))
    binomial = interval_of_share(Estimate(0.3, np.sqrt(0.3 * 0.7 / 1000)), 10_000)
    assert binomial == pytest.approx((0.2724, 0.3291), abs=1e-3)  # Wilson's, of 1,000 trials
    assert interval_of_share(Estimate(0.3, 1e-9), 1000) == pytest.approx(binomial, abs=1e-6)
    figure = Figure(0.5, (0.25, 0.75), 1000, 2000, "an eye")
    assert str(figure) == "0.5 (0.25 to 0.75, 1,000 samples against 2,000 real ones, an eye)"


def test_bad_input():
    with pytest.raises(ValueError, match="60 samples, and the kernel distance.*at least 1000"):
        kernel_distance(X, Y)
    with pytest.raises(ValueError, match="1 samples, and the maximum mean .* at least 2"):
        mmd(X[:1], Y)
    with pytest.raises(ValueError, match="at least 20: give more"):
        mmd_estimate(X[:19], Y)
    with pytest.raises(ValueError, match="3 samples, .*balls of 3 neighbours needs at least 4"):
        manifold(X, Y[:3], 3)
    with pytest.raises(ValueError, match="6 samples, .*needs at least 7"):
        manifold_estimates(X[:6], Y)
    with pytest.raises(ValueError, match="43 samples, and the Inception Score of 50 splits"):
        inception_score(LOGITS, splits=50)
    for metric in (mmd, manifold, median_bandwidth):
        with pytest.raises(ValueError, match="5 and 4 features"):
            metric(X, Y[:, :4])
        with pytest.raises(ValueError, match="1 of 60 samples.*NaN.*row 3"):
            metric(np.where(np.arange(60)[:, None] == 3, np.nan, X), Y)
    with pytest.raises(ValueError, match="of 1 class"):
        inception_score(LOGITS[:, :1])
    with pytest.raises(ValueError, match="bandwidth is 0"):
        gaussian(0)
    with pytest.raises(ValueError, match="Fréchet distance needs at least"):
        compare_samples(Plain(), X[:5], Y)
