"""What every extractor of features asks of images: that they fill the range they are read in."""

from __future__ import annotations

import numpy as np

_LEAST_SHARE = 1 / 8
"""Share of the range that real numbers are to spread over."""


def check_range(x: np.ndarray, levels: int | None, whose: str, mend: str) -> None:
    """Refuses images that lie in another range than the one that they are read in.

    Their features would be of something else, and no figure made of them would tell so. Of levels
    0 .. 255, whole or real numbers are taken; images in 0 .. 1, in -1 .. 1, real numbers that keep
    to an eighth of the range, and images that are one value everywhere, are not. (Whole numbers in
    a small part of the range are: a model may draw such.)

    Args:
        x: Images `[N, ...]`, at least one.
        levels: They are to be in 0 .. levels - 1; None for real numbers of any range.
        whose: What is in that range, for the message: "digits".
        mend: What the caller can do.

    Raises:
        ValueError: The images are beyond the range, keep to a small part of it, or are no finite
            numbers.
    """
    if x.dtype.kind not in "biuf":
        raise ValueError(f"the images are of {x.dtype}, and {whose} of numbers: {mend}")
    low, high = float(x.min()), float(x.max())
    if levels is None and not np.isfinite((low, high)).all():
        raise ValueError(f"the images of {whose} hold values that are not finite: {mend}")
    if low == high:
        raise ValueError(
            f"the images are {low:g} everywhere ({x.dtype} {x.shape}): nothing can be told from "
            f"images of one value; look at them"
        )
    if levels is None:
        return
    top = levels - 1
    inside = low >= 0 and high <= top  # NaN is not
    narrow = high <= 1 or (x.dtype.kind == "f" and high - low < _LEAST_SHARE * top)
    if not inside or (levels > 2 and narrow):
        raise ValueError(
            f"the images lie in {low:g} .. {high:g}, and {whose} in 0 .. {top}: {mend}"
        )
