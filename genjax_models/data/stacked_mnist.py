"""Stacked MNIST: three digits as the channels of one image, which makes 1,000 modes to cover.

References:
    Metz et al. 2017, Unrolled Generative Adversarial Networks, arXiv:1611.02163, sec. 3.3.1.
    Lin et al. 2018, PacGAN, arXiv:1712.04086, sec. 4.2: 128,000 images to train on, 26,000 samples
    to count modes by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genjax_models.data.dataset import Dataset

NUM_MODES = 1_000
SIZES: Mapping[str, int] = {"train": 128_000, "validation": 10_000, "test": 26_000}
"""Split -> number of its images."""

_SEEDS = {"train": 0, "validation": 1, "test": 2}
_PART = 4_000
"""Images that are put together at a time, for a set in memory."""


@dataclasses.dataclass(frozen=True, eq=False)
class Stacks:
    """Images `x` of three digits each and their mode `label`, put together when asked for.

    Attributes:
        digits: Images `[N, H, W, 1]`.
        labels: Their classes, 0 .. 9 `[N]`.
        which: The three digits of each stack `[M, 3]`.
    """

    digits: np.ndarray
    labels: np.ndarray
    which: np.ndarray

    def __len__(self) -> int:
        """Number of stacks."""
        return len(self.which)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        """The stacks of those numbers."""
        x, label = self.stacked(np.asarray(record_keys, np.int64))
        return [{"x": x[i], "label": label[i]} for i in range(len(x))]

    def stacked(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The stacks of those numbers as images `[B, H, W, 3]` and modes int32 `[B]`."""
        which = self.which[indices]  # [B, 3]
        x = np.moveaxis(self.digits[which, ..., 0], 1, -1)
        return np.ascontiguousarray(x), mode_of(self.labels[which])


def mode_of(digits: np.ndarray) -> np.ndarray:
    """The mode's number of three digits `[..., 3]`: 100 a + 10 b + c, int32."""
    return (np.asarray(digits) @ np.array([100, 10, 1])).astype(np.int32)


def dataset(
    digits: Dataset,
    split: str = "train",
    num: int | None = None,
    seed: int | None = None,
    *,
    in_memory: bool = True,
) -> Dataset:
    """Stacks of three digits each, drawn from a set of digits with repetition.

    Stack i is a function of the digits, the seed and i alone.

    Args:
        digits: Images with labels, in memory.
        split: The split's name.
        num: Number of stacks; by default `SIZES[split]`.
        seed: By default one of each split's own.
        in_memory: False puts a stack together when it is asked for, for want of 2,352 bytes each.

    Returns:
        Images `x` uint8 `[B, H, W, 3]` and their mode `label`, 0 .. 999.

    Raises:
        ValueError: Digits that are not in memory, have more than one channel or no labels 0 .. 9.
    """
    arrays, spec = digits.arrays or {}, digits.spec
    if "label" not in arrays or spec.num_classes != 10 or spec.shape[2:] != (1,):
        raise ValueError(
            f"{spec.name}[{digits.split}] cannot be stacked: give images [N, H, W, 1] of ten "
            "classes, with labels and in memory"
        )
    num, seed = SIZES[split] if num is None else num, _SEEDS[split] if seed is None else seed
    which = np.random.default_rng(seed).integers(len(digits), size=(num, 3))
    stacks = Stacks(arrays["x"], arrays["label"], which)
    spec = dataclasses.replace(
        spec, shape=(*spec.shape[:2], 3), num_classes=NUM_MODES, name=f"stacked_{spec.name}"
    )
    if not in_memory:
        return Dataset(spec, split, source=stacks)
    x = np.empty((num, *spec.shape), arrays["x"].dtype)
    for i in range(0, num, _PART):
        part = np.arange(i, min(i + _PART, num))
        x[part], _ = stacks.stacked(part)
    return Dataset(spec, split, {"x": x, "label": mode_of(arrays["label"][which])})
