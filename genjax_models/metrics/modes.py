"""Which modes samples hit, and how often: of a known mixture, or classes that are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Mixture(Protocol):
    """Gaussians of one scale (`data.densities.ring` and `grid` make some)."""

    @property
    def modes(self) -> Sequence[Sequence[float]]:
        """Their means."""
        ...

    @property
    def scale(self) -> float:
        """Their common standard deviation in every direction."""
        ...


class Coverage(NamedTuple):
    """How samples are spread over modes.

    Attributes:
        shares: The fraction of the samples in each mode `[K]`.
        covered: Number of modes that have a sample.
        largest_difference: max_k |share_k - weight_k| / weight_k.
        kl: KL(shares || weights) in nats; infinite where no sample is in a mode.
    """

    shares: np.ndarray
    covered: int
    largest_difference: float
    kl: float


class Modes(NamedTuple):
    """How samples lie about the modes of a mixture.

    Attributes:
        within: The fraction of samples that lie near a mode.
        expected_within: The same of the mixture itself: P(chi_D <= radius), 0.9889 for 3 standard
            deviations in the plane.
        shares: Of the samples near a mode, the fraction at each `[K]`; zeros if there are none.
        covered: Number of modes that have a sample near them.
        largest_difference: max_k |share_k - weight_k| / weight_k.
        kl: KL(shares || weights) in nats; infinite where no sample is near a mode.
    """

    within: float
    expected_within: float
    shares: np.ndarray
    covered: int
    largest_difference: float
    kl: float


def mode_shares(
    samples: Any, mixture: Mixture, radius: float = 3.0, weights: Any | None = None
) -> Modes:
    """Compares samples with the modes of the mixture that they should follow.

    A sample belongs to the nearest mode, if that is within `radius` standard deviations. Even exact
    samples scatter: with N of them and K equal weights, a share's relative error is about
    sqrt((K - 1) / N), 2.6 % for 10,000 samples of 8 modes.

    Args:
        samples: Points `[N, D]`.
        mixture: Its modes, well apart, and their scale.
        radius: What counts as near, in standard deviations.
        weights: The modes' weights `[K]`, which sum to 1; equal ones where None.

    Returns:
        See `Modes`.

    Raises:
        ValueError: Points of another dimension, none or NaN, or weights that do not fit.
    """
    x, centres = np.asarray(samples, np.float64), np.asarray(mixture.modes, np.float64)
    num, dims = centres.shape
    if x.ndim != 2 or x.shape[1] != dims or len(x) == 0:
        raise ValueError(f"samples have shape {x.shape}, and the modes are points [{dims}]")
    if not np.isfinite(x).all():
        raise ValueError("samples are NaN or infinite: they are near no mode; leave them out")
    weights = _weights(weights, num)
    which, distance = _nearest(x, centres)
    near = distance <= radius * mixture.scale
    coverage = _compared(np.bincount(which[near], minlength=num), weights)
    return Modes(float(near.mean()), _mass_within(radius, dims), *coverage)


def classified_modes(predictions: Any, num_modes: int, weights: Any | None = None) -> Coverage:
    """Compares the classes that a classifier reads samples as with those of the data.

    Even exact samples miss some: of K equally likely modes, N samples miss about K exp(-N / K), and
    their KL is about (K - 1) / (2 N): 0.019 nats for 26,000 samples of 1,000 modes.

    Args:
        predictions: The mode that each sample is read as, integers 0 .. num_modes - 1 `[N]`.
        num_modes: Number of modes K.
        weights: The modes' weights `[K]`, which sum to 1; equal ones where None.

    Returns:
        See `Coverage`.

    Raises:
        ValueError: No predictions or such as are no modes, or weights that do not fit.

    References:
        Metz et al. 2017, Unrolled Generative Adversarial Networks, arXiv:1611.02163, sec. 3.3.1.
    """
    predictions = np.asarray(predictions)
    if predictions.ndim != 1 or predictions.dtype.kind not in "iu" or len(predictions) == 0:
        raise ValueError(
            f"predictions are {predictions.dtype} of shape {predictions.shape}: give one integer a "
            "sample, [N], and at least one"
        )
    low, high = int(predictions.min()), int(predictions.max())
    if low < 0 or high >= num_modes:
        raise ValueError(
            f"predictions hold {low if low < 0 else high}, and the modes are 0 .. {num_modes - 1}"
        )
    return _compared(np.bincount(predictions, minlength=num_modes), _weights(weights, num_modes))


def classify_channels(
    predict: Callable[[np.ndarray], np.ndarray], images: Any, num_classes: int = 10
) -> np.ndarray:
    """The modes of images whose every channel is an image of its own, such as stacked MNIST's.

    The channels' classes are the digits of the mode's number, the first one the highest: digits 3,
    0 and 7 make mode 307.

    Args:
        predict: Images `[N, H, W, 1]` to their classes, 0 .. num_classes - 1 `[N]`:
            `metrics.load_classifier("mnist").predict`.
        images: Images `[N, H, W, C]`.
        num_classes: Number of classes of a channel.

    Returns:
        Modes, 0 .. num_classes^C - 1 `[N]`.

    Raises:
        ValueError: No images with channels.
    """
    images = np.asarray(images)
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images have shape {images.shape}: give [N, H, W, C], and at least one")
    modes = np.zeros(len(images), np.int64)
    for channel in range(images.shape[-1]):
        modes = num_classes * modes + predict(images[..., channel : channel + 1])
    return modes


def _compared(counts: np.ndarray, weights: np.ndarray) -> Coverage:
    """Counts of the modes beside what they should be."""
    shares = counts / max(counts.sum(), 1)
    hit = counts > 0
    ratios = np.log(shares[hit] / weights[hit])
    return Coverage(
        shares=shares,
        covered=int(hit.sum()),
        largest_difference=float(np.max(np.abs(shares - weights) / weights)),
        kl=float(shares[hit] @ ratios) if hit.any() else float("inf"),
    )


def _nearest(x: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each point, and how far it is `[N]`."""
    from scipy.spatial import KDTree

    distance, which = KDTree(centres).query(x)
    return np.asarray(which), np.asarray(distance)


def _mass_within(radius: float, dims: int) -> float:
    """P(|z| <= radius) of a standard normal z `[D]`."""
    from scipy.special import gammainc

    return float(gammainc(dims / 2, radius**2 / 2))


def _weights(weights: Any | None, num: int) -> np.ndarray:
    if weights is None:
        return np.full(num, 1.0 / num)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (num,) or not (weights > 0).all() or abs(weights.sum() - 1.0) > 1e-6:
        raise ValueError(
            f"weights have shape {weights.shape} and sum to {weights.sum():.6g}, and there are "
            f"{num} modes: give {num} weights above 0 that sum to 1"
        )
    return weights
