"""Pictures of data and of training: pure functions from arrays to Matplotlib figures.

Every function returns a `matplotlib.figure.Figure` that a notebook shows as it is and that `save`
writes to a file. None touches pyplot, so there is no current figure and nothing to close.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genjax_models.core.files import replaced
from genjax_models.core.types import DataSpec
from genjax_models.data import tokenizers
from genjax_models.data.music import REST, VOICES, held, is_roll
from genjax_models.data.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 56  # pixels that an image in a grid takes at least, so that 8x8 digits can be read
_GAP = 2  # pixels between images
_GAP_GREY = 0.25
_TITLE, _LETTER = 16, 6.5  # pixels of a line of titles, and of one of its letters
_FILMS = 12  # that are shown at most, a row each
INK = {False: "#1f2430", True: "#e6e8ee"}
"""The colour of text and lines, by `dark`."""
_VOICE_COLOURS = ("#d1602c", "#c9a227", "#3f8f5f", "#2f6db3")  # soprano, alto, tenor, bass
_PIECES = 8  # pieces of music that are shown at most
_GIF_SIDE = 96  # pixels that a frame of a film takes at least
_LINES = {
    False: {"train": "#2f6db3", "validation": "#d1602c"},
    True: {"train": "#7fb2ea", "validation": "#f0a06c"},
}


def grid(
    images: Any,
    num_levels: int | None = None,
    columns: int | None = None,
    titles: Sequence[str] = (),
) -> Figure:
    """Images side by side, every pixel exact: no smoothing, no resampling.

    Args:
        images: `[N, H, W, C]` with C of 1, 3 or 4, or `[N, H, W]`; integers or floats.
        num_levels: The values are in 0 .. num_levels - 1. None scales by the brightest value.
        columns: Images in a row; by default as many as make the grid square.
        titles: Titles of the columns, such as names of classes; too long ones are cut.

    Returns:
        A figure of as many pixels as the grid has; small images are enlarged by a whole factor.

    Raises:
        ValueError: The arrays are no images, or `columns` is not positive.
    """
    x = _unit_range(images, num_levels)
    columns = math.ceil(math.sqrt(len(x))) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns is {columns}: a grid needs at least one")
    return _picture(_tile(x, min(columns, len(x))), titles)


def reconstructions(
    x: Any, x_hat: Any, num_levels: int | None = None, columns: int | None = None
) -> Figure:
    """Examples and, directly beneath each, its reconstruction.

    Args:
        x: Examples `[N, H, W, C]` or `[N, H, W]`.
        x_hat: Their reconstructions, of the same shape and in the same units.
        num_levels: The values are in 0 .. num_levels - 1. None scales by the brightest example.
        columns: Pairs in a row; by default as many as make the picture square.

    Raises:
        ValueError: The shapes differ, or the arrays are no images.
    """
    x, x_hat = np.asarray(x), np.asarray(x_hat)
    if x.shape != x_hat.shape:
        raise ValueError(
            f"the examples have shape {x.shape} but their reconstructions {x_hat.shape}:"
            " they must be the same"
        )
    num_levels = num_levels or int(np.ceil(x.max())) + 1
    top, bottom = _unit_range(x, num_levels), _unit_range(x_hat, num_levels)
    columns = min(columns or math.ceil(math.sqrt(2 * len(x))), len(x))
    bands = []
    for i in range(0, len(x), columns):
        above, below = (_tile(part[i : i + columns], columns) for part in (top, bottom))
        bands += [above, below[_GAP:], np.full_like(below[: 3 * _GAP], _GAP_GREY)]
    return _picture(np.concatenate(bands[:-1]))


def traversal(images: Any, num_levels: int | None = None) -> Figure:
    """A grid with a row for each latent (or path between examples), a column for each value.

    Args:
        images: `[rows, columns, H, W, C]` or `[rows, columns, H, W]`.
        num_levels: The values are in 0 .. num_levels - 1. None scales by the brightest value.
    """
    images = np.asarray(images)
    if images.ndim not in (4, 5):
        raise ValueError(f"a traversal is [rows, columns, H, W(, C)], got shape {images.shape}")
    return grid(images.reshape(-1, *images.shape[2:]), num_levels, columns=images.shape[1])


def samples(x: Any, spec: DataSpec, columns: int | None = None) -> Figure:
    """Examples of any kind, each shown as what it is.

    Images, films (a row a film), points of the plane, text, music, curves.

    Args:
        x: Examples `[N, *spec.shape]` in the data's units.
        spec: Specification of one example.
        columns: Images in a row; if there is one for each class, their names are the titles.
    """
    x = np.asarray(x)
    if len(spec.shape) == 3:
        titles = spec.class_names if columns == spec.num_classes else ()
        return grid(x, spec.num_levels, columns, titles)
    if len(spec.shape) == 4:
        return traversal(x[:_FILMS], spec.num_levels)
    if is_roll(spec):
        return piano_roll(x)
    if spec.vocabulary:
        return text([tokenizers.of(spec).decode(row) for row in x])
    return scatter(x) if spec.shape == (2,) else _series(x.reshape(len(x), -1))


def text(texts: Sequence[str], max_rows: int = 12, width: int = 100) -> Figure:
    """A page of monospaced text, one example a paragraph.

    Args:
        texts: The examples.
        max_rows: Largest number of examples.
        width: Largest number of characters in a line; longer lines are broken.
    """
    page = printable("\n\n".join(texts[:max_rows])).expandtabs(4).split("\n")
    lines = [line[i : i + width] for line in page for i in range(0, len(line) or 1, width)]
    figure = new_figure(0.09 * max(map(len, lines)) + 0.5, 0.19 * len(lines) + 0.4)
    style = {"family": "monospace", "fontsize": 9, "va": "top", "color": INK[False]}
    figure.text(0.02, 0.98, "\n".join(lines), parse_math=False, **style)
    return figure


def piano_roll(rolls: Any, columns: int = 2) -> Figure:
    """Pieces of four voices, pitch against time; a note that is held is one bar.

    Args:
        rolls: Notes `[N, T, 4]` or `[T, 4]`, soprano first, 0 a rest; eight pieces are shown.
        columns: Number of pieces side by side.

    Raises:
        ValueError: The array is no piano roll.
    """
    x = np.asarray(rolls)
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[2] != len(VOICES) or not x.size:
        raise ValueError(f"the music has shape {x.shape}: give notes [N, T, 4] or [T, 4]")
    x = x[:_PIECES]
    columns = min(columns, len(x))
    rows = -(-len(x) // columns)
    sounding = x[x != REST]
    low, high = (sounding.min(), sounding.max()) if sounding.size else (48, 72)
    figure = new_figure(5.2 * columns, 1.9 * rows + 0.3)
    for i, piece in enumerate(x):
        axes = figure.add_subplot(rows, columns, i + 1)
        for name, colour, notes in zip(VOICES, _VOICE_COLOURS, piece.T, strict=True):
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


def scatter(points: Any, extent: tuple[float, float, float, float] | None = None) -> Figure:
    """Points of the plane; several sets are side by side, to the same scale.

    Args:
        points: `[N, 2]`, or a mapping from names to such arrays.
        extent: `(left, right, bottom, top)`; by default that of the points.
    """
    sets = points if isinstance(points, Mapping) else {"": points}
    figure = new_figure(4.5 * len(sets), 4.8)
    first = None
    for i, (name, one) in enumerate(sets.items()):
        x, y = np.asarray(one).T
        first = axes = figure.add_subplot(1, len(sets), i + 1, sharex=first, sharey=first)
        axes.scatter(x, y, s=6, alpha=0.6, linewidths=0, color=_LINES[False]["train"])
        axes.set_title(name, fontsize=9, loc="left", color=INK[False])
        axes.set_aspect("equal")
        if extent is not None:
            axes.set(xlim=extent[:2], ylim=extent[2:])
        tidy(axes)
    return figure


def density(
    log_prob: Callable[[np.ndarray], Any],
    extent: tuple[float, float, float, float],
    resolution: int = 200,
) -> Figure:
    """A density over the plane as a heat map of p(x).

    Args:
        log_prob: Log density `[N]` of points `[N, 2]`, in nats.
        extent: `(left, right, bottom, top)`.
        resolution: Number of points along each axis.
    """
    left, right, bottom, top = extent
    step_x, step_y = (right - left) / resolution, (top - bottom) / resolution
    xs = left + step_x * (np.arange(resolution) + 0.5)
    ys = bottom + step_y * (np.arange(resolution) + 0.5)
    lattice = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.float32)
    p = np.exp(np.asarray(log_prob(lattice), np.float64)).reshape(resolution, resolution)
    figure = new_figure(5.0, 4.3)
    axes = figure.add_subplot()
    image = axes.imshow(p, origin="lower", extent=extent, cmap="viridis", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="p(x)")
    tidy(axes)
    return figure


def curves(rows: Sequence[Mapping[str, Any]], dark: bool = False) -> Figure:
    """Training and validation metrics over the steps, a panel for each metric.

    Args:
        rows: Rows of a run's `metrics.jsonl`: `step`, `split` and named values.
        dark: For a dark page: light ink on no background.
    """
    names = dict.fromkeys(k for row in rows for k in row if k not in ("step", "split"))
    names = sorted(names, key=_importance)
    splits = list(dict.fromkeys(row["split"] for row in rows))
    columns = 2 if len(names) == 4 else min(3, max(1, len(names)))
    height = math.ceil(len(names) / columns) or 1
    figure = new_figure(3.6 * columns, 2.5 * height)
    for i, name in enumerate(names):
        axes = figure.add_subplot(height, columns, i + 1)
        for split in splits:
            points = [(r["step"], r[name]) for r in rows if r["split"] == split and name in r]
            _curve(axes, split, points, dark)
        _limit(axes, [(r["step"], r[name]) for r in rows if name in r])
        axes.set_title(name, fontsize=9, loc="left", color=INK[dark])
        if i >= len(names) - columns:
            axes.set_xlabel("step", fontsize=8, color=INK[dark])
        tidy(axes, dark)
        if i == 0 and len(splits) > 1:
            axes.legend(fontsize=8, frameon=False, labelcolor=INK[dark])
    if dark:
        figure.patch.set_alpha(0.0)
    return figure


def save(figure: Figure, path: str | Path | io.BytesIO) -> None:
    """Writes a figure to a file, pixel for pixel; the suffix says the format (`.png`, `.svg`)."""
    if isinstance(path, io.BytesIO):
        figure.savefig(path, dpi=figure.dpi)
        return
    with replaced(path) as fresh:
        figure.savefig(fresh, dpi=figure.dpi)


def write_gif(
    path: str | os.PathLike[str], clips: Any, num_levels: int, *, milliseconds: int = 120
) -> None:
    """Writes films side by side as one GIF, which begins again at its end.

    Args:
        path: Path of the file.
        clips: `[N, T, H, W, C]` or one `[T, H, W, C]`, C of 1 or 3, of values 0 .. num_levels - 1.
        num_levels: Number of values.
        milliseconds: Duration of a frame.

    Raises:
        ValueError: The array is no film.
        OSError: The file cannot be written.
    """
    from PIL import Image

    x = np.asarray(clips)
    x = x[None] if x.ndim == 4 else x
    if x.ndim != 5 or x.shape[-1] not in (1, 3) or not x.size:
        raise ValueError(f"the films have shape {x.shape}: give [N, T, H, W, C] with C of 1 or 3")
    x = np.clip(x.astype(np.float32) * (255.0 / (num_levels - 1)), 0, 255).round().astype(np.uint8)
    scale = max(1, _GIF_SIDE // max(x.shape[2:4]))
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


def new_figure(width: float, height: float, dpi: float = 110.0) -> Figure:
    """A figure of that many inches that a notebook can show."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    # IPython learns to show figures only when pyplot is imported; this says it to IPython itself.
    vars(figure)["_repr_png_"] = lambda: save(figure, png := io.BytesIO()) or png.getvalue()
    return figure


