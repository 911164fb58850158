"""Figures of images: distances in a classifier's features, labels read, enlarged images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner import runs, samples
from experiments.runner.datasets import load_splits
from experiments.runner.experiment import Figures, figure, measure
from experiments.runner.needs import IMAGES, LABELS, LEVELS
from genjax_models import diffusion, plots
from genjax_models.core.preprocess import to_unit_range

if TYPE_CHECKING:
    from genjax_models.data import Dataset
    from genjax_models.metrics import Extractor, TrainedClassifier

NUM_IMAGES = 1_000
NUM_AT_HAND = 10_000
"""Examples of a set too large for memory that its figures are of."""
SUPER_RESOLUTION = "super_resolution.png"


def at_hand(data: Dataset) -> dict[str, np.ndarray]:
    """All examples of a set; of one that streams, some from all over it."""
    num = len(data) if data.in_memory else min(len(data), NUM_AT_HAND)
    return data.rows(np.linspace(0, len(data) - 1, num).round().astype(np.int64))


@measure(IMAGES, LEVELS, LABELS)
def distance_by_a_classifier(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Fréchet's distance of samples to the split, in the features of a classifier of the dataset.

    Where samples are conditioned on labels, also how many the classifier reads as asked; and how
    many are nearly training images.
    """
    from genjax_models.metrics import memorization

    reader = classifier(run.record.config)
    real = at_hand(data)["x"]
    num = max(NUM_IMAGES, len(real))
    drawn = samples.draw_samples(run, num, seed)
    figures = {"frechet_distance": frechet_figure(reader, drawn, real)}
    if (asked := run.setup.condition(num).get("label")) is not None:
        share = 100 * np.mean(reader.predict(drawn) == np.asarray(asked))
        kind = f"{num:,} samples, {reader.name}"
        figures["labels_read"] = figure(share, "% read as asked", kind)
    known = at_hand(load_splits(run.record.config).train)["x"]
    copied = memorization(drawn[:NUM_IMAGES], known, real[:NUM_IMAGES], extractor="pixels")
    held_out = f"held-out images {100 * copied.near_duplicates_held_out.value:.1f} %"
    figures["near_duplicates"] = figure(
        100 * copied.near_duplicates.value,
        "% nearer to a training image than one of those in a hundred to another",
        f"{copied.near_duplicates}; {held_out}",
    )
    return figures


@measure(IMAGES, LEVELS)
def distance_by_inception(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Fréchet's distance of samples to the split in Inception-v3's features: the FID."""
    from genjax_models.metrics import load_inception

    path, num_levels = run.record.config.evaluation.inception, data.spec.num_levels
    assert path is not None and num_levels is not None
    real = at_hand(data)["x"]
    drawn = samples.draw_samples(run, len(real), seed)
    return {"fid": frechet_figure(load_inception(path, num_levels), drawn, real)}


def frechet_figure(
    extractor: Extractor, x: np.ndarray, reference: np.ndarray, kind: str = ""
) -> dict[str, Any]:
    """The Fréchet distance of examples to real ones, beside that of as many real ones.

    Args:
        extractor: Extractor of features.
        x: Examples `[N, ...]`.
        reference: Real examples `[M, ...]`.
        kind: Begins the words beside the figure.
    """
    from genjax_models.metrics import frechet_distance, frechet_floor

    there, here = extractor.features(x), extractor.features(reference)
    found = frechet_distance(there, here, extractor=extractor.name)
    floor = frechet_floor(here, len(there), jax.random.key(0))
    kind += f"Fréchet distance {found}; as many real ones: {floor:.4g}"
    return figure(found.value, "", kind)


def classifier(config: Any, dataset: str | None = None) -> TrainedClassifier:
    """The classifier of the run's dataset, or of another, trained for as long as is asked."""
    from genjax_models.metrics import load_classifier

    steps = config.evaluation.classifier_steps
    options = {} if steps is None else {"steps": steps}
    if dataset is None and Path(config.dataset).expanduser().is_dir():
        # It reads the images as evaluation sees them: nothing is left to chance.
        data = load_splits(dataclasses.replace(config, split=None, crop="center", flip=False))
        if (config.size, config.color) != (None, None) or not data.train.in_memory:
            train, test = (
                dataclasses.replace(part, source=None, arrays=at_hand(part))
                for part in (data.train, data.test)
            )
            return load_classifier(train, test, **options)
    return load_classifier(dataset or config.dataset, **options)


def restored(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Error of enlarged test images beside their originals; writes a picture of some."""
    rows = data.rows(np.arange(min(NUM_IMAGES, len(data))))["x"]
    spec, model = run.record.spec, run.setup.model
    assert isinstance(model, diffusion.Diffusion) and model.condition_fn is not None
    low = model.condition_fn(to_unit_range(jnp.asarray(rows), spec))
    drawn = samples.draw_samples(run, len(rows), seed)
    cubic = np.asarray(model.restore(low))
    # Side by side: what is known, what was drawn, what it was.
    triples = np.stack([cubic, drawn, rows], axis=1)[:32]
    picture = plots.grid(triples.reshape(-1, *rows.shape[1:]), spec.num_levels, columns=12)
    plots.save(picture, run.record.directory / SUPER_RESOLUTION)
    top = float((spec.num_levels or 2) - 1)
    return {
        name: figure(
            -10 * np.log10(np.mean(((x.astype(float) - rows) / top) ** 2)),
            "dB",
            f"{len(rows):,} images",
        )
        for name, x in (("psnr", drawn), ("psnr_of_cubic_interpolation", cubic))
    }
