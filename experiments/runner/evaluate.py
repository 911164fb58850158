"""Evaluation of a run: the loss on held-back data, and the final figures, one by one."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import genjax_models as gm
from experiments.runner import loading, needs, records, report, runs, starting
from experiments.runner.config import Config, Evaluation
from experiments.runner.datasets import load_split, load_splits
from experiments.runner.experiment import Figures, Setup
from experiments.runner.files import locked
from genjax_models.core import TractableDensity, random
from genjax_models.data import densities
from genjax_models.metrics import kl_to_truth, likelihood_kind

if TYPE_CHECKING:
    from genjax_models.data import Dataset
    from genjax_models.training import TrainState

VALIDATION_KEY = 0x76616C  # the same noise at every evaluation, so that they can be compared
LIKELIHOODS = ("nll", "bits_per_dim", "nats_per_token", "perplexity", "bits_per_character")
PARTS = "evaluation.json"
"""File of an unfinished evaluation's figures; it is removed when that is finished."""
HEARTBEAT = 20.0
"""Seconds between words of what takes long."""
_LEAVES_OUT = (ValueError, FileNotFoundError, ImportError)
"""Errors of a figure that cannot be measured: too few samples, no labels, a package, a file."""
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
        settings: Number of examples to use, and of examples at once.
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
    """Collects the measures of a run: name -> a function of its figures.

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
        "likelihood_of_examples": lambda: _likelihood_of_examples(run, data, num_samples, seed),
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


def _likelihood_of_examples(run: runs.Run, data: Dataset, num_samples: int, seed: int) -> Figures:
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


class Measured(NamedTuple):
    """Figures measured so far.

    Attributes:
        metrics: The figures.
        done: Names of what was measured.
        left_out: Name of what cannot be measured here -> why.
    """

    metrics: Figures = {}
    done: tuple[str, ...] = ()
    left_out: Mapping[str, str] = {}

    def pending(self, names: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns the names that are still to be measured."""
        return tuple(n for n in names if n not in self.done and n not in self.left_out)


def measure_all(
    figures: Mapping[str, Callable[[], Figures]],
    found: Measured,
    keep: Callable[[Measured], None],
) -> Measured:
    """Measures what has not been measured yet.

    A figure that cannot be measured is left out with a line that says why.

    Args:
        figures: Name -> a function of its figures.
        found: Figures measured before.
        keep: Is given all that was found so far, after each.
    """
    for name in found.pending(figures):
        where = f"{list(figures).index(name) + 1} of {len(figures)}"
        try:
            with announced(f"measuring {name.replace('_', ' ')} ({where})"):
                metrics = figures[name]()
            found = found._replace(metrics=found.metrics | metrics, done=(*found.done, name))
        except _LEAVES_OUT as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"{name.replace('_', ' ')} is left out: {why}", file=sys.stderr, flush=True)
            found = found._replace(left_out={**found.left_out, name: why})
        keep(found)
    return found


