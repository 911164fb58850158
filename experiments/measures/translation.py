"""Measures of translated images: against their partners, by a classifier, and for the eye."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import genjax_models as gm
from experiments.measures.images import classifier as classifier_of_run
from experiments.measures.images import frechet_figure
from experiments.runner import runs
from experiments.runner.datasets import load_splits
from experiments.runner.experiment import Figures, figure
from genjax_models import plots
from genjax_models.adversarial.cyclegan import CycleGAN
from genjax_models.adversarial.pix2pix import Pix2Pix
from genjax_models.data import Dataset
from genjax_models.data.transforms import resized

TRANSLATIONS = "translations.png"
CHUNK = 100
"""Images that are translated at a time."""
SHOWN = 12
"""Rows of the picture."""


def in_parts(translate: Callable[[jax.Array], jax.Array], x: np.ndarray) -> np.ndarray:
    """A translation of many images `[N, H, W, C]`, some at a time."""
    translate, size = jax.jit(translate), min(CHUNK, len(x))
    parts = []
    for i in range(0, len(x), size):
        part = x[i : i + size]
        filled = np.pad(part, [(0, size - len(part)), *[(0, 0)] * (x.ndim - 1)])  # one compilation
        parts.append(np.asarray(translate(jnp.asarray(filled)))[: len(part)])
    return np.concatenate(parts)


def error_of_pairs(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """The mean absolute error of translations, and that of the split's own mean image.

    The picture shows sources, translations and targets of the validation split.
    """
    model, spec = run.setup.model, run.record.spec
    assert isinstance(model, Pix2Pix) and spec.num_levels is not None
    key, top = jax.random.key(seed), spec.num_levels - 1

    def translate(source: jax.Array) -> jax.Array:
        return model.translate(run.params, source, key, state=run.state.state)

    def error(a: Any, b: Any) -> float:
        return float(np.mean(np.abs(a.astype(np.float64) - b)) / top)

    watched = load_splits(run.record.config).validation
    figures: Figures = {}
    for suffix, part in (("", data), ("_validation", watched)):
        if part is None:
            continue
        rows = part.rows(np.arange(len(part)))
        made, kind = in_parts(translate, rows[model.source]), f"{len(part)} images of {part.split}"
        mean = rows["x"].mean(axis=0)
        figures[f"l1{suffix}"] = figure(error(made, rows["x"]), "of the range", kind)
        figures[f"l1{suffix}_of_mean_image"] = figure(
            error(rows["x"], mean), "of the range", f"{kind}, all translated into their mean"
        )
        _picture(
            run, rows[model.source], made, rows["x"]
        )  # the last one is of the validation split
    return figures


def read_as_the_other_set(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Accuracy of the other set's classifier on examples, translated and as they were.

    That is how many are read as their own label, and how far they are from that set in the
    classifier's features. Labels are looked at here alone. The picture shows examples of X,
    translated and back again.
    """
    del data, seed  # the split's labels are what is needed, which the run's data have not
    config, model = run.record.config, run.setup.model
    settings = config.model
    assert isinstance(model, CycleGAN)
    test = settings.images_of_x(config, "test")
    rows = test.rows(np.arange(len(test)))
    classifier = classifier_of_run(config, settings.other)
    other = gm.load(settings.other, "test", config.data_dir)
    there = other.rows(np.arange(len(other)))["x"]
    made = in_parts(lambda x: model.x_to_y(run.params, x, state=run.state.state), rows["x"])
    show_cycles(run, rows["x"][: 2 * SHOWN])
    kind = f"{len(test):,} examples of {config.dataset}'s test split, {classifier.name}"
    figures: Figures = {}
    for suffix, x in (("", made), ("_untranslated", rows["x"])):
        scaled = resized(Dataset.from_arrays(x), *other.spec.shape[:2])
        as_read = scaled.rows(np.arange(len(x)))["x"]
        share = 100 * float(np.mean(classifier.predict(as_read) == rows["label"]))
        figures[f"labels_read{suffix}"] = figure(share, "% read as their own label", kind)
        figures[f"frechet_distance{suffix}"] = frechet_figure(
            classifier, as_read, there, f"to {settings.other}'s: "
        )
    return figures


def cycles(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Error of examples translated there and back; writes a picture of some."""
    del seed
    model, spec = run.setup.model, run.record.spec
    assert isinstance(model, CycleGAN) and spec.num_levels is not None
    rows = data.rows(np.arange(len(data)))

    def there_and_back(x: jax.Array) -> jax.Array:
        y = model.x_to_y(run.params, x, state=run.state.state)
        return model.y_to_x(run.params, y, state=run.state.state)

    show_cycles(run, rows["x"][: 2 * SHOWN])
    error = float(np.mean(np.abs(in_parts(there_and_back, rows["x"]).astype(float) - rows["x"])))
    kind = f"{len(data):,} examples, translated and back"
    return {"cycle_l1": figure(error / (spec.num_levels - 1), "of the range", kind)}


def show_cycles(run: runs.Run, x: np.ndarray) -> None:
    """A picture of examples of X, G(x) and F(G(x))."""
    model = run.setup.model
    assert isinstance(model, CycleGAN)
    y = in_parts(lambda x: model.x_to_y(run.params, x, state=run.state.state), x)
    _picture(run, x, y, in_parts(lambda y: model.y_to_x(run.params, y, state=run.state.state), y))


def _picture(run: runs.Run, *columns: np.ndarray) -> None:
    """Triples of images in rows of two triples."""
    triples = np.stack([column[: 2 * SHOWN] for column in columns], axis=1)
    flat = triples.reshape(-1, *triples.shape[2:])
    picture = plots.grid(flat, run.record.spec.num_levels, columns=2 * len(columns))
    plots.save(picture, run.record.directory / TRANSLATIONS)
