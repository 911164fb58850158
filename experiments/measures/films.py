"""Figures of films of moving digits: the digit asked for, its identity, its path."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.measures.images import classifier as classifier_of_run
from experiments.runner import runs, samples
from experiments.runner.experiment import Figures, figure
from genjax_models.data.moving_digits import VELOCITIES, bounce

if TYPE_CHECKING:
    from genjax_models.data import Dataset

NUM_FILMS = 300
NEAR = 0.5
"""Pixels that a digit may stray from its path."""
_DIGIT = 8
_LOOSE = 1.5  # pixels by which a digit's centre of brightness may lie off its image's middle


def film_figures(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Agreement of films with the digit asked for, its identity and its path.

    Each is also given of as many films of the split, which have nothing wrong with them but what
    the classifier misreads.
    """
    if run.record.config.dataset != "moving_digits":
        return {}
    classifier = classifier_of_run(run.record.config, "digits")
    rows = data.rows(np.arange(min(NUM_FILMS, len(data))))
    asked = run.setup.condition(NUM_FILMS).get("label")
    drawn = samples.draw_samples(run, NUM_FILMS, seed)
    seen = {"": (drawn, asked), "_of_truth": (rows["x"], rows["label"])}
    figures: Figures = {}
    for name, (films, label) in seen.items():
        path = path_of(films)
        read = classifier.predict(crops(films, path.place).reshape(-1, _DIGIT, _DIGIT, 1))
        read = read.reshape(films.shape[:2])
        kept = path.error <= NEAR
        kind = f"{len(films)} films"
        by = f"{kind}, {classifier.name}"
        if label is not None:
            right = 100 * np.mean(read == np.asarray(label)[:, None])
            figures[f"frames_read{name}"] = figure(right, "% of frames read as asked", by)
        same = 100 * np.mean((read == read[:, :1]).all(1))
        figures[f"same_digit{name}"] = figure(same, "% of films read alike in all frames", by)
        figures[f"on_path{name}"] = figure(
            100 * kept.mean(), f"% of films within {NEAR} pixels of a path", kind
        )
        if kept.any():
            fast = 100 * np.mean(path.speed[kept] == 2)
            figures[f"fast{name}"] = figure(fast, "% of those films' axes, of 50", kind)
    return figures


class Path(NamedTuple):
    """The path nearest to a digit's, of those that the data may take.

    Attributes:
        error: The most that the digit is off it, over frames and axes, pixels `[N]`.
        place: Row and column of the digit's image in each frame, on the path or off it `[N, T, 2]`.
        speed: Pixels a frame along each axis `[N, 2]`.
    """

    error: np.ndarray
    place: np.ndarray
    speed: np.ndarray


def path_of(films: np.ndarray) -> Path:
    """The paths of the digits in films `[N, T, H, W, 1]`, by their centres of brightness.

    A centre moves as the digit does, off by the same vector in all frames: of the paths along an
    axis, that one is taken that it follows best, and of equals the one that makes it lie nearest to
    the middle of the digit's image. A film with a dark frame has an infinite error.
    """
    x = films[..., 0].astype(np.float64)
    room = x.shape[2] - _DIGIT
    starts, velocities = np.meshgrid(np.arange(room + 1), VELOCITIES)
    paths = bounce(starts.ravel(), velocities.ravel(), room, x.shape[1])  # [K, T]
    total = x.sum((2, 3))
    errors, places, speeds = [], [], []
    for axis in (2, 3):
        marginal = x.sum(5 - axis)  # [N, T, size]
        centre = marginal @ np.arange(marginal.shape[2]) / np.maximum(total, 1e-9)
        off = centre[:, None] - paths  # [N, K, T]
        offset = off.mean(2) - (_DIGIT - 1) / 2
        error = np.abs(off - off.mean(2, keepdims=True)).max(2)
        score = np.where(np.abs(offset) > _LOOSE, np.inf, error + 1e-6 * np.abs(offset))
        film, best = np.arange(len(x)), score.argmin(1)
        errors.append(np.minimum(score, 1e9)[film, best])
        place = np.rint(centre - off.mean(2)[film, best][:, None])
        places.append(np.clip(place, 0, room).astype(int))
        speeds.append(np.abs(velocities.ravel()[best]))
    error = np.where((total > 0).all(1), np.max(errors, axis=0), np.inf)
    return Path(error, np.stack(places, -1), np.stack(speeds, -1))


def crops(films: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The digits' images `[N, T, 8, 8, 1]` in films, at those places `[N, T, 2]`."""
    film, frame = np.ogrid[: films.shape[0], : films.shape[1]]
    rows = place[..., 0, None, None] + np.arange(_DIGIT)[:, None]
    columns = place[..., 1, None, None] + np.arange(_DIGIT)
    return films[film[..., None, None], frame[..., None, None], rows, columns]
