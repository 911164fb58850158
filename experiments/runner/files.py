"""Files beside a run's own: outputs that can be written, a folder in use, compiled programs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from genjax_models.core.files import cache_folder

LOCK = "lock"
PICTURES = (".png", ".svg", ".pdf")
"""Endings of a picture's name."""


def check_output(
    path: Path, suffixes: Collection[str] = (), name: str = "--out", *, overwrite: bool = False
) -> None:
    """Refuses a file that cannot be written, or is there already.

    Args:
        path: The file.
        suffixes: Endings that its name may have; with none, any.
        name: The option or argument that gives it, for messages.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        ValueError: It ends otherwise, is a folder, is to lie where no folder is, or is there.
    """
    *others, last = suffixes or (path.suffix,)
    if path.suffix not in (*others, last):
        known = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{name} is {path}: give a name that ends in {known}")
    if path.is_dir():
        raise ValueError(f"{name} is {path}, which is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise ValueError(
            f"{name} is {path}, and there is no folder {path.parent}: make it first, or give"
            " another name"
        )
    if path.is_file() and not overwrite:
        raise ValueError(
            f"{name} is {path}, which is there already: give --overwrite to replace it, or another"
            " name"
        )


def check_folder(folder: Path, own: str, *, overwrite: bool = False) -> None:
    """Refuses an output folder that cannot be made, or holds files already.

    Args:
        folder: The folder, as --out gives it.
        own: Regular expression of what the command itself writes there: paths below the folder.
        overwrite: Whether such files may be replaced.

    Raises:
        ValueError: It is a file, cannot be written, or holds files that may not be replaced.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"{there} is a file: --out must be a folder")
    files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()]
    others = [name for name in files if not re.fullmatch(own, name)]
    if others:
        raise ValueError(f"{folder} holds other files ({min(others)}): give another --out")
    if files and not overwrite:
        raise ValueError(
            f"--out is {folder}, which holds {min(files)} already: give --overwrite to replace what"
            " is there, or another name"
        )
    if not os.access(there, os.W_OK):
        raise ValueError(f"{there} cannot be written: give another --out")


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps a run directory for this process: two that train there would spoil each other's files.

    The system gives the lock back when a process ends, however it ends. A folder that is made for
    the lock, and holds nothing afterwards, is taken away again.

    Raises:
        ValueError: Another process trains there, or it is no folder.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file: --run-dir must be a folder")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK
    try:
        with _exclusive(path, fcntl, directory) as file:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):  # it is not empty, as it should be
            for folder in made:
                folder.rmdir()


@contextlib.contextmanager
def _exclusive(path: Path, fcntl: Any, directory: Path) -> Iterator[TextIO]:
    """The file of a lock, which this process has."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o666), "r+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(
                    f"{directory} is being trained by process {file.read().strip() or 'unknown'}:"
                    " wait for it, stop it, or give another --run-dir"
                ) from error
            if _is_the_file_of(file, path):
                yield file
                return
        # The process that had the lock took its file away before we got it: it is nobody's now.


def _is_the_file_of(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder, so that the next run need not compile.

    A folder that JAX was already told of (JAX_COMPILATION_CACHE_DIR) is left as it is, and
    JAX_ENABLE_COMPILATION_CACHE=false switches all of it off.
    """
    import jax

    folder = "jax_compilation_cache_dir"
    if getattr(jax.config, folder) is None:
        jax.config.update(folder, str(cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
