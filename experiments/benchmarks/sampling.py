"""Speed of an autoregressive model's samples from its cache, beside full passes.

    python -m experiments.benchmarks.sampling pixelcnn [--num 1] [--repeats 5]

The parameters are fresh: how long sampling takes does not depend on what they are. A text model is
also timed as it generates, in chunks from a prompt.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import recipes
from experiments.runner.datasets import load_splits
from experiments.runner.files import keep_compiled_programs
from genjax_models.autoregressive.generation import generate
from genjax_models.autoregressive.model import Autoregressive
from genjax_models.autoregressive.sampling import positions_of

PROMPT, GENERATED = 10, 2000


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """The median time of a call, the first one left out."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def bench(name: str, num: int, repeats: int) -> dict[str, Any]:
    """Times an experiment's model.

    Args:
        name: The experiment.
        num: Examples that are sampled at once.
        repeats: Number of repetitions; the median counts.

    Returns:
        What was measured, ready for JSON; `ratio` is the time of one full pass for each position
        over the time of a sample from the cache.

    Raises:
        ValueError: The experiment's model is not autoregressive.
    """
    config = recipes.find(name).config
    data = load_splits(config).train
    model = recipes.find(name).build(config, data.spec).model
    if not isinstance(model, Autoregressive):
        raise ValueError(f"{name} trains no autoregressive model: choose pixelcnn, made, gpt, ...")
    batch = data.rows(np.arange(max(num, 2)))
    params, state = jax.jit(model.init)(jax.random.key(0), batch)
    one = {key: jnp.asarray(value[:num]) for key, value in batch.items()}
    sample = jax.jit(lambda p, key: model.sample(p, key, num, state=state))
    full = jax.jit(lambda p: model.forward(p, one, jax.random.key(0), state=state, train=False)[0])
    cached = seconds(lambda: sample(params, jax.random.key(1)), repeats)
    one_pass = seconds(lambda: full(params), repeats)
    positions = positions_of(model).num
    result = {
        "experiment": name,
        "dataset": data.spec.name,
        "examples": num,
        "positions": positions,
        "seconds_cached": cached,
        "seconds_by_full_passes": positions * one_pass,
        "ratio": positions * one_pass / cached,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }
    if data.spec.vocabulary:
        text = lambda: list(  # noqa: E731
            generate(model, params, jax.random.key(1), np.arange(PROMPT), GENERATED, state=state)
        )
        result["generated_tokens_per_second"] = GENERATED / seconds(text, repeats)
    return result


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", help="an experiment with an autoregressive model")
    parser.add_argument("--num", type=int, default=1, help="examples at once")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    keep_compiled_programs()
    print(json.dumps(bench(arguments.experiment, arguments.num, arguments.repeats), indent=2))


if __name__ == "__main__":
    main()
