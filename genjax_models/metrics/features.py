"""Extractors of features of examples, and the checks shared by metrics of features."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from genjax_models.core.files import replaced

_MOST_PAIRS = 2**23
"""Pairs of samples that are compared at a time: 64 MiB of distances."""
_LEAST_SHARE = 1 / 8
"""Share of the range that real-valued images must span."""


class Extractor(Protocol):
    """Computes features of examples, as `TrainedClassifier` and `Inception` do."""

    @property
    def name(self) -> str:
        """Name shown with every figure made with it."""
        ...

    def features(self, x: Any) -> np.ndarray:
        """Features `[N, D]` of examples `[N, ...]`."""
        ...


@runtime_checkable
class ClassifyingExtractor(Extractor, Protocol):
    """An extractor that also classifies, as `TrainedClassifier` and `Inception` do."""

    def read(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features `[N, D]` and logits `[N, K]` of examples `[N, ...]`, in one pass."""
        ...


@dataclasses.dataclass(frozen=True)
class CachedExtractor:
    """An extractor that caches features in a folder, by the examples' content.

    A reference compared with many sets of samples is read once.

    Attributes:
        extractor: The extractor.
        fingerprint: Fingerprint of its weights, different for each extractor.
        folder: Folder of the cache, one file per set; unused if it cannot be written to.
    """

    extractor: ClassifyingExtractor
    fingerprint: str
    folder: Path

    @property
    def name(self) -> str:
        """The extractor's own name."""
        return self.extractor.name

    def features(self, x: Any) -> np.ndarray:
        """Features `[N, D]` of examples `[N, ...]`, from the folder if they were made before."""
        x = np.ascontiguousarray(x)
        digest = hashlib.sha256(f"{self.fingerprint} {x.shape} {x.dtype}".encode())
        digest.update(x.data)
        file = self.folder / f"{digest.hexdigest()}.npy"
        with contextlib.suppress(OSError, ValueError):  # not there, or cut short
            return np.load(file, allow_pickle=False)
        features = self.extractor.features(x)
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            with replaced(file) as fresh:
                np.save(fresh, features)
        return features

    def read(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Features `[N, D]` and logits `[N, K]` of samples, which are not kept."""
        return self.extractor.read(x)


def check_range(x: np.ndarray, num_levels: int | None, whose: str, mend: str) -> None:
    """Checks that images are in the extractor's range.

    A wrong range would go unnoticed in the figures. Integers and floats in
    0 .. num_levels - 1 are accepted. Refused are images in 0 .. 1 or -1 .. 1, floats that span less
    than an eighth of the range, and images of one value everywhere. (Integers in a small part of
    the range are accepted: a model may draw such.)

    Args:
        x: Images `[N, ...]`, at least one.
        num_levels: The range is 0 .. num_levels - 1; None for floats of any range.
        whose: Owner of the range, for the message: "digits".
        mend: Remedy, to end the message.

    Raises:
        ValueError: The images are outside the range, span a small part of it, or are not finite
            numbers.
    """
    if x.dtype.kind not in "biuf":
        raise ValueError(f"the images are of {x.dtype}, and {whose} of numbers: {mend}")
    low, high = float(x.min()), float(x.max())
    if num_levels is None and not np.isfinite((low, high)).all():
        raise ValueError(f"the images of {whose} hold values that are not finite: {mend}")
    if low == high:
        raise ValueError(
            f"the images are {low:g} everywhere ({x.dtype} {x.shape}): nothing can be told from "
            f"images of one value; look at them"
        )
    if num_levels is None:
        return
    top = num_levels - 1
    inside = low >= 0 and high <= top  # NaN is not
    narrow = high <= 1 or (x.dtype.kind == "f" and high - low < _LEAST_SHARE * top)
    if not inside or (num_levels > 2 and narrow):
        raise ValueError(
            f"the images lie in {low:g} .. {high:g}, and {whose} in 0 .. {top}: {mend}"
        )


def checked(features: Any) -> np.ndarray:
    """Features as float64 `[N, D]`.

    Raises:
        ValueError: Not a matrix with a row a sample, no sample, or entries that are NaN, infinite
            or so large that their squares are.
    """
    return checked_floats(features).astype(np.float64, copy=False)


def checked_floats(features: Any) -> np.ndarray:
    """Features as `checked` gives them, except that float32 stays: it is half as long to read."""
    x = np.asarray(features)
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"features have shape {x.shape}: give [N, D], a row a sample")
    if x.dtype != np.float32:
        x = x.astype(np.float64, copy=False)
    # One pass, and no array of booleans: it finds what is not finite, and what is too large.
    if np.isfinite(np.einsum("nd,nd->", x, x, dtype=np.float64)):
        return x
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(x)} samples have features that are NaN or infinite, the "
            f"first is row {int(np.argmax(bad))}: look at the samples, or leave those rows out"
        )
    raise ValueError(
        f"features are as large as {np.abs(x).max():.3g}, and their squares are beyond floating "
        "point: look at the samples, or give the features in a larger unit"
    )


def checked_pair(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features of one extractor as float64 `[N, D]`, `[M, D]`.

    Raises:
        ValueError: As `checked`, or the sets have different numbers of features.
    """
    x, y = checked(x), checked(y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"the sets have {x.shape[1]} and {y.shape[1]} features: take both from one extractor"
        )
    return x, y


def at_least(num: int, needed: int, metric: str) -> None:
    """Refuses too few samples.

    Raises:
        ValueError: There are fewer than `needed`; the message names the metric.
    """
    if num < needed:
        raise ValueError(
            f"there are {num} samples, and the {metric} needs at least {needed}: give more samples"
        )


def check_groups(groups: int | None) -> None:
    """Refuses a jackknife over fewer than 2 groups; None, for no jackknife, is accepted.

    Raises:
        ValueError: There are fewer than 2 groups.
    """
    if groups is not None and groups < 2:
        raise ValueError(
            f"groups is {groups}: give at least 2 groups of samples, or None for no interval"
        )


def square_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of `|x_i - y_j|^2` `[N, M]`, as many at a time as memory takes.

    Computed by a product of matrices, which loses about 1e-16 of the features' squares: subtract a
    mean first that is large beside the spread.

    Args:
        x: `[N, D]`.
        y: `[M, D]`.

    Yields:
        Slices of rows, and their distances `[n, M]`, which the caller may change.
    """
    squares = np.einsum("md,md->m", y, y)
    for rows in blocks(len(x), len(y)):
        part = x[rows]
        distances = part @ y.T
        distances *= -2.0
        distances += squares
        distances += np.einsum("nd,nd->n", part, part)[:, None]
        yield rows, np.maximum(distances, 0.0, out=distances)


def blocks(num: int, width: int) -> Iterator[slice]:
    """Slices of `num` rows of `width` numbers each, as many rows at a time as memory takes."""
    size = max(1, _MOST_PAIRS // width)
    for start in range(0, num, size):
        yield slice(start, min(start + size, num))