@contextlib.contextmanager
def announced(what: str, every: float = HEARTBEAT) -> Iterator[None]:
    """Says what begins, and from time to time that it still goes on."""
    from genjax_models.training.hooks import duration

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    def beat() -> None:
        while not ended.wait(every):
            say(f"{what}, for {duration(time.monotonic() - began)}")

    ended, began = threading.Event(), time.monotonic()
    say(what)
    watch = threading.Thread(target=beat, daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


def go_on(run: runs.Run, config: Config[Any], data: Dataset | None = None) -> runs.Run:
    """Measures of a trained run what has not been measured yet, and keeps each figure as it comes.

    Args:
        run: The run, whose samples and report are written.
        config: Its configuration, with what the evaluation is to be.
        data: The split to evaluate on; None loads it.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was measured is kept.
    """
    if config.evaluation.none:
        return run
    if data is None:
        splits = load_splits(config)
        starting.check_data(run.record.directory, *splits)
        data = splits.test
    record = dataclasses.replace(run.record, config=config)
    run = dataclasses.replace(run, record=record)
    result = runs.read_result(record.directory)
    found = Measured(result["metrics"], tuple(result.get("done", ())), result.get("left_out", {}))
    figures = figures_of(run, data, seed=config.seed)

    def write(found: Measured) -> None:
        keep(record, result, found, figures)

    try:
        measure_all(figures, found, write)
    except KeyboardInterrupt as stop:
        command = f"python -m experiments evaluate {shlex.quote(str(record.directory))}"
        raise KeyboardInterrupt(
            f"the run is trained, and what was measured is kept; go on with: {command}"
        ) from stop
    return run


def keep(
    record: runs.Record, result: Mapping[str, Any], found: Measured, figures: Mapping[str, Any]
) -> None:
    """Writes the report and the result with what has been measured so far."""
    goal = record.experiment.goal_of(record.config)
    values = {name: metric["value"] for name, metric in found.metrics.items()}
    result = {
        **result,
        "metrics": found.metrics,
        "done": found.done,
        "left_out": found.left_out,
        "pending": found.pending(figures),
        "goal": None if goal is None else str(goal),
        "reached": None if goal is None else goal.reached(values),
    }
    report.write(record, result)
    runs.write_json(record.directory / runs.RESULT, result)
    if not result["pending"]:
        kept = records.of_result(result, record.experiment.summary, record.experiment.family, goal)
        records.write(record.directory / records.RECORD, kept)


class Evaluated(NamedTuple):
    """Figures of a run.

    Attributes:
        metrics: The figures.
        data: The split that they are of.
        step: The step of the parameters.
    """

    metrics: Figures
    data: Dataset
    step: int


def evaluate(
    directory: Path,
    split: str | None = None,
    *,
    num_samples: int | None = None,
    seed: int = 0,
    inception: str | None = None,
    classifier_steps: int | None = None,
) -> Evaluated:
    """Measures a run; goes on with what an evaluation that was stopped has not measured.

    Args:
        directory: The run directory.
        split: The split; None is test, or the best that there is.
        num_samples: Samples an example of a bound; None takes the run's own number.
        seed: Decides the noise.
        inception: A file of Inception-v3; None takes the run's own.
        classifier_steps: Steps of a classifier; None takes the run's own number.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was measured is kept.
    """
    run = loading.load_run(directory)
    asked = {"inception": inception, "classifier_steps": classifier_steps}
    config, given = run.record.config, {k: v for k, v in asked.items() if v is not None}
    settings = dataclasses.replace(config.evaluation, none=False, **given)
    config = dataclasses.replace(config, evaluation=settings)
    run = dataclasses.replace(run, record=dataclasses.replace(run.record, config=config))
    splits = load_splits(config)
    starting.check_data(directory, *splits)
    data, step = splits.test if split is None else load_split(config, split), int(run.state.step)
    own = num_samples is None and seed == config.seed and data.split == splits.test.split
    if own and not given and runs.is_trained(directory) and not runs.is_finished(directory):
        with locked(directory):
            go_on(run, config, data)
        return Evaluated(runs.read_result(directory)["metrics"], data, step)
    of = {"split": data.split, "step": step, "num_samples": num_samples, "seed": seed, **given}
    path = directory / PARTS

    def write(found: Measured) -> None:
        with contextlib.suppress(OSError):  # a directory that is only read: nothing is kept
            runs.write_json(path, {"of": of, **found._asdict()})

    figures = figures_of(run, data, num_samples=num_samples, seed=seed)
    del figures["terms"]
    try:
        metrics = measure_all(figures, _kept(path, of), write).metrics
    except KeyboardInterrupt as stop:
        again = f"go on by the same command, of {shlex.quote(str(directory))}"
        raise KeyboardInterrupt(f"what was measured is kept; {again}") from stop
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return Evaluated(metrics, data, step)


def _kept(path: Path, of: dict[str, Any]) -> Measured:
    """Reads what an evaluation of that kind has measured before; nothing if there was none."""
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["of"] == of:
            return Measured(values["metrics"], tuple(values["done"]), {})
    except (OSError, ValueError, KeyError):
        pass
    return Measured()
