"""Short films as GIF files."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

_SIDE = 96
"""Pixels that a frame takes at least."""
_GAP = 2


def write_gif(
    path: str | os.PathLike[str], clips: Any, levels: int, *, milliseconds: int = 120
) -> None:
    """Writes films side by side as one GIF, which begins again at its end.

    Args:
        path: The file.
        clips: `[N, T, H, W, C]` or one `[T, H, W, C]`, C of 1 or 3, of values 0 .. levels - 1.
        levels: Number of values.
        milliseconds: How long a frame is shown.

    Raises:
        ValueError: The array is no film.
        OSError: The file cannot be written.
    """
    from PIL import Image

    x = np.asarray(clips)
    x = x[None] if x.ndim == 4 else x
    if x.ndim != 5 or x.shape[-1] not in (1, 3) or not x.size:
        raise ValueError(f"the films have shape {x.shape}: give [N, T, H, W, C] with C of 1 or 3")
    x = np.clip(x.astype(np.float32) * (255.0 / (levels - 1)), 0, 255).round().astype(np.uint8)
    scale = max(1, _SIDE // max(x.shape[2:4]))
    x = np.broadcast_to(x, (*x.shape[:-1], 3)).repeat(scale, axis=2).repeat(scale, axis=3)
    num, time, height, width, _ = x.shape
    columns = math.ceil(math.sqrt(num))
    rows = -(-num // columns)
    page = np.full((time, rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 64)
    for i, clip in enumerate(x):
        top, left = i // columns * (height + _GAP), i % columns * (width + _GAP)
        page[:, top : top + height, left : left + width] = clip
    frames = [Image.fromarray(frame.astype(np.uint8)) for frame in page]
    with Path(path).open("wb") as file:
        frames[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=milliseconds,
            loop=0,
        )
