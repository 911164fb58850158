"""`augment`: a classifier that learns from a few labelled images, alone and with drawn ones.

The drawn images are a conditional VAE's that was trained on the same few images and on nothing
else. Each seed has its own few images; both classifiers of a seed see as many batches and have the
same start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import jax
import numpy as np
import optax

import genjax_models as gm
from experiments.commands.arguments import parse
from experiments.recipes.autoencoders import VAESettings, vae_setup
from experiments.runner.config import (
    Allowed,
    Config,
    NonNegativeFloat,
    Optimizer,
    PositiveInt,
    Seed,
)
from experiments.runner.files import PICTURES, check_output
from experiments.runner.optimizers import make_optimizer
from genjax_models import plots
from genjax_models.applications import augmentation
from genjax_models.data import Dataset
from genjax_models.metrics import Figure
from genjax_models.metrics.classifier import Classifier, read

BATCH = 50
"""Images a step, where there are as many."""


@dataclasses.dataclass(frozen=True)
class AugmentArguments:
    """Add a conditional VAE's samples to a few labelled images, and compare classifiers."""

    dataset: str = "digits"
    """A dataset of images with labels."""
    few: tuple[PositiveInt, ...] = (5, 10)
    """Labelled images of each class, a comparison for each number."""
    drawn: PositiveInt = 100
    """Images drawn of each class."""
    share: Annotated[float, Allowed(0, 1, above=True, below=True)] = 0.5
    """The fraction of a classifier's batches that is drawn."""
    model_steps: PositiveInt = 600
    """Length of the VAE's training."""
    latent_dim: PositiveInt = 8
    """Entries of its codes."""
    hidden: tuple[PositiveInt, ...] = (256,)
    """Widths of its encoder's layers; the decoder has the same, backwards."""
    weight_decay: NonNegativeFloat = 3.0
    """Of the VAE, which would otherwise know its few images by heart."""
    steps: PositiveInt = 400
    """Length of a classifier's training."""
    distorted: bool = False
    """Also move and turn the classifiers' images a little."""
    split: str = "test"
    """Split on which accuracies are measured; settings are chosen on validation."""
    seeds: tuple[Seed, ...] = (0, 1, 2, 3, 4)
    """Pairs of classifiers; at least two."""
    out: Path | None = None
    """A picture of the last VAE's images."""
    overwrite: bool = False
    """Replace a file that is there already."""


def main(argv: Sequence[str]) -> int:
    """The command `augment`.

    Args:
        argv: The arguments after the command.

    Raises:
        ValueError: Arguments or data that cannot be.
    """
    arguments = parse(AugmentArguments, "augment", argv)
    if len(arguments.seeds) < 2:
        raise ValueError("--seeds holds fewer than two: an interval needs pairs")
    if not arguments.few:
        raise ValueError("--few is empty: give at least one number of images")
    if arguments.out is not None:
        check_output(arguments.out, PICTURES, overwrite=arguments.overwrite)
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    for few in arguments.few:
        compare(arguments, few)
    return 0


def compare(arguments: AugmentArguments, few: int) -> Figure:
    """Accuracies without and with drawn images, for every seed: the mean difference in points."""
    print(f"{few} labelled images of each class")
    train = gm.load(arguments.dataset, gm.data.training_split(arguments.dataset))
    test, pairs = gm.load(arguments.dataset, arguments.split), []
    for seed in arguments.seeds:
        real = augmentation.few_per_class(train, few, seed)
        more = _drawn(arguments, real, seed)
        both = augmentation.augment(real, more, arguments.share)
        size = min(BATCH, len(real))  # of both, so that they see as many images
        pairs.append([_accuracy(arguments, data, test, size, seed) for data in (real, both)])
        print(f"  seed {seed}: {pairs[-1][0]:.2f} % alone, {pairs[-1][1]:.2f} % with", flush=True)
        if arguments.out is not None:
            rows = more.rows(np.arange(min(100, len(more))))["x"]
            plots.save(plots.samples(rows, more.spec, more.spec.num_classes), arguments.out)
    alone, with_drawn = np.array(pairs).T
    gain = augmentation.paired_gain(alone, with_drawn)
    low, high = gain.interval or (np.nan, np.nan)
    difference = f"{gain.value:+.2f} ({low:+.2f} to {high:+.2f}, {gain.num} pairs)"
    print(f"  mean {alone.mean():.2f} % alone, {with_drawn.mean():.2f} % with: {difference} points")
    return gain


def _drawn(arguments: AugmentArguments, real: Dataset, seed: int) -> Dataset:
    """Draws images of a conditional VAE that was trained on these images alone."""
    settings = VAESettings(
        network="mlp", hidden=arguments.hidden, latent_dim=arguments.latent_dim, conditional=True
    )
    model = vae_setup(settings, real.spec).model
    assert isinstance(model, gm.VAE)
    decay = Optimizer(learning_rate=1e-3, schedule="cosine", weight_decay=arguments.weight_decay)
    config = Config(settings, steps=arguments.model_steps, optimizer=decay)
    optimizer = make_optimizer(config.optimizer, config.steps)
    size = min(BATCH, len(real))
    options = {"steps": arguments.model_steps, "batch_size": size, "seed": seed, "ema": 0.99}
    state = gm.fit(model, real, optimizer, **options)
    key = jax.random.key(seed)
    return augmentation.sample_dataset(model, state.ema, key, arguments.drawn, state=state.state)


def _accuracy(
    arguments: AugmentArguments, data: Dataset, test: Dataset, batch_size: int, seed: int
) -> float:
    """Per cent of the labels that a classifier reads right, which has learned from `data`."""
    model = Classifier(data.spec, channels=(32,))
    if not arguments.distorted:
        model = dataclasses.replace(model, shift=0.0, distortion=0.0)
    schedule = optax.cosine_decay_schedule(3e-3, arguments.steps)
    options = {"steps": arguments.steps, "batch_size": batch_size, "seed": seed, "ema": 0.99}
    # A classifier has no `sample`, which training does not ask for.
    state = gm.fit(cast(Any, model), data, optax.adamw(schedule, weight_decay=1e-2), **options)
    rows = test.rows(np.arange(len(test)))
    return 100.0 * float(np.mean(read(model, state.ema, rows["x"])[1].argmax(-1) == rows["label"]))
