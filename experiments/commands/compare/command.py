"""`python -m experiments compare`."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from experiments.commands.arguments import PROGRAM, from_file, in_options, parse
from experiments.runner.config import PositiveFloat, PositiveInt, Seed, Size


@dataclasses.dataclass(frozen=True)
class CompareArguments:
    """Train one model of every family for the same time, and measure all by the same ruler."""

    config: Path | None = None
    """A file, JSON or YAML, to take options from; those on the line win."""
    dataset: str = "digits"
    """Images with labels: digits, mnist, a folder of images in a folder a class, or an .npz."""
    minutes: PositiveFloat = 2.0
    """Training time of each model; compiling and measuring come on top."""
    seed: Seed = 0
    """Decides everything but the speed of the machine."""
    out: Path | None = None
    """The folder of the comparison, compare/DATASET by default; goes on where one stopped."""
    models: tuple[str, ...] = ()
    """Experiments to compare, of those in the table of the dataset; all by default."""
    samples: PositiveInt = 1000
    """Samples of each model that are measured."""
    size: Size | None = None
    """Height and width of the images of a folder, or one number for both: each is scaled until its
    shorter side fits, and cropped; None takes them as they are."""
    crop: Literal["center", "random"] = "center"
    """Part of them that is kept; of training images a random one anew each time."""
    flip: bool = False
    """Mirror training images, left and right, by a fair coin."""
    color: Literal["gray", "rgb"] | None = None
    """Colour that the images of a folder are brought to; None is gray if all of them are."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Args:
        argv: The arguments after `compare`.

    Returns:
        The exit code: 1 if a model could not be trained.

    Raises:
        ValueError: What the user got wrong, in one line.
        KeyboardInterrupt: Ctrl-C; what is done is kept.
    """
    arguments = parse(CompareArguments, "compare", argv, from_file(CompareArguments(), argv))
    from experiments.commands.compare import comparing, contenders, outputs
    from experiments.commands.compare.settings import Settings
    from experiments.runner.config import Config
    from experiments.runner.datasets import with_absolute_paths
    from genjax_models import training

    dataset = with_absolute_paths(Config(None, dataset=arguments.dataset)).dataset
    chosen = contenders.choose(dataset, arguments.models)
    settings = Settings(
        dataset,
        arguments.minutes,
        arguments.seed,
        arguments.samples,
        arguments.size,
        arguments.crop,
        arguments.flip,
        arguments.color,
    )
    out = arguments.out or Path("compare") / Path(dataset).stem
    command = shlex.join([*PROGRAM.split(), "compare", *argv])
    results: Sequence[comparing.Result] = ()
    try:
        results = comparing.compare(settings, out, chosen, outputs.writer(settings, out, command))
    except training.Interrupted as stop:
        raise KeyboardInterrupt(f"step {stop.step} is saved; go on with: {command}") from stop
    except ValueError as error:
        raise ValueError(in_options(str(error), arguments)) from error
    print((out / outputs.TABLE).read_text("utf-8"), end="")
    print(f"page: {out / outputs.PAGE}")
    return int(any("failed" in result.row for result in results))
