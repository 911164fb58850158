"""`sample`: samples of a run in a picture, a text or arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import RunPath, parse
from experiments.runner.config import PositiveInt, Seed


@dataclasses.dataclass(frozen=True)
class SampleArguments:
    """Draw samples from a run's averaged parameters."""

    run: RunPath
    """The run directory."""
    num: PositiveInt = 64
    """Number of samples."""
    out: Path | None = None
    """A picture (.png, .svg, .pdf), .txt for texts, what the experiment itself writes (.mid, .gif,
    .wav), or .npz for the arrays; samples.png, or samples.txt of a text, by default."""
    seed: Seed = 0
    """Decides the samples."""


def main(argv: Sequence[str]) -> int:
    """The command `sample`."""
    arguments = parse(SampleArguments, "sample", argv)
    from experiments.runner import loading, samples
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    path = arguments.out or samples.default_file(run.record.spec)
    samples.check_file(path, run.record.spec, run.setup.writers)  # before the work
    samples.save_samples(samples.draw_samples(run, arguments.num, arguments.seed), run, path)
    print(f"{arguments.num} samples in {path}")
    return 0
