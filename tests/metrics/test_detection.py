"""Areas under curves against what they mean, and their intervals against how areas scatter."""

import math

import numpy as np
import pytest

from genjax_models.metrics.detection import aupr, aupr_figure, auroc_figure


def test_average_precision_by_hand():
    # From the top: a positive, a negative, a positive, at precisions 1, 1/2 and 2/3.
    assert aupr([2.0, 0.0], [3.0, 1.0]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert aupr([0.0, 0.0], [0.0]) == pytest.approx(1 / 3)  # the positives' share
    assert aupr([0.0], [1.0, 2.0]) == 1.0


def test_delongs_error_is_that_of_all_pairs():
    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 9, 30).astype(float), draw.integers(3, 12, 20).astype(float)
    wins = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    error = math.sqrt(wins.mean(0).var(ddof=1) / 20 + wins.mean(1).var(ddof=1) / 30)
    found = auroc_figure(a, b, "score")
    low, high = (math.log(p / (1 - p)) for p in found.interval)
    value = wins.mean()
    assert found.value == pytest.approx(value)
    assert (high - low) / 2 == pytest.approx(1.96 * error / (value * (1 - value)))
    assert (found.num, found.num_reference, found.extractor) == (20, 30, "score")


def test_intervals_hold_the_truth_about_95_times_in_100():
    draw, truth, held = np.random.default_rng(1), 0.5 * (1 + math.erf(0.75)), 0
    for _ in range(400):
        low, high = auroc_figure(draw.normal(size=60), draw.normal(1.5, 1, 40), "").interval
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.98


def test_the_bootstrap_lies_about_the_value():
    draw = np.random.default_rng(0)
    found = aupr_figure(draw.normal(size=300), draw.normal(1.0, 1, 300), "score")
    low, high = found.interval
    assert low < found.value < high and 0.02 < high - low < 0.15


def test_one_number_has_no_interval():
    with pytest.raises(ValueError, match="at least 2"):
        auroc_figure([0.0], [1.0, 2.0], "score")


@pytest.mark.parametrize("figure", [auroc_figure, aupr_figure])
@pytest.mark.parametrize("high", [[3.0, 4.0], [3.0, math.inf]])
def test_sets_that_do_not_overlap_have_no_interval(figure, high):
    """An infinite score, of what a model holds for impossible, is above all others."""
    found = figure([1.0, 2.0], high, "score")
    assert found.value == 1.0 and found.interval is None
