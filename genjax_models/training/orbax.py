"""Orbax, in the form that checkpoints use it: quiet, and for paths that it cannot take itself."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PLAIN = re.compile(r"[\w\s./=+,@%~:#-]*", re.ASCII)


@contextmanager
def composite(directory: Path) -> Iterator[tuple[Any, Any, Path]]:
    """Orbax's checkpointer of several items, its arguments, and the folder as Orbax may see it.

    Orbax is a second of importing, for those who save. It says nothing here: what goes wrong is
    raised.

    Args:
        directory: Where checkpoints are, from the root.
    """
    with _quiet(), _plain(directory) as where:
        import orbax.checkpoint as ocp

        # Synchronous: an asynchronous save would read arrays that the next step overwrites.
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as orbax:
            yield orbax, ocp.args, where


@contextmanager
def _plain(directory: Path) -> Iterator[Path]:
    r"""A path of that folder without the characters that Orbax takes for patterns or separators.

    It looks for its own files by patterns, of which `[`, `*` and `\` in the folder's name would
    become parts.
    """
    if os.name != "posix" or _PLAIN.fullmatch(str(directory)):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="genjax-") as folder:
        link = Path(folder) / "checkpoints"
        link.symlink_to(directory, target_is_directory=True)
        yield link


@contextmanager
def _quiet() -> Iterator[None]:
    """Neither Orbax nor its writers, which it does not wait for where one fails, say anything."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    before = sys.unraisablehook
    hook = functools.partial(_but_of_writers, before)
    if not isinstance(before, functools.partial) or before.func is not _but_of_writers:
        sys.unraisablehook = hook
    try:
        yield
        if sys.unraisablehook is hook:  # after a failure it stays, for the writers that are left
            sys.unraisablehook = before
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _but_of_writers(before: Callable[[Any], object], unraisable: Any) -> None:
    """Tells what could not be raised, but for writers that find their event loop closed.

    Those of a save that failed each would print a trace, whenever they come to their end, where the
    failure itself is told.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        before(unraisable)
