"""Samples of a diffusion run by sampler and number of steps: how good, and how long they take.

    python -m experiments.benchmarks.samplers RUN [--num 1000] [--steps 10 20 50 250 1000]

Prints a row for each as it is measured, the Fréchet distance to the test split beside what as many
real examples would be expected at, and keeps them in the run's `samplers.json`; a row that stands
there is not measured again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.recipes.diffusion import SAMPLERS
from experiments.runner import loading, runs, samples
from experiments.runner.config import SamplerName
from experiments.runner.datasets import load_splits
from experiments.runner.files import keep_compiled_programs
from genjax_models.diffusion import linear_timesteps
from genjax_models.metrics import frechet_distance, frechet_floor, load_classifier

TABLE = "samplers.json"


def measure(
    run: runs.Run, real: np.ndarray, sampler: SamplerName, steps: int, num: int
) -> dict[str, Any]:
    """One row of the table.

    Args:
        run: A run of a diffusion of images.
        real: Examples to compare with `[M, *shape]`.
        sampler: The sampler's name.
        steps: Its number of steps, all even.
        num: Number of samples.
    """
    options = {
        **run.setup.sampling,
        "sampler": SAMPLERS[sampler],
        "timesteps": linear_timesteps(steps),
    }
    chosen = dataclasses.replace(run, setup=dataclasses.replace(run.setup, sampling=options))
    began = time.process_time()
    drawn = samples.draw_samples(chosen, num, seed=0)
    seconds = time.process_time() - began
    classifier = load_classifier(run.record.config.dataset)
    x, y = classifier.features(drawn), classifier.features(real)
    found = frechet_distance(x, y, extractor=classifier.name)
    return {
        "sampler": sampler,
        "steps": steps,
        "samples": num,
        "frechet_distance": round(found.value, 4),
        "interval": [round(end, 4) for end in found.interval or ()],
        "floor": round(frechet_floor(y, num, jax.random.key(0)), 4),
        "cpu_seconds": round(seconds, 1),
        "extractor": found.extractor,
    }


def main() -> None:
    """Measures what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.samplers")
    parser.add_argument("run", type=Path)
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 20, 50, 250, 1000])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    arguments = parser.parse_args()
    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    test = load_splits(run.record.config).test
    real = np.concatenate([batch["x"] for batch in test.batches(1000)])
    path = arguments.run / TABLE
    rows = json.loads(path.read_text("utf-8")) if path.is_file() else []
    known = {(row["sampler"], row["steps"], row["samples"]) for row in rows}
    for steps in arguments.steps:
        for sampler in arguments.samplers:
            if (sampler, steps, arguments.num) in known:
                continue
            rows.append(measure(run, real, sampler, steps, arguments.num))
            runs.write_json(path, rows)
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
