"""The training of each learner, looked at on the way."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.commands.watch.learners import Learner, Look, Plane
from experiments.runner.hooks import AtSteps, log_spaced
from genjax_models import training
from genjax_models.data import Dataset, densities
from genjax_models.training.hooks import progress_bar

FRAMES, SIDE, POINTS = 12, 56, 2048
MARGIN = 0.1
"""Of the width of the data, on each side."""
POINTS_KEY = 0x7472757468


class Watched(NamedTuple):
    """A learner and what was seen of it.

    Attributes:
        learner: The model.
        looks: At growing numbers of steps.
    """

    learner: Learner
    looks: Sequence[Look]


def frame_steps(steps: int) -> tuple[int, ...]:
    """The steps that are shown, from the first to the last."""
    return log_spaced(1, steps, FRAMES)


def plane_of(density: densities.Density, data: Dataset) -> Plane:
    """A square about the data, and fresh points of the density that no model learns from."""
    x = data.rows(np.arange(len(data)))["x"]
    low, high = x.min(0), x.max(0)
    middle, half = (low + high) / 2, (0.5 + MARGIN) * float(np.max(high - low))
    left, bottom, right, top = (float(v) for v in (*(middle - half), *(middle + half)))
    points = jax.jit(density.sample, static_argnums=1)(jax.random.key(POINTS_KEY), POINTS)
    log_p = np.asarray(jax.jit(density.log_prob)(points), np.float64)
    return Plane((left, right, bottom, top), SIDE, np.asarray(points), log_p)


def watch(
    learners: Sequence[Learner], data: Dataset, plane: Plane, steps: int, seed: int
) -> list[Watched]:
    """Trains each learner, and looks at it at `frame_steps`.

    Args:
        learners: The models.
        data: Points of the density.
        plane: The part of the plane that is shown.
        steps: Updates of each.
        seed: Of parameters, data order and noise.
    """
    watched = []
    for i, learner in enumerate(learners):
        print(f"{i + 1} of {len(learners)}: {learner.title}", file=sys.stderr, flush=True)
        looks: list[Look] = []
        with progress_bar(steps) as bar:
            training.fit(
                learner.model,
                data,
                learner.optimizer,
                steps=steps,
                losses=learner.losses,
                seed=seed,
                batch_size=learner.batch_size,
                ema=0.99,
                log_every=max(1, steps // 10),
                hooks=[bar, AtSteps(frame_steps(steps), _looking(learner, plane, looks))],
            )
        watched.append(Watched(learner, looks))
    return watched


def _looking(learner: Learner, plane: Plane, looks: list[Look]) -> training.hooks.Hook:
    return lambda state, metrics: looks.append(learner.look(state, plane))
