"""Files that are exchanged whole, and the folder of what is computed once."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """A new, empty file beside `path`, to write to, which takes its place in one go at the end.

    So a reader finds the file of before or the new one, whole. The name is fresh, and what lies at
    `path` is exchanged: a link there is not followed. Where writing fails, nothing is left.

    Args:
        path: The file; its suffix is the new file's as well.
    """
    path = Path(path)
    fresh = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield fresh
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def cache_folder() -> Path:
    """The folder that $GENJAX_CACHE names, else `genjax_models` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("GENJAX_CACHE") or Path(home, "genjax_models")).expanduser()
