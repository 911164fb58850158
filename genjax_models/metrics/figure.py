"""`Figure`: a measured number with its confidence interval, and the intervals' formulas."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

_NORMAL_95 = 1.96
"""97.5 % quantile of the standard normal distribution."""


class Figure(NamedTuple):
    """A measured number, its confidence interval, and the data it was measured on.

    Attributes:
        value: The number.
        interval: 95 % confidence interval, for samples and reference drawn anew in the same
            numbers; None where no sound interval is known.
        num: Number of samples.
        extractor: Name of the source of the features or scores. Figures of different extractors
            cannot be compared.
        num_reference: Number of reference examples; 0 for a metric without a reference.
        standard_error: Standard error of the value; NaN where it is not known.
    """

    value: float
    interval: tuple[float, float] | None
    num: int
    extractor: str = ""
    num_reference: int = 0
    standard_error: float = math.nan

    def __str__(self) -> str:
        """The number, its interval, the numbers of samples and the extractor, in one line."""
        ends = "" if self.interval is None else "{:.4g} to {:.4g}, ".format(*self.interval)
        against = f" against {self.num_reference:,} real ones" if self.num_reference else ""
        extractor = f", {self.extractor}" if self.extractor else ""
        return f"{self.value:.4g} ({ends}{self.num:,} samples{against}{extractor})"


def mean_figure(values: Any, extractor: str = "") -> Figure:
    """Mean of independent numbers, with its standard error and the normal interval.

    Args:
        values: `[N]`, at least 2 for a standard error.
        extractor: Name of the source of the numbers.

    Returns:
        The figure. For one number, the standard error is NaN and there is no interval.
    """
    values = np.asarray(values, np.float64)
    value, num = float(values.mean()), len(values)
    if num < 2:
        return Figure(value, None, num, extractor)
    error = float(values.std(ddof=1) / np.sqrt(num))
    interval = (value - _NORMAL_95 * error, value + _NORMAL_95 * error)
    return Figure(value, interval, num, extractor, standard_error=error)


def student_interval(
    value: float, standard_error: float, groups: int = 20, *, at_least: float = -math.inf
) -> tuple[float, float] | None:
    """95 % interval of a value from a standard error estimated by groups of samples.

    Args:
        value: The value.
        standard_error: Its standard error.
        groups: Number of groups; Student's t has one degree of freedom fewer.
        at_least: Lower bound of the value.

    Returns:
        The ends; None where the standard error is not finite.
    """
    from scipy.special import stdtrit

    if not math.isfinite(standard_error):
        return None
    reach = float(stdtrit(groups - 1, 0.975)) * standard_error
    return max(at_least, value - reach), value + reach


def wilson_interval(share: float, standard_error: float, num: int) -> tuple[float, float]:
    """95 % interval of a share, within 0 .. 1; a share of 1 is not certain.

    The interval is Wilson's for as many independent trials as would have this standard error, but
    for no more than there are.

    Args:
        share: The share, 0 .. 1.
        standard_error: Its standard error.
        num: Number of examples that it is a share of.

    References:
        Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    p, error, z = share, standard_error, _NORMAL_95
    trials = min(num, p * (1.0 - p) / error**2) if error > 0.0 and 0.0 < p < 1.0 else num
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials) * math.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def logit_interval(share: float, standard_error: float) -> tuple[float, float] | None:
    """95 % interval of a share, symmetric on the scale of its logit.

    Args:
        share: The share, above 0 and below 1 wherever the standard error is not 0.
        standard_error: Its standard error.

    Returns:
        The ends, within 0 .. 1; None where the standard error is 0 and so says nothing.
    """
    if standard_error == 0.0:
        return None
    centre = math.log(share / (1 - share))
    width = _NORMAL_95 * standard_error / (share * (1 - share))
    low, high = centre - width, centre + width
    return 0.5 + 0.5 * math.tanh(low / 2), 0.5 + 0.5 * math.tanh(high / 2)
