"""The pictures of a comparison, each for a light page and for a dark one."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.commands.compare import wording
from experiments.commands.compare.clock import CLOCK, SECONDS
from experiments.commands.compare.comparing import SAMPLES, Result
from experiments.runner import pages
from genjax_models import plots
from genjax_models.training.hooks import read_json_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from genjax_models.core import DataSpec
    from genjax_models.data import Dataset

LOG_SPAN = 3.0
"""Figures that differ by more than this factor are drawn on a log scale."""
COLOURS = {
    False: ("#2f6db3", "#148f83", "#d1602c", "#a67c00", "#7d52bd", "#c2417c"),
    True: ("#7fb2ea", "#5fcfc2", "#f0a06c", "#e3c04f", "#b99bee", "#f08ab8"),
}
"""One a model, in the order of the table, by `dark`."""


def colour(index: int, dark: bool = False) -> str:
    """The colour of the model that stands at that place of the table."""
    return COLOURS[dark][index % len(COLOURS[dark])]


def samples_of(result: Result) -> np.ndarray:
    """The first samples of a model that was measured; none was chosen."""
    with np.load(result.directory / SAMPLES) as kept:
        return kept["samples"]


def sheet(x: np.ndarray, spec: DataSpec, columns: int = 8) -> str:
    """Images as a sheet."""
    return pages.png(plots.grid(x, spec.num_levels, columns=columns))


def in_both(draw: Callable[[bool], Figure]) -> tuple[str, str]:
    """A figure for a light page, and for a dark one."""
    return pages.svg(draw(False)), pages.svg(draw(True))


def curve(results: Sequence[Result], key: str, title: str, dark: bool) -> Figure:
    """A figure of the validation split over the seconds of training, a line a model."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = _figure(5.2, 4.0, dark)
    highest: list[float] = []
    for i, result in enumerate(results):
        rows = [r for r in read_json_lines(result.directory / CLOCK) if key in r]
        if not rows:
            continue
        seconds, values = [r[SECONDS] for r in rows], [r[key] for r in rows]
        highest += values
        style: dict[str, Any] = {"color": colour(i, dark), "linewidth": 1.6}
        label = result.contender.title
        axes.plot(seconds, values, marker="o", markersize=3.5, label=label, **style)
    axes.set_xscale("log")
    if span := highest and max(highest) / max(min(highest), 1e-9) > LOG_SPAN:
        axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis) if span else (axes.xaxis,):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("seconds of training", fontsize=9, color=plots.INK[dark])
    axes.set_title(title, fontsize=10, loc="left", color=plots.INK[dark])
    if highest:
        figure.legend(
            fontsize=8,
            frameon=False,
            labelcolor=plots.INK[dark],
            loc="outside lower center",
            ncols=3,
        )
    return figure


def intervals(
    results: Sequence[Result], column: wording.Column, dark: bool, mark: float | None = None
) -> Figure:
    """One figure of every model as a point with its interval.

    Args:
        results: The models.
        column: The figure.
        dark: For a dark page.
        mark: A value to draw a line at.
    """
    figure, axes = _figure(4.2, 0.34 * len(results) + 0.9, dark)
    for i, result in enumerate(results):
        found = wording.value(result.row, column)
        style: dict[str, Any] = {"color": colour(i, dark)}
        if found is None:
            axes.text(0.02, i, "no density" if result.row.get("kind") == "implicit" else "unknown",
                      fontsize=8, color=plots.INK[dark], alpha=0.6, va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
            continue
        measured = result.row[column.key]
        if measured["low"] is not None:
            axes.plot([measured["low"], measured["high"]], [i, i], linewidth=5, alpha=0.35, **style)
        axes.plot([found], [i], "o", markersize=6, **style)
    if mark is not None:
        axes.axvline(mark, color=plots.INK[dark], alpha=0.5, linewidth=1, linestyle="--")
    axes.locator_params("x", nbins=5)
    if column.unit == "share":
        axes.set_xlim(-0.02, 1.02)
    titles = [result.contender.title for result in results]
    axes.set_yticks(range(len(results)), titles)
    axes.set_ylim(len(results) - 0.5, -0.5)
    unit = f", {column.unit}" if column.unit else ""
    axes.set_title(f"{column.title}{unit}", fontsize=10, loc="left", color=plots.INK[dark])
    return figure


def overview(results: Sequence[Result], data: Dataset, path: Path, floor: float) -> None:
    """Writes the README's picture: samples side by side, with names and key figures."""
    from matplotlib.figure import Figure

    there = [(i, r) for i, r in enumerate(results) if "failed" not in r.row]
    columns = min(4, len(there) + 1)
    rows = -(-(len(there) + 1) // columns)
    side, words, gap = 2.6, 0.95, 0.12  # inches: of a sheet, of the words above it, between them
    width, height = columns * (side + gap) + gap, rows * (side + words) + gap
    figure = Figure(figsize=(width, height), dpi=120, facecolor="white")

    def place(index: int) -> Axes:
        row, column = divmod(index, columns)
        bottom = height - (row + 1) * (side + words)
        left = gap + column * (side + gap)
        return figure.add_axes((left / width, bottom / height, side / width, side / height))

    real = data.rows(np.arange(64) % len(data))["x"]
    about = f"images of the {data.split} split\n\nFréchet distance of as many real ones {floor:.1f}"
    _sheet(place(0), real, data.spec, data.spec.name, about)
    for at, (i, result) in enumerate(there):
        title, words_above = result.contender.title, _above(result)
        _sheet(place(at + 1), samples_of(result), data.spec, title, words_above, colour(i))
    figure.savefig(path)


def _above(result: Result) -> str:
    row, bits = result.row, wording.shown(result.row, wording.BITS)
    kind = row["bits_per_dim"]["kind"].split(",")[0]
    unknown = "no density" if row["kind"] == "implicit" else "bits/dim not known"
    likelihood = unknown if bits == "–" else f"{bits} bits/dim ({kind})"
    distance = wording.with_interval(row, wording.FRECHET)
    return f"{wording.kind_in_words(row).split(' (')[0]}\n{likelihood}\nFréchet {distance}"


def _sheet(
    axes: Axes, x: np.ndarray, spec: DataSpec, title: str, words: str, ink: str = plots.INK[False]
) -> None:
    # A figure of its own has the images pixel for pixel; its pixels are what is shown here.
    from matplotlib.image import imread

    buffer = io.BytesIO()
    plots.save(plots.grid(x[:64], spec.num_levels, columns=8), buffer)
    buffer.seek(0)
    axes.imshow(imread(buffer), interpolation="nearest")
    axes.set_axis_off()
    axes.text(0.0, 1.31, title, fontsize=12, fontweight="bold", color=ink, va="top",
              transform=axes.transAxes)  # fmt: skip
    axes.text(0.0, 1.225, words, fontsize=8, color=plots.INK[False], va="top", linespacing=1.35,
              transform=axes.transAxes)  # fmt: skip


def _figure(width: float, height: float, dark: bool) -> tuple[Figure, Axes]:
    figure = plots.new_figure(width, height)
    axes = figure.add_subplot()
    plots.tidy(axes, dark)
    return figure, axes
