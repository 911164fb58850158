"""What commands write: whether a file can be, before the work, and a reader that goes away."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TextIO

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


def let_go(out: TextIO) -> None:
    """Has what is still to be written to a stream go nowhere: its reader has gone (`| head`).

    Python itself would complain otherwise when it flushes at its end.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
