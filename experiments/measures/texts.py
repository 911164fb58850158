"""Figures of texts: how varied they are, what of them is copied, and what the source itself has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

import genjax_models as gm
from experiments.runner import runs, samples
from experiments.runner.datasets import load_splits
from experiments.runner.experiment import Figures, figure
from genjax_models.core import TractableDensity
from genjax_models.data import tokenizers
from genjax_models.data.markov import MarkovText
from genjax_models.metrics import (
    Metric,
    default_metrics,
    distinct_n,
    longest_copies,
    nats_per_token,
    ngram_overlap,
    relative_perplexity,
)

if TYPE_CHECKING:
    from genjax_models.data import Dataset

NUM_TEXTS = 100
LENGTHS = (1, 2, 3)
"""Words of the n-grams whose variety counts."""
OVERLAPS = (2, 4)
"""Words of those that are looked for in the training text."""


def variety(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Distinct runs of words, those that the training text has too, and the longest copies.

    Beside each stands what as many windows of the split have: new text repeats itself, too, and
    shares phrases with the training text. Words that a window's ends may have cut do not count.
    """
    decode = tokenizers.of(run.record.spec).decode
    real = [decode(row) for row in _windows(data, NUM_TEXTS, seed)]
    drawn = [decode(row) for row in samples.draw_samples(run, len(real), seed)]
    learned = load_splits(run.record.config).train.arrays
    training = "" if learned is None else decode(learned["x"])
    numbers: dict[str, int] = {}

    def words(text: str) -> list[int]:
        return [numbers.setdefault(word, len(numbers)) for word in text.split()]

    both = [[words(text)[1:-1] for text in texts] for texts in (drawn, real)]
    most = min(max(map(len, texts)) for texts in both)
    kind = f"{len(drawn)} samples; as many windows of the {data.split} split"
    figures = {}
    for n in (n for n in LENGTHS if n <= most):
        value, other = (100 * distinct_n(texts, n) for texts in both)
        unit = f"% of runs of {n} words" if n > 1 else "% of words"
        figures[f"distinct_{n}"] = figure(value, unit, f"{kind}: {other:.1f}")
    whole = words(training)
    for n in (n for n in OVERLAPS if n <= most):
        value, other = (100 * ngram_overlap(texts, whole, n) for texts in both)
        unit = f"% of runs of {n} words are in the training text"
        figures[f"overlap_{n}"] = figure(value, unit, f"{kind}: {other:.1f}")
    letters = [[_characters(text) for text in texts] for texts in (drawn, real)]
    value, other = (longest_copies(texts, _characters(training)) for texts in letters)
    unit = "characters in a row are in the training text"
    about = f"mean over {kind}: {other.mean():.1f}; the longest {value.max()} and {other.max()}"
    figures["copied"] = figure(value.mean(), unit, about)
    return figures


def _windows(data: Dataset, num: int, seed: int) -> np.ndarray:
    """Windows `[N, T]` from all over a text, which do not overlap; fewer of a short one."""
    starts = np.arange(0, len(data), data.window or 1)
    chosen = np.random.default_rng(seed).choice(starts, min(num, len(starts)), replace=False)
    return data.rows(chosen)["x"]


def _characters(text: str) -> np.ndarray:
    return np.array([ord(character) for character in text], np.int64)


def against_the_source(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Entropy of the source on the same windows, if known: no model has less.

    A window begins anywhere, so the source's figure is above its entropy rate.
    """
    source, model = MarkovText(), run.setup.model
    if run.record.spec.vocabulary != source.vocabulary:
        return {}
    metrics: dict[str, Metric] = {
        "source": lambda params, state, batch, key: -source.log_prob(batch["x"])
    }
    if isinstance(model, TractableDensity):
        metrics["model"] = default_metrics(model)["nll"]
    key, settings = jax.random.key(seed), run.record.config.evaluation
    found = gm.evaluate(
        model,
        run.params,
        data,
        key,
        metrics,
        state=run.state.state,
        batch_size=min(settings.batch_size, len(data)),
        devices=run.record.config.devices,
    )
    tokens = run.record.spec.num_dims
    own = nats_per_token(found["source"], tokens)
    kind = f"exact, of the same windows; the entropy rate is {source.entropy_rate:.4f}"
    figures = {"source_nats_per_token": figure(own, "nats a token", kind)}
    if "model" in found:
        value = relative_perplexity(found["model"], tokens, own)
        kind = "perplexity over the source's own of the same windows"
        figures["relative_perplexity"] = figure(value, "times", kind)
    return figures
