"""Precision, recall, density and coverage against `prdc`'s numbers and their definitions."""

import numpy as np
import pytest

from genjax_models.metrics import prdc

X = np.random.RandomState(0).normal(size=(60, 5))
Y = 1.2 * np.random.RandomState(1).normal(size=(50, 5))


def values(*arguments):
    return tuple(figure.value for figure in prdc(*arguments, groups=None))


def test_they_are_prdc_s():
    """Of prdc 0.2, on the arrays above."""
    assert values(X, Y, 3) == pytest.approx((0.95, 0.82, 1.161111111111111, 0.92), rel=1e-9)


def test_balls_of_known_sets():
    line = np.arange(10.0)[:, None]
    same = values(line + 0.25, line, 1)  # balls of radius 1, the samples a bit to a side
    assert same == (1.0, 1.0, pytest.approx(1.9), 1.0)
    precision, recall, _, coverage = values(np.repeat(line[:1] + 0.01 * line, 5, 0), line, 1)
    assert precision == 1.0 and recall <= 0.2 and coverage == 0.2
    assert values(line + 100, line) == (0, 0, 0, 0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1500, 6))
    found = values(x, y)
    assert found[2] == pytest.approx(1.0, abs=0.05)
    assert found[3] == pytest.approx(1 - 2**-5, abs=0.02)
    moved = values(x + 1e4, y + 1e4)  # a mean far from zero loses nothing
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


def test_balls_without_each_group(monkeypatch):
    """Also in small blocks of rows."""
    monkeypatch.setattr("genjax_models.metrics.features._MOST_PAIRS", 450)
    assert values(X, Y, 3) == pytest.approx(plain(X, Y, 3))
    left = [plain(np.delete(X, slice(g, None, 8), 0), np.delete(Y, slice(g, None, 8), 0), 3)
            for g in range(8)]  # fmt: skip
    found = prdc(X, Y, 3, groups=8)
    assert [figure.standard_error for figure in found] == pytest.approx(
        np.std(left, axis=0) * np.sqrt(7)
    )


def test_errors_of_balls_are_no_smaller_than_their_spread():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(40):
        x, y = rng.normal(size=(200, 4)), 1.2 * rng.normal(size=(250, 4)) + 0.2
        found.append([(f.value, f.standard_error) for f in prdc(x, y, groups=10)])
    drawn, errors = np.moveaxis(np.array(found), -1, 0)
    ratio = np.sqrt(np.mean(errors**2, axis=0)) / np.std(drawn, axis=0)
    assert np.all(ratio > 0.9) and np.all(ratio < 3)


def test_bad_input():
    with pytest.raises(ValueError, match="3 samples, .*balls of 3 neighbours needs at least 4"):
        prdc(X, Y[:3], 3, groups=None)
    with pytest.raises(ValueError, match="6 samples, .*needs at least 7"):
        prdc(X[:6], Y)
    with pytest.raises(ValueError, match="5 and 4 features"):
        prdc(X, Y[:, :4])
    with pytest.raises(ValueError, match="1 of 60 samples.*NaN.*row 3"):
        prdc(np.where(np.arange(60)[:, None] == 3, np.nan, X), Y)
