"""The models that are compared on each dataset.

All are unconditional, and all are of the same discrete data, so that bits/dim can be compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from experiments import recipes
from experiments.runner.config import Config, suggest

CHECKPOINTS, LOSSES, LOGS = 8, 10, 50
"""Number of times that a run is saved, validated and logged."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """An experiment as it is compared.

    Attributes:
        experiment: Its name.
        title: The model's name on the page.
        model: The model's settings that are not the experiment's own.
        config: Other settings, of the run.
        optimizer: Settings of the optimizer.
        most_steps: Steps after which more of them make the validation loss worse: those that the
            experiment was tuned to. None takes all the time that there is.
        num_samples: Samples an example of a likelihood that is known by a bound.
        annealing: Steps and chains of the annealing that finds log Z, of an unnormalised density.
    """

    experiment: str
    title: str
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    most_steps: int | None = None
    num_samples: int = 1
    annealing: tuple[int, int] | None = None

    def configure(
        self, dataset: str, seed: int, steps: int, images: Mapping[str, Any] = MappingProxyType({})
    ) -> Config[Any]:
        """The run's configuration: a function of the arguments alone.

        Args:
            dataset: The dataset's name, or the path of a folder of images or an .npz.
            seed: The run's seed.
            steps: Its length, over which its learning rate falls.
            images: Options of reading the images of a folder.
        """
        own = recipes.find(self.experiment).config
        log_every = max(1, steps // LOGS)
        optimizer = {"warmup_steps": min(own.optimizer.warmup_steps, steps // 10), **self.optimizer}
        return dataclasses.replace(
            own,
            dataset=dataset,
            split=None,
            seed=seed,
            steps=steps,
            log_every=log_every,
            checkpoint_every=log_every * max(1, LOGS // CHECKPOINTS),
            model=dataclasses.replace(own.model, **self.model),
            optimizer=dataclasses.replace(own.optimizer, **optimizer),
            evaluation=dataclasses.replace(
                own.evaluation,
                every=log_every * max(1, LOGS // LOSSES),
                split="validation",
                num_samples=1,  # of the run's own report; the ruler takes more
            ),
            **self.config,
            **images,
        )


DIGITS: Sequence[Contender] = (
    Contender("pixelcnn", "Gated PixelCNN", most_steps=1000),
    Contender("glow", "Glow", most_steps=500, num_samples=16),
    Contender("vae", "VAE", most_steps=1000, num_samples=100),
    Contender("ddpm", "Diffusion", {"conditional": False, "guidance": 1.0}, num_samples=50),
    Contender("energy_digits", "Energy-based model", annealing=(500, 100)),
    Contender(
        "gan_mnist", "GAN", {"channels": (32, 64), "r1": 0.2}, optimizer={"learning_rate": 5e-4}
    ),
)
"""Small models for small images: the digits' own experiments."""

IMAGES: Sequence[Contender] = (
    Contender(
        "pixelcnn",
        "Gated PixelCNN",
        {"channels": 24, "first_size": 7, "dropout": 0.0},
        {"batch_size": 16},
        {"learning_rate": 2e-3, "weight_decay": 0.0},
    ),
    Contender(
        "glow_mnist",
        "Glow",
        {"channels": 32, "steps": 4, "blocks": 1},
        {"batch_size": 32},
        {"learning_rate": 2e-3},
        num_samples=1,
    ),
    Contender(
        "vae",
        "VAE",
        {"latent_dim": 32},
        optimizer={"weight_decay": 0.0},
        num_samples=100,
    ),
    Contender(
        "ddpm_mnist",
        "Diffusion",
        {"channels": 16, "multipliers": (1, 2, 4), "blocks": 1},
        {"batch_size": 32},
        {"learning_rate": 1e-3},
        num_samples=10,
    ),
    Contender(
        "energy_digits",
        "Energy-based model",
        {"sampling_steps": 1000},
        annealing=(500, 50),
    ),
    Contender("gan_mnist", "GAN"),
)
"""Models for images of about 28 x 28 pixels."""

CONTENDERS: Mapping[str, Sequence[Contender]] = {"digits": DIGITS, "mnist": IMAGES}
"""Dataset -> what is compared on it; any other dataset of images has `IMAGES`."""


def choose(dataset: str, names: Sequence[str] = ()) -> Sequence[Contender]:
    """The contenders of a dataset, in the order of the table; all where none is named.

    Raises:
        ValueError: A name is none of theirs, or is given twice.
    """
    known = {c.experiment: c for c in CONTENDERS.get(dataset, IMAGES)}
    for name in names:
        if name not in known:
            raise ValueError(
                f"--models has {name!r}, which is not compared on {dataset}: {suggest(name, known)}"
            )
        if list(names).count(name) > 1:
            raise ValueError(f"--models has {name!r} more than once: name each model once")
    return [c for c in known.values() if not names or c.experiment in names]
