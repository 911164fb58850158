"""A number about samples, with all that one needs in order to compare it with another."""

from __future__ import annotations

import math
from typing import NamedTuple

from genjax_models.metrics.divergence import Estimate


class Figure(NamedTuple):
    """A number, how sure it is, and of what.

    Attributes:
        value: The number.
        interval: Where it lies with 95 % confidence, were samples and reference drawn anew, as
            many of them; None where no sound interval is known.
        num: Number of samples that it is of.
        num_reference: Number of examples that they were compared with; 0 where with none.
        extractor: What read the features: numbers of different extractors cannot be compared.
    """

    value: float
    interval: tuple[float, float] | None
    num: int
    num_reference: int
    extractor: str

    def __str__(self) -> str:
        """The number, its interval, the numbers of samples and the extractor, in one line."""
        within = "" if self.interval is None else "{:.4g} to {:.4g}, ".format(*self.interval)
        against = f" against {self.num_reference:,} real ones" if self.num_reference else ""
        return f"{self.value:.4g} ({within}{self.num:,} samples{against}, {self.extractor})"


def interval_of(
    estimate: Estimate,
    groups: int = 20,
    *,
    at_least: float = -math.inf,
) -> tuple[float, float] | None:
    """The interval of 95 % confidence about an estimate, by Student's t.

    Args:
        estimate: A figure with its standard error, from `groups` groups of samples.
        groups: How many.
        at_least: What the figure cannot be below.

    Returns:
        Its ends; None where the error is not known.
    """
    from scipy.special import stdtrit

    if not math.isfinite(estimate.standard_error):
        return None
    reach = float(stdtrit(groups - 1, 0.975)) * estimate.standard_error
    return max(at_least, estimate.value - reach), estimate.value + reach


def interval_of_share(estimate: Estimate, num: int) -> tuple[float, float]:
    """The interval of 95 % confidence about a share, which stays between 0 and 1.

    It is Wilson's, of as many independent trials as would have this standard error, but no more
    than there are: a share of 1 is not certain.

    Args:
        estimate: The share with its standard error.
        num: Of how many it is the share.

    References:
        Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    p, error, z = estimate.value, estimate.standard_error, 1.96
    trials = min(num, p * (1.0 - p) / error**2) if error > 0.0 and 0.0 < p < 1.0 else num
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials) * math.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)
