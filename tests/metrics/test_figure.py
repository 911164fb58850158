"""Intervals against their formulas, and all that stands in a figure."""

import numpy as np
import pytest

from genjax_models.metrics import Figure, mean_figure
from genjax_models.metrics.figure import student_interval, wilson_interval


def test_intervals():
    assert student_interval(1.0, 0.1, 20) == pytest.approx((1 - 0.2093, 1 + 0.2093), abs=1e-4)
    assert student_interval(0.1, 0.1, 20, at_least=0.0)[0] == 0.0
    assert student_interval(0.1, float("nan")) is None
    sure = wilson_interval(1.0, 0.0, 100)
    assert sure == pytest.approx((1 / (1 + 1.96**2 / 100), 1.0))
    binomial = wilson_interval(0.3, np.sqrt(0.3 * 0.7 / 1000), 10_000)
    assert binomial == pytest.approx((0.2724, 0.3291), abs=1e-3)  # Wilson's, of 1,000 trials
    assert wilson_interval(0.3, 1e-9, 1000) == pytest.approx(binomial, abs=1e-6)
    figure = Figure(0.5, (0.25, 0.75), 1000, "an eye", 2000)
    assert str(figure) == "0.5 (0.25 to 0.75, 1,000 samples against 2,000 real ones, an eye)"
    assert str(Figure(0.5, None, 3)) == "0.5 (3 samples)"


def test_the_mean_of_independent_numbers():
    found = mean_figure([1.0, 2.0, 3.0, 4.0], "numbers")
    error = np.sqrt(5 / 3 / 4)
    assert found.value == 2.5 and found.standard_error == pytest.approx(error)
    assert found.interval == pytest.approx((2.5 - 1.96 * error, 2.5 + 1.96 * error))
    assert (found.num, found.extractor) == (4, "numbers")
    one = mean_figure([1.0])
    assert one.value == 1.0 and one.interval is None and np.isnan(one.standard_error)
