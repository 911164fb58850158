"""Mode coverage of samples, for the modes of a mixture or the classes of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Mixture(Protocol):
    """Mixture of Gaussians of one scale (`data.densities.ring` and `grid` make some)."""

    @property
    def modes(self) -> Sequence[Sequence[float]]:
        """Means of the Gaussians."""
        ...

    @property
    def scale(self) -> float:
        """Common standard deviation in every direction."""
        ...


class Coverage(NamedTuple):
    """Spread of samples over modes.

    Attributes:
        shares: Share of the samples in each mode `[K]`.
        covered: Number of modes that have a sample.
        largest_difference: max_k |share_k - weight_k| / weight_k.
        kl: KL(shares || weights) in nats; infinite where no sample is in a mode.
    """

    shares: np.ndarray
    covered: int
    largest_difference: float
    kl: float


class Modes(NamedTuple):
    """Spread of samples over the modes of a mixture.

    Attributes:
        within: Share of the samples that lie near a mode.
        expected_within: The same share for the mixture itself: P(chi_D <= radius), 0.9889 for 3
            standard deviations in the plane.
        shares: Share of each mode among the samples near a mode `[K]`; zeros if there are none.
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
        mixture: The mixture, with well-separated modes.
        radius: Distance that counts as near, in standard deviations.
        weights: Weights of the modes `[K]`, which sum to 1; equal ones if None.

    Raises:
        ValueError: There are no points, points of another dimension or NaN, or weights do not fit.
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
    """Compares the modes that a classifier finds in samples with those of the data.

    Even exact samples miss some: of K equally likely modes, N samples miss about K exp(-N / K), and
    their KL is about (K - 1) / (2 N): 0.019 nats for 26,000 samples of 1,000 modes.

    Args:
        predictions: Predicted mode of each sample, integers 0 .. num_modes - 1 `[N]`.
        num_modes: Number of modes K.
        weights: Weights of the modes `[K]`, which sum to 1; equal ones if None.

    Raises:
        ValueError: There are no predictions, some are not modes, or weights do not fit.

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
    """Classifies images channel by channel, such as those of stacked MNIST.

    The classes of the channels are the digits of the mode's number, the first one the highest:
    digits 3, 0 and 7 make mode 307.

    Args:
        predict: Classifies images `[N, H, W, 1]`, 0 .. num_classes - 1 `[N]`, such as
            `metrics.load_classifier("mnist").predict`.
        images: Images `[N, H, W, C]`.
        num_classes: Number of classes of a channel.

    Returns:
        Modes, 0 .. num_classes^C - 1 `[N]`.

    Raises:
        ValueError: The array has no channels, or there is no image.
    """
    images = np.asarray(images)
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images have shape {images.shape}: give [N, H, W, C], and at least one")
    modes = np.zeros(len(images), np.int64)
    for channel in range(images.shape[-1]):
        modes = num_classes * modes + predict(images[..., channel : channel + 1])
    return modes


def _compared(counts: np.ndarray, weights: np.ndarray) -> Coverage:
    """Compares counts of the modes with their weights."""
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
    """Nearest centre of each point, and its distance `[N]`."""
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
