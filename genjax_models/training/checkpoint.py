"""Checkpoints by Orbax: atomic, bounded in number, verified when read.

A checkpoint is the training state, and a page of JSON beside it: shape, type and checksum of every
array, the run's configuration, and whatever else the caller wants back. Orbax writes to a temporary
folder and renames it, so a run that is killed in the middle of a save leaves the last one whole.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from genjax_models.training.errors import CheckpointError
from genjax_models.training.hosts import all_true
from genjax_models.training.keys import data_to_keys, keys_to_data
from genjax_models.training.state import TrainState


def prepare(directory: str | Path) -> None:
    """Makes the folder, if need be, and tries that checkpoints can be written there.

    Raises:
        CheckpointError: They cannot.
    """
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise CheckpointError(
            f"checkpoints cannot be written to {directory} ({error.strerror}): give a folder that "
            "you may write to"
        ) from error


def save(
    directory: str | Path,
    train_state: TrainState,
    extra: Mapping[str, Any] | None = None,
    max_to_keep: int = 3,
) -> None:
    """Saves the state as the checkpoint of its step, and deletes the oldest beyond `max_to_keep`.

    What a save that was killed left behind is deleted too.

    Args:
        directory: Where the run's checkpoints are.
        train_state: What to save; of several processes, each calls this.
        extra: JSON-able values to store with it.
        max_to_keep: How many checkpoints stay.

    Raises:
        FileExistsError: There is a checkpoint of that step.
        CheckpointError: The checkpoint could not be written (a full disk, say); those before it
            are as they were.
    """
    step = int(train_state.step)
    if step in all_steps(directory):
        raise FileExistsError(f"{directory} has a checkpoint of step {step}: give another folder")
    arrays = jax.tree.map(_on_host, keys_to_data(train_state))
    page = _page(arrays, extra or {})
    _clear_away(directory)
    try:
        with _orbax() as ocp, _manager(ocp, directory, max_to_keep) as manager:
            # Each leaf is handled on its own by Orbax; host arrays take half the time.
            items = {"state": ocp.args.StandardSave(arrays), "page": ocp.args.JsonSave(page)}
            manager.save(step, args=ocp.args.Composite(**items), force=True)
    except Exception as error:  # Orbax and TensorStore raise whatever their driver does
        _clear_away(directory)
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {directory} "
            f"({_one_line(error)}): see that there is space and permission; the checkpoints before "
            "it are as they were"
        ) from error


def load(directory: str | Path, template: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """The newest whole checkpoint.

    One that is damaged is moved aside (`STEP.damaged`) with a warning, and the one before it is
    read instead.

    Args:
        directory: Where the run's checkpoints are.
        template: A state of the same structure, or its description (`jax.eval_shape`). Its arrays'
            shardings are those that the result has, so a run can go on on another number of
            devices; what says none is put on the first device.

    Returns:
        The state, and the `extra` that was saved with it.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: The checkpoint is of a state of another structure.
        CheckpointError: There is none that is whole, or none may be read.
    """
    directory = Path(directory).absolute()
    steps = all_steps(directory)
    if not steps:
        raise FileNotFoundError(f"{directory} holds no checkpoint: train the run first")
    abstract = jax.tree.map(_describe, keys_to_data(template))
    reasons = []
    for step in reversed(steps):
        arrays, extra, reason = None, {}, None
        try:
            arrays, extra = _load_step(directory, step, abstract)
        except _OtherStructure as error:
            raise ValueError(f"the checkpoint {directory / str(step)} {error}") from None
        except Exception as error:  # whatever a damaged file makes Orbax raise
            reason = _one_line(error)
            if _says_nothing_of_the_file(error):
                raise CheckpointError(
                    f"the checkpoint {directory / str(step)} cannot be read now ({reason})"
                ) from error
        if all_true(reason is None):
            return data_to_keys(arrays, template), extra
        reasons.append(f"step {step}: {reason or 'damaged for another process'}")
        _move_aside(directory, step, reasons[-1])
    raise CheckpointError(
        f"{directory} holds no whole checkpoint ({'; '.join(reasons)}): train the run again from "
        "the start in another folder, or put a whole copy there"
    )


def all_steps(directory: str | Path) -> list[int]:
    """The steps of the checkpoints in a folder, in order; none where there is no folder."""
    directory = Path(directory)
    if not directory.is_dir():
        return []
    return sorted(int(p.name) for p in directory.iterdir() if p.name.isdigit() and p.is_dir())


def latest_step(directory: str | Path) -> int | None:
    """The step of the newest checkpoint, or None where there is none."""
    return max(all_steps(directory), default=None)


class _OtherStructure(Exception):
    """The checkpoint is not of such a state as the template."""


def _load_step(directory: Path, step: int, abstract: Any) -> tuple[Any, dict[str, Any]]:
    with _orbax() as ocp, _manager(ocp, directory) as manager:
        items = {"page": ocp.args.JsonRestore()}
        page = manager.restore(step, args=ocp.args.Composite(**items))["page"]
        if page.pop("checksum") != _checksum_of_json(page):
            raise ValueError("its page does not have the checksum that was saved with it")
        _check_structure(page["arrays"], abstract)
        items = {"state": ocp.args.StandardRestore(abstract)}
        arrays = manager.restore(step, args=ocp.args.Composite(**items))["state"]
    for name, array in _by_path(arrays).items():
        wanted, found = page["arrays"][name]["checksum"], _checksum(array)
        if None not in (wanted, found) and wanted != found:
            raise ValueError(f"{name} does not have the checksum that was saved with it")
    return arrays, page["extra"]


def _check_structure(saved: Mapping[str, Any], abstract: Any) -> None:
    wanted = {name: [list(a.shape), str(a.dtype)] for name, a in _by_path(abstract).items()}
    found = {name: [a["shape"], a["dtype"]] for name, a in saved.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise _OtherStructure(
                f"is of another model or optimizer: it has {_in_words(found.get(name))} at {name}, "
                f"where this run has {_in_words(wanted.get(name))}; give the settings that it was "
                "saved with, or another folder"
            )


def _in_words(array: Any) -> str:
    return f"{array[1]}{array[0]}" if array else "nothing"


def _page(arrays: Any, extra: Mapping[str, Any]) -> dict[str, Any]:
    described = {
        name: {"shape": list(a.shape), "dtype": str(a.dtype), "checksum": _checksum(a)}
        for name, a in _by_path(arrays).items()
    }
    page = json.loads(json.dumps({"arrays": described, "extra": extra}))  # as it will be read
    return {**page, "checksum": _checksum_of_json(page)}


def _checksum_of_json(values: Any) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def _checksum(array: Any) -> int | None:
    """CRC-32 of an array's bytes; None where other processes hold a part of it."""
    host = _on_host(array)
    if isinstance(host, jax.Array):
        return None
    return zlib.crc32(np.ascontiguousarray(host).view(np.uint8).data)


