"""Pictures of music: notes as bars over time, a colour a voice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genjax_models.data.chorales import REST, VOICES
from genjax_models.data.midi import held
from genjax_models.plots import INK, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#d1602c", "#c9a227", "#3f8f5f", "#2f6db3")
"""Of soprano, alto, tenor and bass."""
_MOST = 8


def piano_roll(rolls: Any, columns: int = 2) -> Figure:
    """Pieces of four voices, pitch against time; a note that is held is one bar.

    Args:
        rolls: Notes `[N, T, 4]` or `[T, 4]`, soprano first, 0 a rest; eight pieces are shown.
        columns: Pieces side by side.

    Raises:
        ValueError: The array is no piano roll.
    """
    x = np.asarray(rolls)
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[2] != len(VOICES) or not x.size:
        raise ValueError(f"the music has shape {x.shape}: give notes [N, T, 4] or [T, 4]")
    x = x[:_MOST]
    columns = min(columns, len(x))
    rows = -(-len(x) // columns)
    sounding = x[x != REST]
    low, high = (sounding.min(), sounding.max()) if sounding.size else (48, 72)
    figure = new_figure(5.2 * columns, 1.9 * rows + 0.3)
    for i, piece in enumerate(x):
        axes = figure.add_subplot(rows, columns, i + 1)
        for name, colour, notes in zip(VOICES, COLOURS, piece.T, strict=True):
            start, bars = 0, []
            for note, steps in held(notes):
                if note != REST:
                    bars.append((start, steps, note))
                start += steps
            left, width, height = np.array(bars or [(0, 0, low)]).T
            axes.barh(height, width - 0.12, 0.8, left, color=colour, label=name)
        axes.set(xlim=(0, x.shape[1]), ylim=(low - 1.5, high + 1.5))
        axes.set_yticks([c for c in range(0, 128, 12) if low - 1 <= c <= high + 1])
        axes.set_yticklabels([f"C{round(c / 12) - 1}" for c in axes.get_yticks()])
        if i >= len(x) - columns:
            axes.set_xlabel("step", fontsize=8, color=INK[False])
        tidy(axes)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), ncols=4, fontsize=8, frameon=False,
                  loc="outside upper center")  # fmt: skip
    return figure
