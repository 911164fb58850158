"""Arrays in files: `.npz` and `.npy`, never unpickled, and the cache of decoded splits.

A cached split is a folder of `.npy` files that appears whole or not at all: it is written under
another name and renamed. Beside them lies a checksum of their content and of the dataset and split
that they hold, so that a damaged or exchanged file is never taken for the data.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from genjax_models.core.files import replaced

_MEMBER = ".npy"
_LONGEST_HEAD = 1 << 17
"""Bytes that are read for an array's shape and type; later versions allow 4 GiB."""
_READ_HEAD: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def npz_names(path: Path) -> tuple[str, ...]:
    """Lists the names of the arrays of an `.npz` file, without reading them.

    Raises:
        ValueError: The file is broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(_MEMBER) for name in archive.namelist())
    except Exception as error:
        raise ValueError(_unreadable(path, error)) from error


def read_npz(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Some arrays of an `.npz` file by name; the others are not looked at.

    Raises:
        ValueError: The file is broken, or one of these arrays is damaged, larger than what is in
            the file, or of Python objects.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in wanted:
                member = name if name in archive.namelist() else name + _MEMBER
                with archive.open(member) as file:
                    arrays[name] = read_array(file, archive.getinfo(member).file_size, name)
    except Exception as error:  # a damaged archive can end in nearly any error
        raise ValueError(_unreadable(path, error)) from error
    return arrays


def _unreadable(path: Path, error: Exception) -> str:
    words = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    return f"{path} is not a readable .npz file: {words}; write it anew by numpy.savez"


def read_array(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """One array as `numpy.save` writes it.

    Args:
        file: File at the array's start.
        size: Bytes of it in the file, to refuse a header that promises more.
        name: Its name, for messages.

    Raises:
        ValueError: It is of Python objects, or not as long as its head says.
        EOFError: It is cut short.
    """
    head = file.read(_LONGEST_HEAD)
    start = io.BytesIO(head)
    version = np.lib.format.read_magic(start)
    if version not in _READ_HEAD:
        raise ValueError(f"{name!r} is written in an unknown way, {version}")
    shape, is_fortran, dtype = _READ_HEAD[version](start)
    if dtype.hasobject:
        raise ValueError(
            f"{name!r} is an array of Python objects, which are never read; save it as numbers, or"
            " as text of one type"
        )
    num = math.prod(shape)
    there = size - start.tell()
    if min(shape, default=0) < 0 or num * dtype.itemsize > there or (num and not dtype.itemsize):
        raise ValueError(
            f"{name!r} is declared {dtype} of shape {shape}, which is more than the file holds"
        )
    if num * dtype.itemsize > total_memory():
        raise ValueError(
            f"{name!r} takes {num * dtype.itemsize:,} bytes, more than this machine has"
        )
    array = np.empty(num, dtype)
    stored, filled = array.view(np.uint8), 0
    for part in _parts(start.read(), file, array.nbytes):
        stored[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    return array.reshape(shape, order="F" if is_fortran else "C")


def _parts(first: bytes, file: IO[bytes], num: int) -> Iterator[bytes]:
    """The next `num` bytes of what was read already and of the file, some at a time."""
    part = first[:num]
    while num:
        yield part
        num -= len(part)
        part = file.read(min(num, 1 << 20))
        if num and not part:
            raise EOFError("it is cut short")


def total_memory() -> float:
    """Bytes of memory that this machine has, or this container, where the system says it."""
    found = [math.inf]
    with contextlib.suppress(AttributeError, ValueError, OSError):
        found.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    with contextlib.suppress(ValueError, OSError):  # "max" where there is no limit
        found.append(float(Path("/sys/fs/cgroup/memory.max").read_text("ascii")))
    return min(found)


_CHECKSUM = "sha256"
"""The file of the checksum."""


def read_cache(folder: Path) -> dict[str, np.ndarray] | None:
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
        return read_array(opened, os.fstat(opened.fileno()).st_size, file.name)


def _checksum(folder: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the set's and the split's name and of every array, in the order of their names."""
    found = hashlib.sha256(f"{folder.parent.name}/{folder.name}".encode())
    for name, array in sorted(arrays.items()):
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def write_cache(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
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


def read_one(file: Path) -> np.ndarray | None:
    """The array of a file that `write_one` wrote, or None if there is none that is whole."""
    try:
        return _read_file(file)
    except (OSError, ValueError, EOFError, MemoryError):
        return None


def write_one(file: Path, array: np.ndarray) -> None:
    """Keeps an array in a file that is whole or not there; without room, in none."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as fresh, fresh.open("wb") as opened:
            np.save(opened, array, allow_pickle=False)


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
