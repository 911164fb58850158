"""`python -m experiments watch`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import PROGRAM, parse
from experiments.runner.config import PositiveInt, Seed, suggest
from experiments.runner.files import check_folder

GIF, PAGE = "watch.gif", "watch.html"


@dataclasses.dataclass(frozen=True)
class WatchArguments:
    """Watch models of four kinds learn a density in the plane that is known."""

    density: str = "ring"
    """ring, grid, two_moons, checkerboard, pinwheel or spiral."""
    steps: PositiveInt = 4096
    """Updates of each model."""
    seed: Seed = 0
    """Decides the parameters' start, the order of the data and all noise."""
    out: Path | None = None
    """Folder of the animation and the report, watch/DENSITY by default."""
    overwrite: bool = False
    """Replace an animation and a report that are there already."""


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Args:
        argv: The arguments after `watch`.

    Raises:
        ValueError: What the user got wrong, in one line.
    """
    arguments = parse(WatchArguments, "watch", argv, WatchArguments())
    from genjax_models.data import densities

    name = arguments.density
    if name not in densities.DENSITIES:
        near = suggest(name, densities.DENSITIES)
        raise ValueError(f"--density is {name!r}, and there is no such density: {near}")
    out = arguments.out or Path("watch") / name
    check_folder(out, r"watch\.(gif|html)", overwrite=arguments.overwrite)
    print(f"watching into {out}", file=sys.stderr, flush=True)

    import jax
    import numpy as np

    import genjax_models as gm
    from experiments.commands.watch import drawing, learners, page, watching
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    density, data = densities.DENSITIES[name](), gm.load(name)
    plane = watching.plane_of(density, data)
    models = learners.learners(name, data.spec, arguments.steps)
    watched = watching.watch(models, data, plane, arguments.steps, arguments.seed)
    truth = np.exp(np.asarray(jax.jit(density.log_prob)(plane.lattice), np.float64))
    pngs = drawing.frames(watched, truth.reshape(plane.side, plane.side), plane, name)
    out.mkdir(parents=True, exist_ok=True)
    drawing.animate(pngs, out / GIF)
    command = shlex.join([*PROGRAM.split(), "watch", *argv])
    report = page.render(watched, pngs, (out / GIF).read_bytes(), name, command)
    (out / PAGE).write_text(report, "utf-8")
    for one in watched:
        kl = one.looks[-1].kl
        print(
            f"{one.learner.title}: KL(truth ‖ model) {kl.value:.4f} ± {2 * kl.standard_error:.4f}"
            f" nats ({one.learner.kind})"
        )
    print(f"page: {out / PAGE}, animation: {out / GIF}")
    return 0
