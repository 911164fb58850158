"""Random augmentations of images in training: crops and flips.

Each is an `Augment`: a value that is called with an example and its random generator, and leaves
nothing to chance where that is None. What stands beside an image as an image of the same size (the
other one of a pair) is treated alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import numpy as np

Example = Mapping[str, np.ndarray]
"""One example: `x` `[...]`, and what it is conditioned on, by name."""


class Augment(Protocol):
    """A random augmentation of an example in training, such as a flip."""

    def __call__(self, example: Example, random: np.random.Generator | None) -> Example:
        """Returns the example as it is learned from, `x` of `spec.shape`.

        Args:
            example: An example as it lies in memory or comes from the source.
            random: Generator that is a function of (seed, step, number of the example), so that a
                resumed run draws the same; None outside of training, where nothing may be left to
                chance.
        """
        ...


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """A part of an image, each part as likely; the middle of it where there is no chance.

    Attributes:
        height: Pixels of the part; an image has at least as many.
        width: Pixels of the part.
    """

    height: int
    width: int

    def __call__(self, example: Example, random: np.random.Generator | None) -> Example:
        """Cuts the part out."""
        high, wide = example["x"].shape[:2]
        most = high - self.height, wide - self.width
        if random is None:
            top, left = most[0] // 2, most[1] // 2
        else:
            top, left = (int(random.integers(m + 1)) for m in most)
        rows, columns = slice(top, top + self.height), slice(left, left + self.width)
        return {k: a[rows, columns] if _is_beside(a, high, wide) else a for k, a in example.items()}


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """An image, or as likely its mirror image, left and right exchanged."""

    def __call__(self, example: Example, random: np.random.Generator | None) -> Example:
        """Mirrors the image, or does not."""
        if random is None or random.random() < 0.5:
            return example
        high, wide = example["x"].shape[:2]
        return {k: a[:, ::-1] if _is_beside(a, high, wide) else a for k, a in example.items()}


def _is_beside(array: np.ndarray, high: int, wide: int) -> bool:
    return np.ndim(array) == 3 and np.shape(array)[:2] == (high, wide)


@dataclasses.dataclass(frozen=True)
class Chain:
    """One augmentation after another.

    Attributes:
        parts: The augmentations, the first one first.
    """

    parts: tuple[Augment, ...]

    def __call__(self, example: Example, random: np.random.Generator | None) -> Example:
        """Applies them in order, all with the one generator."""
        for part in self.parts:
            example = part(example, random)
        return example
