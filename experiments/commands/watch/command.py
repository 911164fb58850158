"""`python -m experiments watch`."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import PROGRAM, parse
from experiments.runner.config import PositiveInt, Seed, suggest

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
    """Where the animation and the report are written, watch/DENSITY by default."""


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
    check_folder(out)

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


def check_folder(out: Path) -> None:
    """Refuses a place that holds something else, before the work.

    Raises:
        ValueError: It is a file, cannot be written, or holds other files than `watch` writes.
    """
    there = next(place for place in (out, *out.parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"{there} is a file: --out must be a folder")
    others = sorted({p.name for p in out.iterdir()} - {GIF, PAGE}) if out.is_dir() else []
    if others:
        raise ValueError(f"{out} holds other files ({others[0]}): give another --out")
    if not os.access(there, os.W_OK):
        raise ValueError(f"{there} cannot be written: give another --out")
    print(f"watching into {out}", file=sys.stderr, flush=True)
