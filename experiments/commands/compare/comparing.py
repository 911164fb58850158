"""The comparison: each model has its turn, and what is done is not done again."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import recipes
from experiments.commands.compare import measuring, taxonomy
from experiments.commands.compare.clock import (
    CLOCK,
    COMPILE,
    SECONDS,
    Clock,
    CompileTime,
    Enough,
    Speedometer,
)
from experiments.commands.compare.contenders import Contender, choose
from experiments.commands.compare.settings import STATE, Settings, take_up
from experiments.measures.images import classifier
from experiments.runner import loading, runs, starting, train
from experiments.runner.config import Config
from experiments.runner.datasets import Splits, load_splits
from experiments.runner.experiment import Experiment, Setup
from experiments.runner.hooks import log_spaced
from experiments.runner.optimizers import make_optimizer
from genjax_models import training
from genjax_models.metrics import Extractor
from genjax_models.training import hooks

MEASURED, SAMPLES = "measured.json", "samples.npz"
SHARE = 0.9
"""How much of the time the steps are to take at the speed that was measured: what is written,
and a machine that is slower later on, have the rest."""
LOOKS = 6
SHOWN = 64
"""Samples that are shown."""


class Result(NamedTuple):
    """Outcome of one contender.

    Attributes:
        contender: The contender.
        directory: Its run directory.
        row: Its measurements (`measured.json`), or `failed`: the reason that there are none.
    """

    contender: Contender
    directory: Path
    row: Mapping[str, Any]


def load_images(settings: Settings) -> Splits:
    """The splits, of images with labels: a classifier is to read them.

    Raises:
        ValueError: There is no such set, or it is of something else.
    """
    config = Config(None, dataset=settings.dataset, **settings.images)
    splits = load_splits(config)
    spec = splits.train.spec
    if len(spec.shape) != 3 or spec.num_levels is None or spec.num_classes is None:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}"
            f"{' and no labels' if spec.num_classes is None else ''}: compare needs images"
            " [H, W, C] with labels, as digits and mnist are"
        )
    return splits


def compare(
    settings: Settings,
    out: Path,
    contenders: Sequence[Contender],
    tell: Callable[[Sequence[Result], Splits, Extractor], None],
) -> Sequence[Result]:
    """Trains and measures each contender that has not been.

    Args:
        settings: Settings of the comparison.
        out: The folder, new or of that very comparison.
        contenders: The models.
        tell: Called after each that is new, and at the end, with what there is so far: also of
            those that are not asked for now, in the order of the dataset's table.

    Returns:
        The results, as they were reported last.

    Raises:
        ValueError: The folder holds something else; or as of `load_images`.
        training.Interrupted: Ctrl-C; a checkpoint was saved.
    """
    splits = load_images(settings)
    known = take_up(out, settings)
    out.mkdir(parents=True, exist_ok=True)
    runs.write_json(out / STATE, known)
    extractor = classifier(Config(None, dataset=settings.dataset, **settings.images))
    table = choose(settings.dataset)
    rows = {c.experiment: row for c in table if (row := _measured(out, c)) is not None}
    results: list[Result] = []
    for i, contender in enumerate(contenders):
        print(f"{i + 1} of {len(contenders)}: {contender.title}", file=sys.stderr, flush=True)
        new = contender.experiment not in rows
        if new:
            plan = known["plans"].get(contender.experiment)
            if plan is None:
                plan = _plan(contender, settings, splits)
                known["plans"][contender.experiment] = plan
                runs.write_json(out / STATE, known)
            rows[contender.experiment] = _train_and_measure(
                contender, _directory(out, contender), settings, plan, splits, extractor
            )
        results = [
            Result(c, _directory(out, c), rows[c.experiment]) for c in table if c.experiment in rows
        ]
        if new or contender is contenders[-1]:
            tell(results, splits, extractor)
    return results


def _directory(out: Path, contender: Contender) -> Path:
    return out / "runs" / contender.experiment


def _measured(out: Path, contender: Contender) -> dict[str, Any] | None:
    """The row of a contender that has been measured in that folder."""
    path = _directory(out, contender) / MEASURED
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _plan(contender: Contender, settings: Settings, splits: Splits) -> dict[str, Any]:
    """How many steps a second a model makes, and so how many it is given.

    A learning rate that falls over the run must know the run's length before it begins.
    """
    budget = 60.0 * settings.minutes
    config = contender.configure(settings.dataset, settings.seed, 1_000_000, settings.images)
    setup = recipes.find(contender.experiment).build(config, splits.train.spec)
    compiling = CompileTime()
    speed = Speedometer(min(10.0, 0.05 * budget), compiling)
    options = {**train.fit_options(config), "log_every": 10**9}
    optimizer = setup.optimizer or make_optimizer(config.optimizer, config.steps)
    try:
        training.fit(
            setup.model,
            splits.train,
            optimizer,
            steps=config.steps,
            losses=setup.losses,
            hooks=[speed],
            **options,
        )
    except Enough:
        pass
    finally:
        compiling.close()
    fitting = max(2, int(SHARE * budget * speed.rate))
    steps = min(fitting, contender.most_steps or fitting)
    print(f"{speed.rate:.3g} steps/s: {steps:,} steps", file=sys.stderr, flush=True)
    return {"steps_per_second": round(speed.rate, 3), "steps": steps}


def _train_and_measure(
    contender: Contender,
    directory: Path,
    settings: Settings,
    plan: Mapping[str, Any],
    splits: Splits,
    extractor: Extractor,
) -> dict[str, Any]:
    """The row of one model; why there is none, where its training diverged."""
    config = contender.configure(settings.dataset, settings.seed, plan["steps"], settings.images)
    found = recipes.find(contender.experiment)
    sample = measuring.Sampler(
        found.build(config, splits.train.spec),
        min(measuring.CHUNK, settings.samples),
        config.devices,
    )
    try:
        run = _trained(found, config, directory, settings, splits, sample, extractor)
    except FloatingPointError as error:
        return {"failed": str(error)}
    row = _measure(contender, run, settings, splits, sample, extractor)
    runs.write_json(directory / MEASURED, row)
    return row


def _trained(
    found: Experiment[Any],
    config: Config[Any],
    directory: Path,
    settings: Settings,
    splits: Splits,
    sample: measuring.Sampler,
    extractor: Extractor,
) -> runs.Run:
    """The run, trained within its time."""
    try:
        if starting.check_start(directory, found, config) and runs.is_finished(directory):
            return loading.load_run(directory)
    except ValueError as error:
        raise ValueError(str(error).replace("--run-dir", "--out")) from error
    compiling, every = CompileTime(), config.log_every
    watched = splits.validation or splits.test
    looks = {
        -(-step // every) * every
        for step in log_spaced(max(1, config.steps // 2 ** (LOOKS - 1)), config.steps, LOOKS)
    }

    def build(config: Config[Any], spec: Any) -> Setup:
        setup = found.build(config, spec)
        size = config.evaluation.batch_size

        def clock(reports: Sequence[hooks.Report]) -> hooks.Hook:
            start = training.checkpoint.latest_step(directory / runs.CHECKPOINTS) or 0
            look = measuring.looker(setup, sample, extractor, watched, size)
            budget = 60.0 * settings.minutes
            return Clock(directory, start, budget, config.steps, every, look, looks, compiling)

        own = measuring.without_measures(setup)
        return dataclasses.replace(own, hooks=(*setup.hooks, clock))  # last: no hook is unseen

    try:
        run = train.train(dataclasses.replace(found, build=build), config, directory)
        return run or loading.load_run(directory)
    finally:
        compiling.close()


def _measure(
    contender: Contender,
    run: runs.Run,
    settings: Settings,
    splits: Splits,
    sample: measuring.Sampler,
    extractor: Extractor,
) -> dict[str, Any]:
    """All figures of a trained run, ready for JSON."""
    model, directory = run.setup.model, run.record.directory
    print(f"measuring {contender.title}", file=sys.stderr, flush=True)
    key = jax.random.key(settings.seed)
    drawing = sample.timed(run.params, run.state.state, key, settings.samples)
    np.savez_compressed(directory / SAMPLES, samples=drawing.samples[:SHOWN])
    bits = measuring.likelihood(
        run, splits.test, contender.num_samples, contender.annealing, settings.seed
    )
    figures = measuring.distances(extractor, drawing.samples, splits.test, settings.seed)
    used = hooks.read_json_lines(directory / CLOCK)[-1]
    milliseconds = drawing.milliseconds
    return {
        "kind": taxonomy.kind_of(model).name,
        "dequantized": taxonomy.is_dequantized(model),
        "codes": taxonomy.has_codes(model),
        "steps": int(run.state.step),
        "planned_steps": run.record.config.steps,
        "parameters": measuring.num_parameters(run.state.params),
        "train_seconds": round(used[SECONDS], 2),
        "compile_seconds": round(used[COMPILE], 2),
        "sample_ms": measuring.Measured(
            float(np.median(milliseconds)),
            min(milliseconds),
            max(milliseconds),
            f"median of {len(milliseconds)} times {sample.chunk}",
        )._asdict(),
        "sample_compile_seconds": round(drawing.compile_seconds, 2),
        "bits_per_dim": bits._asdict(),
        **{name: figure._asdict() for name, figure in figures.items()},
        "command": runs.command_line(run.record.experiment, run.record.config, directory),
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": runs.versions(),
    }
