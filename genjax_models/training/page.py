"""The page of JSON beside a checkpoint's arrays: what they are, and what else was saved."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genjax_models.training.integrity import Damaged, checksum_of_json


class Refused(Exception):
    """A checkpoint is not of such a state as is asked for, or not of that run."""


def make(arrays: Any, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The page of arrays, and what else is to be saved with them."""
    described = {
        name: {"shape": list(a.shape), "dtype": str(a.dtype), "checksum": _checksum(a)}
        for name, a in _by_path(arrays).items()
    }
    page = json.loads(json.dumps({"arrays": described, "extra": extra}))  # as it will be read
    return {**page, "checksum": checksum_of_json(page)}


def read(folder: Path) -> dict[str, Any]:
    """The page of a checkpoint.

    Raises:
        Damaged: It is not what was written.
        OSError: It cannot be read now.
    """
    try:
        page = json.loads((folder / "page" / "metadata").read_bytes())
        if page.pop("checksum") != checksum_of_json(page):
            raise Damaged("its page does not have the checksum that was saved with it")
        return page
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Damaged("its page is missing") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Damaged(f"its page cannot be understood, {type(error).__name__}") from error


def check_structure(folder: Path, saved: Mapping[str, Any], abstract: Any) -> None:
    """Raises Refused unless a checkpoint's arrays are of the shapes and types that are wanted."""
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
    """Raises Damaged unless arrays have the checksums that the page says."""
    for name, array in _by_path(arrays).items():
        wanted, found = page["arrays"][name]["checksum"], _checksum(array)
        if None not in (wanted, found) and wanted != found:
            raise Damaged(f"{name} does not have the checksum that was saved with it")


def on_host(array: Any) -> Any:
    """The array in the host's memory, or as it is where other processes hold a part of it."""
    if isinstance(array, jax.Array) and not (
        array.is_fully_replicated or array.is_fully_addressable
    ):
        return array
    return np.asarray(array)


def _checksum(array: Any) -> int | None:
    """CRC-32 of an array's bytes; None where other processes hold a part of it."""
    host = on_host(array)
    if isinstance(host, jax.Array):
        return None
    return zlib.crc32(np.ascontiguousarray(host).view(np.uint8).data)


def _in_words(array: Any) -> str:
    return f"{array[1]}{array[0]}" if array else "nothing"


def _by_path(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(p): a for p, a in jax.tree_util.tree_leaves_with_path(tree)}
