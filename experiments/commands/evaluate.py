"""`evaluate`: the final metrics of a run directory, on any split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from experiments.commands.arguments import RunPath, parse
from experiments.commands.terminal import print_metrics
from experiments.runner.config import PositiveInt, Seed


@dataclasses.dataclass(frozen=True)
class EvaluateArguments:
    """Evaluate a run's averaged parameters on one split."""

    run: RunPath
    """The run directory."""
    split: str | None = None
    """The split to evaluate on; None is test, or the best that there is where there is none."""
    num_samples: PositiveInt | None = None
    """Samples an example of a bound; None takes the run's own number."""
    seed: Seed = 0
    """Decides the noise of the evaluation."""
    inception: str | None = None
    """A file of the FID's Inception-v3, by whose features samples of images are also measured;
    None takes the run's own."""
    classifier_steps: PositiveInt | None = None
    """Steps of the classifier by which samples are measured; None takes the run's own number."""


def main(argv: Sequence[str]) -> int:
    """The command `evaluate`."""
    arguments = parse(EvaluateArguments, "evaluate", argv)
    from experiments.runner import evaluate
    from experiments.runner.datasets import size_in_words
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    done = evaluate.evaluate(
        arguments.run,
        arguments.split,
        num_samples=arguments.num_samples,
        seed=arguments.seed,
        inception=arguments.inception,
        classifier_steps=arguments.classifier_steps,
    )
    print(f"{arguments.run} at step {done.step}, {size_in_words(done.data)}")
    print_metrics(done.metrics, done.data.split)
    return 0
