"""Sprites drawn from five independent factors, so that disentanglement can be measured.

Every combination of the factors is drawn once. Orientations fill a quarter turn only, in which no
two of any shape look alike, so that all factors can be read off the image.

References:
    L. Matthey et al. dSprites: Disentanglement testing Sprites dataset, 2017 (the idea; these
    images are drawn here, anti-aliased).
"""

from __future__ import annotations

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data.dataset import Dataset

SIDE = 32
"""Height and width of an image in pixels."""

SHAPES = ("square", "ellipse", "triangle")
FACTORS = ("shape", "scale", "orientation", "x", "y")
FACTOR_SIZES = (len(SHAPES), 4, 12, 12, 12)
"""Number of values of each factor, in the order of `FACTORS`."""

_RADII = np.array([4.5, 6.0, 7.5, 9.0])
"""Pixels from a sprite's middle to its farthest point; no sprite touches the border."""

_SPLIT_SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


def render(factors: np.ndarray) -> np.ndarray:
    """The images of those factors; a pure function of them.

    A pixel's brightness is how much of it the sprite covers, to first order: half a pixel inside
    the edge it is full, half a pixel outside it is none.

    Args:
        factors: Integers `[N, 5]` in the order of `FACTORS`, each 0 .. size - 1. A step of `x`
            moves the sprite one pixel to the right, one of `y` one pixel down.

    Returns:
        Images uint8 `[N, 32, 32, 1]`.

    Raises:
        ValueError: Factors of the wrong shape or beyond their sizes.
    """
    factors = np.asarray(factors)
    if factors.ndim != 2 or factors.shape[1] != 5 or not np.issubdtype(factors.dtype, np.integer):
        raise ValueError(
            f"factors are {factors.dtype} of shape {factors.shape}; give integers [N, 5]:"
            f" {', '.join(FACTORS)}"
        )
    if (factors < 0).any() or (factors >= FACTOR_SIZES).any():
        raise ValueError(f"factors go beyond their sizes {FACTOR_SIZES} of {FACTORS}")
    shape, scale, orientation, x, y = factors.T[:, :, None, None]  # each [N, 1, 1]
    radius = _RADII[scale]
    angle = orientation * (np.pi / 2 / FACTOR_SIZES[2])
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)  # pixel centres
    first = (SIDE - FACTOR_SIZES[3]) / 2  # the middle's leftmost place: a centred square of places
    across, down = columns - (first + x), rows - (first + y)  # [N, 32, 32]
    u = np.cos(angle) * across + np.sin(angle) * down
    v = -np.sin(angle) * across + np.cos(angle) * down
    distance = np.choose(shape, [_square(u, v, radius), _ellipse(u, v, radius), _tri(u, v, radius)])
    return np.rint(255.0 * np.clip(0.5 - distance, 0.0, 1.0)).astype(np.uint8)[..., None]


def _square(u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Signed distance, in pixels, to the edge; the corners lie on the circle of that radius."""
    return np.maximum(np.abs(u), np.abs(v)) - radius / np.sqrt(2.0)


def _ellipse(u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """The same, to first order, of an ellipse half as high as it is wide: f / |grad f|."""
    a, b = radius, radius / 2
    level = np.hypot(u / a, v / b)
    slope = np.hypot(u / a**2, v / b**2) / np.maximum(level, 1e-9)
    return (level - 1.0) / np.maximum(slope, 1e-9)


def _tri(u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """The same for an equilateral triangle with inradius `radius / 2`."""
    slanted = np.sqrt(3.0) / 2 * np.abs(u) - v / 2
    return np.maximum(slanted, v) - radius / 2


def all_factors() -> np.ndarray:
    """Every combination, int32 `[20736, 5]`; the last factor runs fastest."""
    return np.indices(FACTOR_SIZES).reshape(5, -1).T.astype(np.int32)


def dataset(split: str = "train") -> Dataset:
    """80 / 10 / 10 % of all combinations, shuffled once with a fixed seed.

    Returns:
        Images `x`, `label` = the shape, and `factors` int32 `[B, 5]`.
    """
    factors = np.random.default_rng(0).permutation(all_factors())
    start, stop = (round(share * len(factors)) for share in _SPLIT_SHARES[split])
    factors = factors[start:stop]
    images = np.concatenate([render(part) for part in np.array_split(factors, len(factors) // 500)])
    shape = (SIDE, SIDE, 1)
    spec = DataSpec(shape, 256, len(SHAPES), name="shapes2d", class_names=SHAPES)
    return Dataset(spec, split, {"x": images, "label": factors[:, 0], "factors": factors})
