"""`decompress`: the examples of a compressed file again, by the run that compressed it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.commands.arguments import RunPath, parse
from experiments.runner.files import check_output


@dataclasses.dataclass(frozen=True)
class DecompressArguments:
    """Decompress a file by the run that compressed it."""

    run: RunPath
    """The run directory."""
    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN.gjx")]
    """The file that compress wrote."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT.npz")]
    """File to write the examples to, as x, and their labels, as y."""
    overwrite: bool = False
    """Replace a file that is there already."""


def main(argv: Sequence[str]) -> int:
    """The command `decompress`."""
    arguments = parse(DecompressArguments, "decompress", argv)
    from experiments.runner import loading
    from experiments.runner.files import keep_compiled_programs
    from genjax_models.applications import compression
    from genjax_models.core.files import replaced
    from genjax_models.metrics.map_dataset import progress

    check_output(arguments.out, (".npz",), "OUT.npz", overwrite=arguments.overwrite)
    keep_compiled_programs()
    file = arguments.file.read_bytes()
    header, *_ = compression.read(file)  # before the run is loaded
    run = loading.load_run(arguments.run)
    model: Any = run.setup.model
    with progress(header.num, "decompressing") as advance:
        rows = compression.decompress(
            model, run.params, file, state=run.state.state, progress=advance
        )
    arrays: dict[str, Any] = {"y" if name == "label" else name: a for name, a in rows.items()}
    with replaced(arguments.out) as fresh:
        np.savez_compressed(fresh, **arrays)
    print(f"{header.num:,} examples in {arguments.out}")
    return 0
