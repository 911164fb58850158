"""What is measured of a run: the loss on held-back data, the final metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

import genjax_models as gm
from experiments import runs
from experiments.config import Evaluation
from experiments.registry import Setup
from genjax_models.core import TractableDensity, random
from genjax_models.data import densities
from genjax_models.metrics import kind_of_likelihood
from genjax_models.metrics.divergence import kl_to_truth

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


def final_metrics(
    run: runs.Run, data: Dataset, *, num_samples: int | None = None, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Every metric that the model's kind allows, each with its unit and what kind of figure it is.

    Args:
        run: The run.
        data: The split to evaluate on.
        num_samples: Samples an example of a bound; None takes the run's own number.
        seed: Decides the noise.
    """
    settings = run.record.config.evaluation
    num_samples = num_samples or settings.num_samples
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
    kind = kind_of_likelihood(run.setup.model, num_samples) or ""
    if data.window is not None:
        kind += f", windows of {data.window} tokens, each without the text before it"
    units = UNITS if data.spec.levels else {**UNITS, "reconstruction_error": "squared"}
    metrics = {
        name: {
            "value": float(value),
            "unit": units.get(name, ""),
            "kind": kind if name in LIKELIHOODS else "mean over the split",
        }
        for name, value in sorted(values.items(), key=lambda item: item[0] not in LIKELIHOODS)
    }
    metrics |= _distance_from_truth(run, seed)
    for measure in run.setup.measures:
        metrics |= measure(run, data, seed)
    return metrics


def _distance_from_truth(run: runs.Run, seed: int) -> dict[str, dict[str, Any]]:
    """KL(truth || model), where the data are drawn from a density that is known."""
    model, make = run.setup.model, densities.DENSITIES.get(run.record.config.dataset)
    if make is None or not isinstance(model, TractableDensity) or run.setup.condition(1):
        return {}
    kl = kl_to_truth(model, run.params, make(), jax.random.key(seed), state=run.state.state)
    kind = f"estimate on fresh points of the truth, standard error {kl.standard_error:.2g}"
    return {"kl_to_truth": {"value": kl.value, "unit": "nats", "kind": kind}}


def final_terms(run: runs.Run, data: Dataset) -> dict[str, dict[str, Any]]:
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
