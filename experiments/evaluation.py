"""What is measured and drawn of a run: validation loss, final metrics, pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

import genjax_models as gm
from experiments import runs
from experiments.config import Evaluation
from experiments.registry import Setup
from genjax_models import plots
from genjax_models.core import Representation
from genjax_models.metrics import kind_of_likelihood
from genjax_models.training.devices import sampler
from genjax_models.training.hooks import read_json_lines

if TYPE_CHECKING:
    from genjax_models.data import Dataset
    from genjax_models.training import TrainState

VALIDATION_KEY = 0x76616C  # the same noise at every evaluation, so that they can be compared
NUM_PICTURES = 64
LIKELIHOODS = ("nll", "bits_per_dim")
UNITS = {
    "nll": "nats an example",
    "bits_per_dim": "bits an entry",
    "reconstruction_error": "squared, data in 0..1",
}


def validation_loss(
    setup: Setup, data: Dataset, settings: Evaluation
) -> Callable[[TrainState], dict[str, float]]:
    """A function of the state: each player's loss and terms on held-back data, with the EMA.

    Args:
        setup: The model and its losses.
        data: The held-back examples.
        settings: How many to use, and how many at once.
    """
    num = min(len(data), settings.examples)
    size = min(num, settings.batch_size)
    rows = data.rows(np.arange(num - num % size))  # whole batches, so that one program does
    batches = {k: jnp.asarray(v.reshape(-1, size, *v.shape[1:])) for k, v in rows.items()}
    losses = {name: player.loss for name, player in setup.model.players.items()}
    losses.update(setup.losses or {})

    @jax.jit
    def evaluate(state: TrainState, batches: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        def one(index_and_batch: tuple[jax.Array, Mapping[str, jax.Array]]) -> dict[str, jax.Array]:
            index, batch = index_and_batch
            key = jax.random.fold_in(jax.random.key(VALIDATION_KEY), index)
            metrics = {}
            for name, loss in losses.items():
                _, aux = loss(
                    state.ema, batch, key, state=state.state, step=state.step, train=False
                )
                metrics |= {f"{name}/{term}": value for term, value in aux.metrics.items()}
            return metrics

        indices = jnp.arange(num // size)
        return jax.tree.map(jnp.mean, jax.lax.map(one, (indices, batches)))

    return lambda state: {k: float(v) for k, v in evaluate(state, batches).items()}


def final_metrics(
    run: runs.Run, data: Dataset, *, num_samples: int | None = None, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Every metric that the model's kind allows, each with its unit and what kind of figure it is.

    Args:
        run: The run.
        data: The split to evaluate on.
        num_samples: Importance samples an example; None takes the run's own number.
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
    return {
        name: {
            "value": float(value),
            "unit": UNITS.get(name, ""),
            "kind": kind if name in LIKELIHOODS else "mean over the split",
        }
        for name, value in sorted(values.items(), key=lambda item: item[0] not in LIKELIHOODS)
    }


def final_terms(run: runs.Run, data: Dataset) -> dict[str, dict[str, Any]]:
    """The terms of the players' losses, and what they watch: means over whole batches of a split.

    Args:
        run: The run.
        data: The split to evaluate on.
    """
    settings = dataclasses.replace(run.record.config.evaluation, examples=len(data))
    values = validation_loss(run.setup, data, settings)(run.state)
    return {
        name: {"value": value, "unit": "as trained", "kind": "mean over batches of the split"}
        for name, value in values.items()
    }


def draw_samples(run: runs.Run, num: int, seed: int) -> np.ndarray:
    """`num` samples `[num, *shape]` in the data's units, drawn from the averaged parameters.

    Sample i is a function of the seed and of i alone, however many there are and on what devices.
    """
    devices = run.record.config.devices or jax.device_count()
    even = -(-num // devices) * devices  # each device draws as many
    condition = run.setup.condition(even)

    def sample(learned: tuple[Any, Any], key: jax.Array) -> jax.Array:
        params, state = learned
        return run.setup.model.sample(params, key, even, state=state, **condition)

    draw = sampler(sample, devices)
    return np.asarray(draw((run.params, run.state.state), jax.random.key(seed)))[:num]


def reconstruct(run: runs.Run, data: Dataset, num: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The first examples and what comes back of them through their codes.

    Returns:
        Two arrays `[num, *shape]`; None if the model has no codes.
    """
    model = run.setup.model
    if not isinstance(model, Representation):
        return None
    rows = data.rows(np.arange(min(num, len(data))))
    condition = {k: jnp.asarray(rows[k]) for k in run.setup.condition(1)}

    @jax.jit
    def there_and_back(x: jax.Array) -> jax.Array:
        z = model.encode(run.params, x, state=run.state.state, **condition)
        return model.decode(run.params, z, state=run.state.state, **condition)

    return rows["x"], np.asarray(there_and_back(jnp.asarray(rows["x"])))


def sample_columns(run: runs.Run) -> int | None:
    """Samples in a row of a grid: one a class, where they are conditioned on labels."""
    classes = run.record.spec.num_classes
    labelled = "label" in run.setup.condition(1) and classes is not None and classes <= 16
    return classes if labelled else None


def write_pictures(run: runs.Run, data: Dataset) -> None:
    """Writes samples, reconstructions (where there are codes) and curves into the run directory.

    Args:
        run: The run.
        data: The split whose examples are reconstructed.
    """
    directory, spec = run.record.directory, run.record.spec
    columns = sample_columns(run)
    num = NUM_PICTURES if columns is None else 8 * columns
    images = draw_samples(run, num, seed=run.record.config.seed)
    plots.save(plots.samples(images, spec, columns), directory / runs.SAMPLES)
    pairs = reconstruct(run, data, NUM_PICTURES // 2) if len(spec.shape) == 3 else None
    if pairs is not None:
        picture = plots.reconstructions(*pairs, spec.levels)
        plots.save(picture, directory / runs.RECONSTRUCTIONS)
    rows = read_json_lines(directory / runs.METRICS)
    plots.save(plots.curves(rows), directory / runs.CURVES)


def save_samples(samples: np.ndarray, run: runs.Run, path: Path) -> None:
    """Writes samples as a picture, or as arrays if the file is an `.npz`.

    Raises:
        ValueError: The suffix says no format that can be written.
    """
    if path.suffix == ".npz":
        np.savez_compressed(path, samples=samples)
    elif path.suffix in (".png", ".svg", ".pdf"):
        plots.save(plots.samples(samples, run.record.spec, sample_columns(run)), path)
    else:
        raise ValueError(f"--out is {path}: give a name that ends in .png, .svg, .pdf or .npz")
