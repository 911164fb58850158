"""The area under the ROC curve against what it means."""

import math

import numpy as np
import pytest

from genjax_models.metrics.auroc import auroc


def test_counts_pairs_and_halves_ties():
    assert auroc([0.0, 1.0], [2.0, 3.0]) == 1.0
    assert auroc([2.0, 3.0], [0.0, 1.0]) == 0.0
    assert auroc([1.0, 2.0], [1.0, 3.0]) == (0.5 + 0 + 1 + 1) / 4
    draw = np.random.default_rng(0)
    a, b = draw.integers(0, 9, 40), draw.integers(3, 12, 30)
    pairs = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    assert auroc(a, b) == pytest.approx(pairs.mean())


def test_of_two_gaussians():
    draw = np.random.default_rng(0)
    found = auroc(draw.normal(size=20_000), draw.normal(1.0, 1.0, size=20_000))
    assert found == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=0.008)  # Phi(1 / sqrt(2))


@pytest.mark.parametrize("wrong", [[], [1.0, float("nan")]])
def test_refuses_what_cannot_be_ranked(wrong):
    with pytest.raises(ValueError, match="high (holds NaN|is empty)"):
        auroc([1.0], wrong)
