"""Whether files are as they were written: their checksums, and what is no fault of theirs.

A file that cannot be read now (a server that is away, no memory, too many open files) is not
damaged. Only one that was read, and is not what was written, is.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genjax_models.core.files import replaced

CHECKSUMS = "checksums.json"
"""The file in a folder that says the size and the CRC-32 of each other one."""
_CHUNK = 2**20
_STATUS = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED")
_OF_CONTENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_NOT_TOLD = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EDOM, errno.ERANGE}


class Damaged(Exception):
    """A file is not what was written; says which, and what is wrong with it."""


def checksum_of_json(values: Any) -> int:
    """CRC-32 of what JSON can hold."""
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def write_checksums(folder: Path) -> None:
    """Writes the checksums of a folder's files into it.

    Raises:
        OSError: A file cannot be read, or the checksums cannot be written.
    """
    files = {name: _size_and_checksum(folder / name) for name in _files(folder)}
    with replaced(folder / CHECKSUMS) as path:
        page = {"files": files, "checksum": checksum_of_json(files)}
        path.write_text(json.dumps(page, indent=1), "utf-8")


def check(folder: Path, part: int = 0, parts: int = 1) -> bool:
    """Reads a folder's files and compares them with their checksums.

    Args:
        folder: The folder.
        part: Which share of the files to read, from 0.
        parts: Among how many they are shared.

    Returns:
        Whether the folder has checksums that are whole themselves, so that its files are known to
        be what was written.

    Raises:
        Damaged: A file is missing, or is not what was written.
        OSError: A file cannot be read now, which says nothing of its content.
    """
    try:
        page = json.loads((folder / CHECKSUMS).read_bytes())
        files = page["files"]
        if page["checksum"] != checksum_of_json(files):
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
    """Whether an exception tells of the system (files, memory), not of what a file holds.

    Orbax, TensorStore and asyncio wrap what the system says: as a cause, a context, one of a group,
    or as text alone.
    """
    return any(_is_of_system(e) for e in _chain(error, set()))


def _is_of_system(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and not isinstance(error, _OF_CONTENT):
        return error.errno not in _NOT_TOLD
    text = str(error)
    return any(word in text for word in (*_STATUS, *_SYSTEM_S_WORDS))


_SYSTEM_S_WORDS = tuple({os.strerror(n) for n in errno.errorcode if n not in _NOT_TOLD})


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
