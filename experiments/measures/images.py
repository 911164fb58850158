"""Figures that an experiment asks for beside those that its model's kind allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runner import runs, samples
from experiments.runner.datasets import load_splits
from experiments.runner.figures import Figures
from experiments.runner.needs import IMAGES, LABELS, LEVELS
from experiments.runner.registry import measure
from genjax_models import diffusion, plots
from genjax_models.core.preprocess import to_unit_range
from genjax_models.data import densities

if TYPE_CHECKING:
    from genjax_models.data import Dataset
    from genjax_models.metrics import Extractor, TrainedClassifier

NUM_POINTS = 50_000
PAIRS, PAIR_SIZE = 4, 10_000
NUM_IMAGES = 1_000
SUPER_RESOLUTION = "super_resolution.png"


def modes_of_points(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """How samples lie about the modes, of a density that is a mixture."""
    from genjax_models.metrics import mode_shares

    del data
    density = _truth(run)
    if not isinstance(density, densities.Mixture):
        return {}
    found = mode_shares(samples.draw_samples(run, NUM_POINTS, seed), density)
    kind = f"{NUM_POINTS:,} samples"
    truth = f"{kind}; {100 * found.expected_within:.2f} % of the truth"
    return {
        "within_3_sigma": figure(100 * found.within, "% of samples", truth),
        "modes": figure(found.covered, f"of {len(density.modes)}", kind),
        "mode_difference": figure(
            100 * found.largest_difference, "% of a mode's weight", f"largest, {kind}"
        ),
    }


def distance_of_points(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """The sliced Wasserstein distance to a density that is known, and a fresh sample's."""
    from genjax_models.metrics import sliced_wasserstein

    del data
    density = _truth(run)
    if density is None:
        return {}
    drawn = {"sliced_wasserstein": [], "sliced_wasserstein_of_truth": []}
    for key in jax.random.split(jax.random.key(seed), PAIRS):
        key_truth, key_fresh, key_sample = jax.random.split(key, 3)
        truth = density.sample(key_truth, PAIR_SIZE)
        model = samples.draw_samples(run, PAIR_SIZE, int(jax.random.bits(key_sample)))
        fresh = density.sample(key_fresh, PAIR_SIZE)
        for values, x in zip(drawn.values(), (model, fresh), strict=True):
            values.append(float(sliced_wasserstein(x, truth, key)))
    kind = f"mean over {PAIRS} pairs of {PAIR_SIZE:,} points"
    return {name: figure(np.mean(values), "", kind) for name, values in drawn.items()}


@measure(IMAGES, LEVELS, LABELS)
def distance_by_a_classifier(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Fréchet's distance of samples to the split, in the features of a classifier of the set.

    Where samples are conditioned on labels, also how many the classifier reads as asked; and how
    many are nearly training images.
    """
    from genjax_models.metrics import memorization

    reader = classifier(run.record.config)
    real = np.concatenate([batch["x"] for batch in data.batches(1000)])
    num = max(NUM_IMAGES, len(real))
    drawn = samples.draw_samples(run, num, seed)
    figures = {"frechet_distance": frechet_figure(reader, drawn, real)}
    if (asked := run.setup.condition(num).get("label")) is not None:
        share = 100 * np.mean(reader.predict(drawn) == np.asarray(asked))
        kind = f"{num:,} samples, {reader.name}"
        figures["labels_read"] = figure(share, "% read as asked", kind)
    training = load_splits(run.record.config).train
    known = training.rows(np.arange(len(training)))["x"]
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
    real = np.concatenate([batch["x"] for batch in data.batches(1000)])
    drawn = samples.draw_samples(run, len(real), seed)
    return {"fid": frechet_figure(load_inception(path, num_levels), drawn, real)}


def frechet_figure(
    extractor: Extractor, x: np.ndarray, reference: np.ndarray, kind: str = ""
) -> dict[str, Any]:
    """The Fréchet distance of examples to real ones, beside that of as many real ones.

    Args:
        extractor: What reads the features.
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
    """The classifier of the run's data set, or of another, trained for as long as is asked."""
    from genjax_models.metrics import load_classifier

    steps = config.evaluation.classifier_steps
    return load_classifier(dataset or config.dataset, **({} if steps is None else {"steps": steps}))


def super_resolution(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """How near enlarged test images are to what they were; a picture of some."""
    rows = data.rows(np.arange(min(NUM_IMAGES, len(data))))["x"]
    spec, model = run.record.spec, run.setup.model
    assert isinstance(model, diffusion.Diffusion) and model.observe is not None
    observed = model.observe(to_unit_range(jnp.asarray(rows), spec))
    drawn = samples.draw_samples(run, len(rows), seed)
    cubic = np.asarray(model.restore(observed))
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


def _truth(run: runs.Run) -> densities.Density | None:
    """The density that the data are of, where it is known."""
    make = densities.DENSITIES.get(run.record.config.dataset)
    return None if make is None else make()


def figure(value: Any, unit: str, kind: str) -> dict[str, Any]:
    """One of `Figures`."""
    return {"value": float(value), "unit": unit, "kind": kind}
