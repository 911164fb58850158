"""A decoded split kept as plain arrays, so that a set is decoded once and then read in an instant.

A folder of `.npy` files appears whole or not at all: it is written under another name and renamed.
Beside them lies a checksum of what they hold and of which set and split they are, so that a damaged
or exchanged file is never taken for the data.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from genjax_models.data import npz

_CHECKSUM = "sha256"
"""The file of the checksum."""


def read(folder: Path) -> dict[str, np.ndarray] | None:
    """The arrays of that folder by name, or None if they are not there or not what was written."""
    try:
        arrays = {file.stem: _read_file(file) for file in sorted(folder.glob("*.npy"))}
        expected = (folder / _CHECKSUM).read_text("ascii")
    except (OSError, ValueError, EOFError, MemoryError):
        return None  # cut short by a full disk or a careless copy: decode again
    x = arrays.pop("x", None)
    if x is None or expected != _checksum(folder, {"x": x, **arrays}):
        return None
    return {"x": x, **arrays}


def _read_file(file: Path) -> np.ndarray:
    with file.open("rb") as opened:
        return npz.read_array(opened, os.fstat(opened.fileno()).st_size, file.name)


def _checksum(folder: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the set's and the split's name and of every array, in the order of their names."""
    found = hashlib.sha256(f"{folder.parent.name}/{folder.name}".encode())
    for name, array in sorted(arrays.items()):
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def write(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Keeps the arrays in that folder, replacing what is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        (part / _CHECKSUM).write_text(_checksum(folder, arrays), "ascii")
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
