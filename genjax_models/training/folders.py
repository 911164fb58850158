"""The folders of a run's checkpoints: of each step, moved aside, and left over."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import jax

_DAMAGED = re.compile(r"\d+\.damaged\d*")
_LEFT = ".orbax-checkpoint-tmp"
"""In the name of what is not a checkpoint yet, or no more."""


def all_steps(directory: str | Path) -> list[int]:
    """The steps of the checkpoints in a folder, in order; none where there is no folder.

    Raises:
        OSError: The folder cannot be read now.
    """
    return sorted(int(name) for name in _folders(directory) if name.isdigit())


def latest_step(directory: str | Path) -> int | None:
    """The step of the newest checkpoint, or None where there is none."""
    return max(all_steps(directory), default=None)


def all_damaged(directory: str | Path) -> list[str]:
    """The names of the damaged checkpoints that were moved aside in a folder."""
    return sorted(name for name in _folders(directory) if _DAMAGED.fullmatch(name))


def move_aside(where: Path) -> str:
    """Renames a damaged checkpoint; what came of it, in words."""
    taken, number = all_damaged(where.parent), 1
    while (name := f"{where.name}.damaged{number if number > 1 else ''}") in taken:
        number += 1
    if jax.process_index() == 0:
        try:
            where.rename(where.with_name(name))
        except OSError as error:
            return f"it cannot be moved aside ({error.strerror})"
    return f"it is moved aside to {name}"


def delete(directory: Path, step: int) -> None:
    """Deletes a checkpoint; one that is half deleted has the name of none."""
    if jax.process_index() == 0:
        left = directory / f"{step}{_LEFT}-deleted"
        shutil.rmtree(left, ignore_errors=True)
        (directory / str(step)).rename(left)
        shutil.rmtree(left, ignore_errors=True)


def clear_away(directory: Path) -> None:
    """Deletes what saves that did not come to their end have left."""
    if jax.process_index() == 0:
        for name in _folders(directory):
            if _LEFT in name:
                shutil.rmtree(directory / name, ignore_errors=True)


def _folders(directory: str | Path) -> list[str]:
    try:  # not `is_dir`, which takes whatever goes wrong for a folder that is not there
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
