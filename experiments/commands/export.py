"""`export`: a run's model as two files that `gm.load_model` reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from experiments.commands.arguments import RunPath, parse
from experiments.runner.config import NonNegativeInt


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Write a run's model and averaged parameters, model.json and weights.safetensors.

    They are read by gm.load_model, in Python, without the experiments. The directory of a run that
    has ended holds them already.
    """

    run: RunPath
    """The run directory."""
    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """The folder to write; the run's own directory will do."""
    step: NonNegativeInt | None = None
    """Step of the checkpoint; by default the best of a run that watched for it, else the newest."""


def main(argv: Sequence[str]) -> int:
    """The command `export`.

    Raises:
        FileExistsError: The folder holds another model.
    """
    arguments = parse(ExportArguments, "export", argv)
    from experiments.runner import loading, runs
    from genjax_models import saving

    folder = arguments.folder.expanduser()
    if (folder / saving.MODEL).exists() and not folder.resolve() == arguments.run.resolve():
        raise FileExistsError(f"{folder} holds a model already: name another folder, or remove it")
    run = loading.load_run(arguments.run, arguments.step)
    runs.save_model(run, folder)
    print(f"{saving.MODEL} and {saving.WEIGHTS} of step {int(run.state.step)} in {folder}")
    return 0
