"""A decoded split kept as plain arrays, so that a set is decoded once and then read in an instant.

A folder of `.npy` files appears whole or not at all: it is written under another name and renamed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np


def read(folder: Path) -> dict[str, np.ndarray] | None:
    """The arrays of that folder by name, or None if they are not there or cannot be read."""
    try:
        arrays = {f.stem: np.load(f, allow_pickle=False) for f in sorted(folder.glob("*.npy"))}
    except (OSError, ValueError, EOFError):
        return None  # cut short by a full disk or a careless copy: decode again
    x = arrays.pop("x", None)
    return None if x is None else {"x": x, **arrays}


def write(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Keeps the arrays in that folder, replacing what is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        part.chmod(0o755)
        with contextlib.suppress(OSError):  # it is not there, or another process is as far as we
            shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # then the other process's arrays are as good
            os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Lets one process at a time prepare a set; the others wait, then find it prepared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no POSIX locks on Windows: two first loads at once may both prepare
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back, and so does the end of the process