def _picture(pixels: np.ndarray, titles: Sequence[str] = ()) -> Figure:
    """A figure that is exactly these pixels `[H, W, 3]`, beneath a line of titles if any."""
    dpi, (height, width, _) = 100.0, pixels.shape
    whole = height + (_TITLE if titles else 0)
    figure = new_figure(width / dpi, whole / dpi, dpi)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, height / whole))
    axes.imshow(pixels, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    room = max(1, int(width / max(1, len(titles)) / _LETTER))
    for i, title in enumerate(titles):
        shown = title if len(title) <= room else title[: room - 1] + "…"
        style = {"ha": "center", "va": "center", "fontsize": 7, "color": INK[False]}
        place = (i + 0.5) / len(titles), 1 - _TITLE / 2 / whole
        figure.text(*place, printable(shown), parse_math=False, **style)
    return figure


def _unit_range(images: Any, num_levels: int | None) -> np.ndarray:
    """Images as float32 `[N, H, W, 3]` in 0 .. 1."""
    x = np.asarray(images)
    x = x[..., None] if x.ndim == 3 else x  # [N, H, W] -> [N, H, W, 1]
    if x.ndim != 4 or x.shape[-1] not in (1, 3, 4) or 0 in x.shape:
        raise ValueError(
            f"images have shape {np.shape(images)}: give [N, H, W, C] with C of 1, 3 or 4, or"
            " [N, H, W]"
        )
    x = x[..., :3].astype(np.float32)
    top = float(x.max()) if num_levels is None else num_levels - 1
    return np.broadcast_to(np.clip(x / (top or 1.0), 0.0, 1.0), (*x.shape[:3], 3))


def _tile(x: np.ndarray, columns: int) -> np.ndarray:
    """`[N, H, W, 3]` to one picture, each image enlarged by a whole factor."""
    scale = max(1, round(_CELL / max(x.shape[1:3])))
    x = x.repeat(scale, axis=1).repeat(scale, axis=2)
    _, h, w, _ = x.shape
    rows = math.ceil(len(x) / columns)
    page = np.full((rows * (h + _GAP) + _GAP, columns * (w + _GAP) + _GAP, 3), _GAP_GREY)
    for i, image in enumerate(x):
        top, left = _GAP + (i // columns) * (h + _GAP), _GAP + (i % columns) * (w + _GAP)
        page[top : top + h, left : left + w] = image
    return page


def _series(x: np.ndarray, max_rows: int = 16) -> Figure:
    """Sequences `[N, T]` (sound, say) as curves one above the other."""
    x = x[:max_rows]
    figure = new_figure(7.0, 0.5 * len(x) + 0.3)
    for i, row in enumerate(x):
        axes = figure.add_subplot(len(x), 1, i + 1)
        axes.plot(row, linewidth=0.6, color=_LINES[False]["train"])
        axes.set_axis_off()
    return figure


def _curve(axes: Axes, split: str, points: list[tuple[int, float]], dark: bool) -> None:
    colour = _LINES[dark].get(split, "#888888")
    steps, values = [p[0] for p in points], [p[1] for p in points]
    marker = "o" if len(points) == 1 else None  # a line of one point cannot be seen
    axes.plot(steps, values, label=split, color=colour, linewidth=1.4, marker=marker, markersize=4)


def _importance(name: str) -> int:
    """Losses first, their terms next, gradient norms last."""
    return {"loss": 0, "gradient_norm": 2}.get(name.split("/")[-1], 1)


def _limit(axes: Axes, points: list[tuple[int, float]]) -> None:
    """Cuts off the first steep fall, so that what follows can be told apart."""
    values = np.array([value for _, value in points])
    values = values[np.isfinite(values)]
    if len(values) < 20:
        return
    low, high = values.min(), np.quantile(values, 0.97)
    margin = 0.06 * max(high - low, 1e-9)
    axes.set_ylim(low - margin, high + margin)


def tidy(axes: Axes, dark: bool = False) -> None:
    """Gives axes the looks of the other pictures: a faint grid, two spines, no background."""
    ink = INK[dark]
    axes.tick_params(labelsize=8, colors=ink)
    axes.grid(color=ink, alpha=0.12, linewidth=0.6)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
        spine.set_alpha(0.4)
