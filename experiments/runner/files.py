"""Files beside a run's own: outputs that can be written, a folder in use, compiled programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from genjax_models.core.files import cache_folder

LOCK = "lock"
PICTURES = (".png", ".svg", ".pdf")
"""What a picture's name may end in."""


def check_output(path: Path, suffixes: Collection[str] = (), name: str = "--out") -> None:
    """Refuses a file that cannot be written.

    Args:
        path: The file.
        suffixes: What its name may end in; with none, anything.
        name: The option or argument that gives it, for messages.

    Raises:
        ValueError: It ends otherwise, is a folder, or is to lie where no folder is.
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
