"""`sample`: samples of a run in a picture, a text, arrays or a folder of images."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.commands.arguments import RunPath, in_options, parse
from experiments.runner.config import PositiveFloat, PositiveInt, SamplerName, Seed, flag

if TYPE_CHECKING:
    from experiments.runner import runs


@dataclasses.dataclass(frozen=True)
class SampleArguments:
    """Draw samples from a run's averaged parameters."""

    run: RunPath
    """The run directory."""
    num: PositiveInt = 64
    """Number of samples."""
    label: str | None = None
    """The class of all samples, by its name or number; None takes all classes in turn."""
    guidance: float | None = None
    """Of a diffusion: weight of classifier-free guidance; 1 is none, more exaggerates the class."""
    sampler: SamplerName | None = None
    """Of a diffusion: how it goes from noise to data."""
    steps: PositiveInt | None = None
    """Steps from noise to data: of a diffusion, or of an energy model's chains."""
    mean: bool = False
    """Of a VAE: take the mean of p(x | z), images without the noise of their pixels."""
    temperature: PositiveFloat | None = None
    """Of flows and autoregressive models: below 1, samples are likelier and less varied."""
    out: Path | None = None
    """A picture (.png, .svg, .pdf), .npz for the arrays x and label, .txt for texts, what the
    experiment itself writes (.mid, .gif, .wav), or a folder/ for one PNG file an image, with a
    subfolder for each class; samples.png, or samples.txt of a text, by default."""
    overwrite: bool = False
    """Replace what is there already."""
    seed: Seed = 0
    """Decides the samples."""


def main(argv: Sequence[str]) -> int:
    """The command `sample`."""
    arguments = parse(SampleArguments, "sample", argv)
    from experiments.runner import loading, samples
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    spec = run.record.spec
    path = arguments.out or samples.default_file(spec)
    samples.check_file(path, spec, run.setup.writers, overwrite=arguments.overwrite)
    options = sampling_options(run, arguments)
    label = None if arguments.label is None else spec.label_of(arguments.label)
    try:
        drawn = samples.draw_samples(run, arguments.num, arguments.seed, label, **options)
    except ValueError as error:
        raise ValueError(in_options(str(error), run.record.config)) from error
    samples.save_samples(drawn, run, path, label)
    print(f"{arguments.num} samples in {path}")
    return 0


def sampling_options(run: runs.Run, arguments: SampleArguments) -> dict[str, Any]:
    """The arguments of the model's `sample` that were given as options, `--label` not among them.

    Raises:
        ValueError: An option is given that the model does not take; the message names the others.
    """
    takes = options_of(run)
    values = {name: getattr(arguments, name) for name in OPTIONS}
    asked = {
        name: value for name, value in values.items() if value is not None and value is not False
    }
    for name in [name for name in asked if name not in takes]:
        raise ValueError(
            f"{flag(name)} is given, but {arguments.run} is a run of {run.record.experiment.name},"
            f" whose samples take {', '.join(map(flag, takes)) or 'no such options'}"
        )
    from experiments.recipes.diffusion import SAMPLERS
    from genjax_models.diffusion.samplers import linear_timesteps

    made = {"sampler": SAMPLERS.__getitem__, "timesteps": linear_timesteps}
    given = {takes[name]: value for name, value in asked.items() if name != "label"}
    return {name: made[name](v) if name in made else v for name, v in given.items()}


OPTIONS = ("label", "guidance", "sampler", "steps", "mean", "temperature")
"""Options that set what a model's `sample` takes."""


def options_of(run: runs.Run) -> dict[str, str]:
    """Each of `OPTIONS` that a run takes -> the argument of its model's `sample` that it sets.

    A model says it by its signature; labels, and guidance towards them, are of conditional runs.
    """
    arguments = inspect.signature(run.setup.model.sample).parameters
    own = {name: name for name in OPTIONS}
    if "timesteps" in arguments:
        own["steps"] = "timesteps"
    if "label" not in run.setup.condition(1):
        del own["label"], own["guidance"]
    return {name: argument for name, argument in own.items() if argument in arguments}
