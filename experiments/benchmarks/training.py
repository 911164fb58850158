"""Speed of an experiment's training, and the loop's overhead over the bare step."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.runner.config import Config
from experiments.runner.datasets import load_splits
from experiments.runner.experiment import Experiment, Setup
from experiments.runner.files import keep_compiled_programs
from experiments.runner.optimizers import make_optimizer
from experiments.runner.train import fit_options
from genjax_models import training
from genjax_models.data import Dataset

WARM_UP = 2  # turns that are not counted: compiling, then finding out how much to dispatch at once


def bench(experiment: Experiment[Any], config: Config[Any], repeats: int) -> dict[str, Any]:
    """Times `fit` and the bare jitted step in turns, of `config.log_every` steps each.

    The bare step is called back to back on one batch that lies on the device; `fit` does all that
    it does in a run: it orders and gathers the data, logs, and calls hooks.

    Args:
        experiment: The experiment.
        config: Its configuration.
        repeats: Number of turns; the median counts.

    Returns:
        What was measured, ready for JSON: times in seconds, memory in MiB, `loop_overhead` as the
        ratio of the time of a step in `fit` to that of the bare step, less one.
    """
    data = load_splits(config).train
    setup = experiment.build(config, data.spec)
    optimizer = setup.optimizer or make_optimizer(config.optimizer, config.steps)
    bare, compile_seconds = _bare_step(setup, data, optimizer, config)
    keep_compiled_programs()  # not before, so that compiling is timed in full
    fit_times, bare_times = _in_turns(setup, data, optimizer, config, bare, repeats)
    overheads = [fit / step - 1.0 for fit, step in zip(fit_times, bare_times, strict=True)]
    seconds = statistics.median(fit_times)
    return {
        "experiment": experiment.name,
        "dataset": data.spec.name,
        "batch_size": config.batch_size,
        "steps_per_second": 1.0 / seconds,
        "examples_per_second": config.batch_size / seconds,
        "compile_seconds": compile_seconds,
        "peak_resident_mib": _peak_resident_mib(),
        "loop_overhead": statistics.median(overheads),
        "loop_overhead_range": [min(overheads), max(overheads)],
        "bare_steps_per_second": 1.0 / statistics.median(bare_times),
        "steps_per_repeat": config.log_every,
        "repeats": repeats,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def _bare_step(
    setup: Setup, data: Dataset, optimizer: Any, config: Config[Any]
) -> tuple[Callable[[int], float], float]:
    """The step alone, its state donated.

    Returns:
        A function of the number of steps that gives the seconds that each takes, and the seconds
        that compiling took.
    """
    batch = jax.device_put(data.rows(np.arange(config.batch_size) % len(data)))
    step = training.make_step(setup.model, optimizer, setup.losses, config.ema, config.accumulate)
    state = jax.jit(lambda b: training.init_state(setup.model, optimizer, b, config.seed))(batch)
    began = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    compile_seconds = time.perf_counter() - began

    def seconds_a_step(num: int) -> float:
        nonlocal state
        began = time.perf_counter()
        metrics = {}
        for _ in range(num):
            state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))
        return (time.perf_counter() - began) / num

    return seconds_a_step, compile_seconds


def _in_turns(
    setup: Setup,
    data: Dataset,
    optimizer: Any,
    config: Config[Any],
    bare: Callable[[int], float],
    repeats: int,
) -> tuple[list[float], list[float]]:
    """Seconds a step in `fit` and bare, a turn of one after a turn of the other."""
    num = config.log_every
    fit_times: list[float] = []
    bare_times: list[float] = []
    began = time.perf_counter()

    def hook(state: training.TrainState, metrics: Mapping[str, float]) -> None:
        nonlocal began
        fit_times.append((time.perf_counter() - began) / num)
        bare_times.append(bare(num))
        began = time.perf_counter()

    training.fit(
        setup.model,
        data,
        optimizer,
        steps=num * (WARM_UP + repeats),
        losses=setup.losses,
        hooks=[hook],
        **fit_options(config),
    )
    return fit_times[WARM_UP:], bare_times[WARM_UP:]


def _peak_resident_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0**2 if sys.platform == "darwin" else 1024.0)
