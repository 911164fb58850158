"""Arrays of `.npz` and `.npy` files: nothing is unpickled, and no more is read than lies there."""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

_MEMBER = ".npy"
_LONGEST_HEAD = 1 << 17
"""Bytes that are read for an array's shape and type; later versions allow 4 GiB."""
_READ_HEAD: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def names(path: Path) -> tuple[str, ...]:
    """The names of the arrays of an `.npz` file, none of which is read.

    Raises:
        ValueError: The file is broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(_MEMBER) for name in archive.namelist())
    except Exception as error:
        raise ValueError(_unreadable(path, error)) from error


def read(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
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
    return f"{path} is no readable .npz file: {words}; write it anew by numpy.savez"


def read_array(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """One array as `numpy.save` writes it.

    Args:
        file: Where it begins.
        size: Bytes that there are of it, so that a head which promises more costs nothing.
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
            f"{name!r} is said to be {dtype} of shape {shape}, which is more than lies there"
        )
    if num * dtype.itemsize > _memory():
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


def _memory() -> float:
    """Bytes of memory that this machine has, where the system says it."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf
