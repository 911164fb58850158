"""Figures of music: its likelihood, and the rules that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments.runner import runs, samples
from experiments.runner.experiment import Figures, figure
from genjax_models.data import music

if TYPE_CHECKING:
    from genjax_models.core import TractableDensity
    from genjax_models.data import Dataset

NUM_WINDOWS = 500


def music_figures(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Nats a note and a step; for music made by rules, also the distance from their distribution.

    `excess` is what the code of a note is longer than by that of the source, KL(source || model)
    a note; `rules_kept` is how many of the chords of new samples the rules allow.
    """
    x, steps = _rows(data), data.spec.shape[0]
    log_p = model_log_prob(run, x)
    kind = f"exact, {len(x)} windows of {steps} steps"
    notes = data.spec.num_dims
    figures = {
        "nats_per_note": figure(-log_p.mean() / notes, "nats a note", kind),
        "nats_per_step": figure(-log_p.mean() / steps, "nats a step", kind),
    }
    if run.record.config.dataset != "progressions":
        return figures
    source = music.usual_progressions()
    excess = (source.log_prob(x) - log_p) / notes
    error = excess.std() / np.sqrt(len(x))
    drawn = samples.draw_samples(run, NUM_WINDOWS, seed)
    kept = f"{NUM_WINDOWS} windows; 100 % of the source's"
    return figures | {
        "excess": figure(excess.mean(), "nats a note", f"{kind}, standard error {error:.2g}"),
        "rules_kept": figure(100 * source.follows(drawn).mean(), "% of chords", kept),
    }


def model_log_prob(run: runs.Run, x: np.ndarray, size: int = 100) -> np.ndarray:
    """Log p `[N]` in nats of piano rolls `[N, T, 4]`, some at a time."""
    model: TractableDensity = run.setup.model  # pyright: ignore - as the experiment builds it
    log_prob: Any = jax.jit(lambda params, x: model.log_prob(params, x, state=run.state.state))
    whole = np.concatenate([x, np.zeros((-len(x) % size, *x.shape[1:]), x.dtype)])
    parts = [log_prob(run.params, part) for part in np.split(whole, len(whole) // size)]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])[: len(x)]


def _rows(data: Dataset) -> np.ndarray:
    return data.rows(np.arange(len(data)))["x"]
