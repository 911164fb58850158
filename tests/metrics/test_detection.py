"""Areas under curves against what they mean, and their intervals against their spread."""

import math

import numpy as np
import pytest

from genjax_models.metrics import aupr, auroc


def test_counts_pairs_and_halves_ties():
    assert auroc([0.0, 1.0], [2.0, 3.0]).value == 1.0
    assert auroc([2.0, 3.0], [0.0, 1.0]).value == 0.0
    assert auroc([1.0, 2.0], [1.0, 3.0]).value == (0.5 + 0 + 1 + 1) / 4
    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 9, 40), draw.integers(3, 12, 30)
    pairs = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    assert auroc(a, b).value == pytest.approx(pairs.mean())


def test_of_two_gaussians():
    draw = np.random.default_rng(0)
    found = auroc(draw.normal(size=20_000), draw.normal(1.0, 1.0, size=20_000))
    assert found.value == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=0.008)  # Phi(1 / sqrt(2))


@pytest.mark.parametrize("wrong", [[], [1.0, float("nan")]])
def test_refuses_what_cannot_be_ranked(wrong):
    with pytest.raises(ValueError, match="high (holds NaN|is empty)"):
        auroc([1.0], wrong)


def test_average_precision_by_hand():
    # From the top: a positive, a negative, a positive, at precisions 1, 1/2 and 2/3.
    assert aupr([2.0, 0.0], [3.0, 1.0]).value == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert aupr([0.0, 0.0], [0.0]).value == pytest.approx(1 / 3)  # the positives' share
    assert aupr([0.0], [1.0, 2.0], resamples=None)[:5] == (1.0, None, 2, "", 1)


def test_delongs_error_is_that_of_all_pairs():
    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 9, 30).astype(float), draw.integers(3, 12, 20).astype(float)
    wins = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    error = math.sqrt(wins.mean(0).var(ddof=1) / 20 + wins.mean(1).var(ddof=1) / 30)
    found = auroc(a, b, extractor="score")
    low, high = (math.log(p / (1 - p)) for p in found.interval)
    value = wins.mean()
    assert found.value == pytest.approx(value)
    assert (high - low) / 2 == pytest.approx(1.96 * error / (value * (1 - value)))
    assert (found.num, found.num_reference, found.extractor) == (20, 30, "score")


def test_intervals_hold_the_truth_about_95_times_in_100():
    draw, truth, held = np.random.default_rng(1), 0.5 * (1 + math.erf(0.75)), 0
    for _ in range(400):
        low, high = auroc(draw.normal(size=60), draw.normal(1.5, 1, 40)).interval
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.98


def test_the_bootstrap_lies_about_the_value():
    draw = np.random.default_rng(0)
    found = aupr(draw.normal(size=300), draw.normal(1.0, 1, 300))
    low, high = found.interval
    assert low < found.value < high and 0.02 < high - low < 0.15


def test_one_number_has_no_interval():
    for pair in (([0.0], [-1.0, 2.0]), ([-1.0, 2.0], [0.0])):
        found = auroc(*pair)
        assert found.value == 0.5 and found.interval is None and math.isnan(found.standard_error)


@pytest.mark.parametrize("metric", [auroc, aupr])
@pytest.mark.parametrize("high", [[3.0, 4.0], [3.0, math.inf]])
def test_sets_that_do_not_overlap_have_no_interval(metric, high):
    """An infinite score, of what a model holds for impossible, is above all others."""
    found = metric([1.0, 2.0], high)
    assert found.value == 1.0 and found.interval is None
