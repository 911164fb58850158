"""Integrity of a checkpoint: checksums of its files, and a JSON page that describes its arrays.

A file that cannot be read now (a server that is away, no memory, too many open files) is not
damaged. Only a file that was read, and is not what was written, is damaged.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_models.core.files import replaced

CHECKSUMS = "checksums.json"
"""File in a folder with the size and the CRC-32 of each other file."""
_CHUNK = 2**20
_STATUS = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED")
_OF_CONTENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_NOT_TOLD = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EDOM, errno.ERANGE}


class Damaged(Exception):
    """A file is not what was written; the message says which, and what is wrong with it."""


class Refused(Exception):
    """A checkpoint belongs to another structure of state, or to another run."""


def _checksum_of_json(values: Any) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def write_checksums(folder: Path) -> None:
    """Writes the checksums of a folder's files into the folder.

    Raises:
        OSError: A file cannot be read, or the checksums cannot be written.
    """
    files = {name: _size_and_checksum(folder / name) for name in _files(folder)}
    with replaced(folder / CHECKSUMS) as path:
        page = {"files": files, "checksum": _checksum_of_json(files)}
        path.write_text(json.dumps(page, indent=1), "utf-8")


def check_files(folder: Path, part: int = 0, parts: int = 1) -> bool:
    """Reads a folder's files and compares them with their checksums.

    Args:
        folder: Folder of a checkpoint.
        part: Index of the share of the files to read, from 0.
        parts: Number of shares.

    Returns:
        Whether the folder has checksums that are intact themselves, so that its files are known
        to be what was written.

    Raises:
        Damaged: A file is missing, or is not what was written.
        OSError: A file cannot be read now, which says nothing of its content.
    """
    try:
        page = json.loads((folder / CHECKSUMS).read_bytes())
        files = page["files"]
        if page["checksum"] != _checksum_of_json(files):
            return False
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False
    for name in sorted(files)[part::parts]:
        try:
            found = _size_and_checksum(folder / name)
        except _OF_CONTENT as error:
            raise Damaged(f"its file {name} is missing") from error
        if found != files[name]:
            raise Damaged(f"its file {name} does not have the checksum that was saved with it")
    return True


def is_passing(error: BaseException) -> bool:
    """Whether an exception is the system's (files, memory) and not due to a file's content.

    Orbax, TensorStore and asyncio wrap what the system raises: as a cause, a context, one of a
    group, or as text alone.
    """
    return any(_is_of_system(e) for e in _chain(error, set()))


def _is_of_system(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and not isinstance(error, _OF_CONTENT):
        return error.errno not in _NOT_TOLD
    text = str(error)
    return any(word in text for word in (*_STATUS, *_SYSTEM_MESSAGES))


_SYSTEM_MESSAGES = tuple({os.strerror(n) for n in errno.errorcode if n not in _NOT_TOLD})


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
        yield from _chain(other, seen)


def _files(folder: Path) -> list[str]:
    found = (Path(where) / name for where, _, names in os.walk(folder) for name in names)
    return sorted(path.relative_to(folder).as_posix() for path in found if path.name != CHECKSUMS)


def _size_and_checksum(path: Path) -> list[int]:
    size, crc = 0, 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return [size, crc]


def make_page(arrays: Any, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the page of a checkpoint: shape, type and checksum of each array, and `extra`."""
    described = {
        name: {"shape": list(a.shape), "dtype": str(a.dtype), "checksum": _checksum(a)}
        for name, a in _by_path(arrays).items()
    }
    page = json.loads(json.dumps({"arrays": described, "extra": extra}))  # as it will be read
    return {**page, "checksum": _checksum_of_json(page)}


def read_page(folder: Path) -> dict[str, Any]:
    """Reads the page of a checkpoint.

    Raises:
        Damaged: The page is not what was written.
        OSError: The page cannot be read now.
    """
    try:
        page = json.loads((folder / "page" / "metadata").read_bytes())
        if page.pop("checksum") != _checksum_of_json(page):
            raise Damaged("its page does not have the checksum that was saved with it")
        return page
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Damaged("its page is missing") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Damaged(f"its page cannot be understood, {type(error).__name__}") from error


def check_structure(folder: Path, saved: Mapping[str, Any], abstract: Any) -> None:
    """Raises unless a checkpoint's arrays have the shapes and types of `abstract`.

    Raises:
        Refused: They differ.
    """
    wanted = {name: [list(a.shape), str(a.dtype)] for name, a in _by_path(abstract).items()}
    found = {name: [a["shape"], a["dtype"]] for name, a in saved.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise Refused(
                f"the checkpoint {folder} is of another model or optimizer: it has "
                f"{_in_words(found.get(name))} at {name}, where this run has "
                f"{_in_words(wanted.get(name))}; give the settings that it was saved with, or "
                "another folder"
            )


def check_arrays(page: Mapping[str, Any], arrays: Any) -> None:
    """Raises unless arrays have the checksums on the page.

    Raises:
        Damaged: An array's checksum differs.
    """
    for name, array in _by_path(arrays).items():
        wanted, found = page["arrays"][name]["checksum"], _checksum(array)
        if None not in (wanted, found) and wanted != found:
            raise Damaged(f"{name} does not have the checksum that was saved with it")


def on_host(array: Any) -> Any:
    """Returns the array in the host's memory, or as it is if other processes hold a part of it."""
    if isinstance(array, jax.Array) and not (
        array.is_fully_replicated or array.is_fully_addressable
    ):
        return array
    return np.asarray(array)


def _checksum(array: Any) -> int | None:
    """Returns the CRC-32 of an array's bytes, or None if other processes hold a part of it."""
    host = on_host(array)
    if isinstance(host, jax.Array):
        return None
    return zlib.crc32(np.ascontiguousarray(host).view(np.uint8).data)


def _in_words(array: Any) -> str:
    return f"{array[1]}{array[0]}" if array else "nothing"


def _by_path(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(p): a for p, a in jax.tree_util.tree_leaves_with_path(tree)}
