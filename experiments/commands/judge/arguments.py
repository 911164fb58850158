"""What the command `judge` is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from experiments.commands.judge.modes import ModeName
from experiments.runner.config import Allowed, PositiveInt, Seed


@dataclasses.dataclass(frozen=True)
class JudgeArguments:
    """Let a person judge what runs of one dataset draw, on a page on this machine."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")
    ] = ()
    """The run directories, all of one dataset; none is needed for --results and --csv."""
    mode: ModeName = "real_or_generated"
    """What is asked: whether one example is real, or which of two runs' examples looks more so."""
    num: PositiveInt = 50
    """Samples drawn of each run. Each is shown once beside as many real examples, or once in each
    pair of runs."""
    seed: Seed = 0
    """Decides the samples, the real examples and the order."""
    out: Path = Path("judgements.sqlite")
    """Where examples and answers are kept; a session that was stopped goes on."""
    port: Annotated[int, Allowed(0, 65_535)] = 8765
    """The page's port; 0 takes a free one."""
    host: str = "127.0.0.1"
    """The address to listen on: of this machine alone, unless another one is given."""
    results: bool = False
    """Print what was found so far, and serve nothing."""
    csv: Path | None = None
    """Write every judgement to this file, and serve nothing."""
