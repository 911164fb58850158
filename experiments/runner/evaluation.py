"""What is measured of a run: the loss on held-back data, the final metrics."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

import genjax_models as gm
from experiments.runner import needs, runs
from experiments.runner.config import Config, Evaluation
from experiments.runner.figures import Figures
from experiments.runner.registry import Setup
from genjax_models.core import TractableDensity, random
from genjax_models.data import densities
from genjax_models.metrics import kl_to_truth, likelihood_kind

if TYPE_CHECKING:
    from genjax_models.data import Dataset
    from genjax_models.training import TrainState

VALIDATION_KEY = 0x76616C  # the same noise at every evaluation, so that they can be compared
LIKELIHOODS = ("nll", "bits_per_dim", "nats_per_token", "perplexity", "bits_per_character")
UNITS = {
    "nll": "nats an example",
    "bits_per_dim": "bits an entry",
    "nats_per_token": "nats a token",
    "bits_per_character": "bits a character",
    "energy": "nats",
    "reconstruction_error": "squared, data in 0..1",
}


def validation_loss(
    setup: Setup, data: Dataset, settings: Evaluation
) -> Callable[[TrainState], dict[str, float]]:
    """A function of the state: each player's loss and terms on held-back data, with the EMA.

    Means over the examples, each of which counts once; what is watched, or compares the examples of
    a batch, is a mean over batches.

    Args:
        setup: The model and its losses.
        data: The held-back examples.
        settings: How many to use, and how many at once.
    """
    rows = next(data.batches(settings.examples))  # of a text, windows that do not overlap
    num = len(rows["x"])
    parts = -(-num // settings.batch_size)
    size = -(-num // parts)
    # One program does for all batches: the last is filled up with the first examples again, which
    # are not counted.
    order = np.arange(parts * size).reshape(parts, size)
    batches = {k: jnp.asarray(v[order % num]) for k, v in rows.items()}
    counted = {"counted": jnp.asarray(order < num)} if order.size > num else {}
    losses = {name: player.loss for name, player in setup.model.players.items()}
    losses.update(setup.losses or {})

    @jax.jit
    def evaluate(state: TrainState, batches: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        def one(part: Any) -> dict[str, jax.Array]:
            row, batch, counted = part
            key = random.from_row(jax.random.key(VALIDATION_KEY), row)
            metrics = {}
            for name, loss in losses.items():
                _, aux = loss(
                    state.ema,
                    batch,
                    key,
                    state=state.state,
                    step=state.step,
                    train=False,
                    **counted,
                )
                metrics |= {f"{name}/{term}": value for term, value in aux.metrics.items()}
            return metrics

        means = jax.lax.map(one, (jnp.asarray(order[:, 0]), batches, counted))
        counts = np.sum(order < num, axis=1)
        return {name: counts @ values / num for name, values in means.items()}

    return lambda state: {k: float(v) for k, v in evaluate(state, batches).items()}


def figures_of(
    run: runs.Run, data: Dataset, *, num_samples: int | None = None, seed: int = 0
) -> dict[str, Callable[[], Figures]]:
    """What there is to measure of a run: name -> a function of its figures.

    They are what the model's kind allows, the experiment's own measures, and the terms of the
    losses; `figures.measure_all` takes them one after the other.

    Args:
        run: The run.
        data: The split to evaluate on.
        num_samples: Samples an example of a bound; None takes the run's own number.
        seed: Decides the noise.
    """
    record = run.record
    num_samples = num_samples or record.config.evaluation.num_samples
    found: dict[str, Callable[[], Figures]] = {
        "of_examples": lambda: _of_examples(run, data, num_samples, seed),
        "distance_from_truth": lambda: _distance_from_truth(run, seed),
    }
    for measure in measures_of(run.setup, record.config):
        found[measure.__name__] = functools.partial(_checked, measure, run, data, seed)
    found["terms"] = lambda: final_terms(run, data)
    return found


def measures_of(setup: Setup, config: Config[Any]) -> tuple[Any, ...]:
    """The experiment's own measures, and the distance that is asked for by --evaluation."""
    from experiments.measures.images import distance_by_inception

    asked = () if config.evaluation.inception is None else (distance_by_inception,)
    return (*setup.measures, *asked)


def _checked(measure: Any, run: runs.Run, data: Dataset, seed: int) -> Figures:
    needs.check(measure.__name__, getattr(measure, "needs", ()), run.record.config, run.record.spec)
    return measure(run, data, seed)


def final_metrics(
    run: runs.Run, data: Dataset, *, num_samples: int | None = None, seed: int = 0
) -> Figures:
    """Every metric that the model's kind allows, each with its unit and what kind of figure it is.

    Args: As for `figures_of`.
    """
    found = figures_of(run, data, num_samples=num_samples, seed=seed)
    return {k: v for name, of in found.items() if name != "terms" for k, v in of().items()}


def _of_examples(run: runs.Run, data: Dataset, num_samples: int, seed: int) -> Figures:
    """Likelihoods, energies, reconstructions: what is a mean over the split."""
    settings = run.record.config.evaluation
    values = gm.evaluate(
        run.setup.model,
        run.params,
        data,
        jax.random.key(seed),
        state=run.state.state,
        batch_size=min(settings.batch_size, len(data)),
        num_samples=num_samples,
        devices=run.record.config.devices,
    )
    kind = likelihood_kind(run.setup.model, num_samples) or ""
    if data.window is not None:
        kind += f", windows of {data.window} tokens, each without the text before it"
    units = UNITS if data.spec.num_levels else {**UNITS, "reconstruction_error": "squared"}
    return {
        name: {
            "value": float(value),
            "unit": units.get(name, ""),
            "kind": kind if name in LIKELIHOODS else "mean over the split",
        }
        for name, value in sorted(values.items(), key=lambda item: item[0] not in LIKELIHOODS)
    }


def _distance_from_truth(run: runs.Run, seed: int) -> Figures:
    """KL(truth || model), where the data are drawn from a density that is known."""
    model, make = run.setup.model, densities.DENSITIES.get(run.record.config.dataset)
    if make is None or not isinstance(model, TractableDensity) or run.setup.condition(1):
        return {}
    kl = kl_to_truth(model, run.params, make(), jax.random.key(seed), state=run.state.state)
    kind = f"estimate on fresh points of the truth, standard error {kl.standard_error:.2g}"
    return {"kl_to_truth": {"value": kl.value, "unit": "nats", "kind": kind}}


def final_terms(run: runs.Run, data: Dataset) -> Figures:
    """The terms of the players' losses, and what they watch: means over a split.

    Args:
        run: The run.
        data: The split to evaluate on.
    """
    settings = dataclasses.replace(run.record.config.evaluation, examples=len(data))
    values = validation_loss(run.setup, data, settings)(run.state)
    return {
        name: {"value": value, "unit": "as trained", "kind": "mean over the split"}
        for name, value in values.items()
    }