def _on_host(array: Any) -> Any:
    """The array in the host's memory, or as it is where other processes hold a part of it."""
    if isinstance(array, jax.Array) and not (
        array.is_fully_replicated or array.is_fully_addressable
    ):
        return array
    return np.asarray(array)


def _describe(array: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(array, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)


def _by_path(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(p): a for p, a in jax.tree_util.tree_leaves_with_path(tree)}


def _says_nothing_of_the_file(error: Exception) -> bool:
    """Whether the trouble is one of memory or permission, which leaves the checkpoint whole."""
    words = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED")
    return isinstance(error, (MemoryError, PermissionError)) or any(w in str(error) for w in words)


def _move_aside(directory: Path, step: int, reason: str) -> None:
    where = directory / str(step)
    target, number = directory / f"{step}.damaged", 1
    while target.exists():
        number += 1
        target = directory / f"{step}.damaged{number}"
    done = f"it is moved aside to {target.name}"
    if jax.process_index() == 0:
        try:
            where.rename(target)
        except OSError as error:
            done = f"it cannot be moved aside ({error.strerror})"
    warnings.warn(
        f"the checkpoint {where} is damaged ({reason}): {done}, and the one before it is used",
        stacklevel=3,
    )


def _clear_away(directory: str | Path) -> None:
    """Deletes what saves that did not come to their end have left."""
    if jax.process_index() == 0:
        for path in Path(directory).glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(path, ignore_errors=True)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextmanager
def _orbax() -> Iterator[Any]:
    """Orbax, a second of importing for those who save, and silent about its every step."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import orbax.checkpoint as ocp

        yield ocp
    finally:
        logger.setLevel(level)


def _manager(ocp: Any, directory: str | Path, max_to_keep: int | None = None) -> Any:
    """For saving where it is told how many to keep, else for reading."""
    # Synchronous: an asynchronous save would read arrays that the next step is given to overwrite.
    options = ocp.CheckpointManagerOptions(
        enable_async_checkpointing=False,
        max_to_keep=max_to_keep,
        create=max_to_keep is not None,
        read_only=max_to_keep is None,
    )
    return ocp.CheckpointManager(Path(directory).absolute(), options=options)
