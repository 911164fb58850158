"""Frames: the truth and every model side by side, in one colour scale, and how far each is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.commands.watch.learners import Plane
from experiments.commands.watch.watching import Watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#a67c00", "#2f6db3", "#c2417c", "#d1602c")
FLOOR = 1e-3
"""Nats below which a KL is drawn at the edge: the estimates' own error is about as large."""
GAMMA = 0.4
"""Colour is p(x) to this power, so that a wide and low density is seen beside narrow peaks."""
MILLISECONDS, LAST_MILLISECONDS = 600, 3500


def frames(watched: Sequence[Watched], truth: np.ndarray, plane: Plane, name: str) -> list[bytes]:
    """One PNG a step.

    Args:
        watched: The models, each looked at after the same steps.
        truth: The density over the lattice.
        plane: The lattice.
        name: The density's name.
    """
    return [_png(_frame(watched, i, truth, plane, name)) for i in range(len(watched[0].looks))]


def animate(pngs: Sequence[bytes], path: Path) -> None:
    """Writes an animated GIF, which stays at its last frame for a while."""
    from PIL import Image

    images = [Image.open(io.BytesIO(png)).convert("RGB") for png in pngs]
    # One palette for all, the last frame's, in which every colour occurs: nothing flickers.
    palette = images[-1].quantize(128, dither=Image.Dither.NONE)
    flat = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    times = [*[MILLISECONDS] * (len(flat) - 1), LAST_MILLISECONDS]
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=times, loop=0)


def _frame(
    watched: Sequence[Watched], index: int, truth: np.ndarray, plane: Plane, name: str
) -> Figure:
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    num = len(watched) + 1
    figure = Figure(figsize=(2.15 * num, 4.5), dpi=100, facecolor="white", layout="constrained")
    both: Any = figure.subfigures(2, 1, height_ratios=(2.55, 2.0))
    panels, below = both
    scale: dict[str, Any] = {
        "norm": PowerNorm(GAMMA, vmin=0.0, vmax=float(truth.max()), clip=True),
        "extent": plane.extent,
        "origin": "lower",
        "cmap": "viridis",
        "interpolation": "nearest",
    }
    step = watched[0].looks[index].step
    shown = [(f"the truth: {name}", "", truth, "#1f2430")]
    for one, colour in zip(watched, COLOURS, strict=False):
        look = one.looks[index]
        words = f"KL {look.kl.value:.3f} ± {2 * look.kl.standard_error:.3f} nats"
        shown.append((one.learner.title, words, look.density, colour))
    for i, (title, words, density, colour) in enumerate(shown):
        axes = panels.add_subplot(1, num, i + 1)
        axes.imshow(density, **scale)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title, fontsize=10, color=colour, fontweight="bold", loc="left")
        axes.set_xlabel(words or f"step {step:,}", fontsize=8.5)
    _curves(below, watched, index)
    return figure


def _curves(figure: Any, watched: Sequence[Watched], index: int) -> None:
    axes = figure.add_subplot()
    steps = [look.step for look in watched[0].looks]
    every = [max(FLOOR, look.kl.value) for one in watched for look in one.looks]
    for one, colour in zip(watched, COLOURS, strict=False):
        values = [max(FLOOR, look.kl.value) for look in one.looks]
        axes.plot(steps, values, color=colour, alpha=0.2, linewidth=1.2)
        axes.plot(steps[: index + 1], values[: index + 1], color=colour, linewidth=1.8)
        axes.plot(steps[index], values[index], "o", color=colour, label=one.learner.title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(steps[0] * 0.9, steps[-1] * 1.1)
    axes.set_ylim(min(every) * 0.7, max(every) * 1.5)
    axes.set_xlabel("steps", fontsize=9)
    axes.set_ylabel("KL(truth ‖ model), nats", fontsize=9)
    axes.tick_params(which="both", labelsize=8)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.15)
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    return buffer.getvalue()
