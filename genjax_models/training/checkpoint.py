"""Checkpoints by Orbax: atomic, bounded in number, verified when read.

A checkpoint is the training state, and a page of JSON beside it: a checksum of every array, the
run's configuration, and whatever else the caller wants back. Orbax writes to a temporary folder
and renames it, so a run that is killed in the middle of a save leaves the last one whole.
"""

from __future__ import annotations

import logging
import os
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.training.errors import CheckpointError
from genjax_models.training.state import TrainState


def save(
    directory: str | Path,
    train_state: TrainState,
    extra: Mapping[str, Any] | None = None,
    max_to_keep: int = 3,
) -> None:
    """Saves the state as the checkpoint of its step, and deletes the oldest beyond `max_to_keep`.

    Args:
        directory: Where the run's checkpoints are.
        train_state: What to save; on several hosts, each calls this.
        extra: JSON-able values to store with it.
        max_to_keep: How many checkpoints stay.

    Raises:
        CheckpointError: The checkpoint could not be written (a full disk, say); those before it
            are as they were.
    """
    ocp = _orbax()
    step = int(train_state.step)
    arrays = _without_keys(train_state)
    page = {"checksums": _checksums(arrays), "extra": dict(extra or {})}
    try:
        with _manager(directory, max_to_keep=max_to_keep) as manager:
            items = {"state": ocp.args.StandardSave(arrays), "page": ocp.args.JsonSave(page)}
            manager.save(step, args=ocp.args.Composite(**items), force=True)
    except Exception as error:  # Orbax and TensorStore raise whatever their driver does
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {directory} ({reason}): see "
            "that there is space and permission; the checkpoints before it are as they were"
        ) from error


def load(directory: str | Path, template: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """The newest whole checkpoint.

    One that is damaged is moved aside (`STEP.damaged`) with a warning, and the one before it is
    read instead.

    Args:
        directory: Where the run's checkpoints are.
        template: A state of the same structure; its arrays' shardings are those that the result
            has, so a run can go on on another number of devices.

    Returns:
        The state, and the `extra` that was saved with it.

    Raises:
        FileNotFoundError: There is no checkpoint.
        CheckpointError: There is none that is whole.
    """
    directory = Path(directory).absolute()
    steps = all_steps(directory)
    if not steps:
        raise FileNotFoundError(f"{directory} holds no checkpoint: train the run first")
    reasons = []
    for step in reversed(steps):
        try:
            return _load_step(directory, step, template)
        except Exception as error:  # whatever a damaged file makes Orbax raise
            reasons.append(f"step {step}: {type(error).__name__}: {error}".splitlines()[0])
            _move_aside(directory, step, reasons[-1])
    raise CheckpointError(
        f"{directory} holds no whole checkpoint ({'; '.join(reasons)}): train the run again from "
        "the start, or put a whole copy there"
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


def _load_step(
    directory: Path, step: int, template: TrainState
) -> tuple[TrainState, dict[str, Any]]:
    ocp = _orbax()
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _without_keys(template))
    with _manager(directory, read_only=True) as manager:
        items = {"state": ocp.args.StandardRestore(abstract), "page": ocp.args.JsonRestore()}
        restored = manager.restore(step, args=ocp.args.Composite(**items))
    arrays, page = restored["state"], restored["page"]
    for name, found in _checksums(arrays).items():
        if found != page["checksums"].get(name):
            raise CheckpointError(f"{name} does not have the checksum that was saved with it")
    return _with_keys(arrays, template), page["extra"]


def _move_aside(directory: Path, step: int, reason: str) -> None:
    warnings.warn(
        f"the checkpoint {directory / str(step)} is damaged ({reason}): it is moved aside to "
        f"{step}.damaged, and the one before it is used",
        stacklevel=3,
    )
    if jax.process_index() == 0:
        target = directory / f"{step}.damaged"
        number = 1
        while target.exists():
            number += 1
            target = directory / f"{step}.damaged{number}"
        os.rename(directory / str(step), target)


def _without_keys(train_state: TrainState) -> TrainState:
    """The state with PRNG keys as the integers that they are made of, which files can hold."""
    return jax.tree.map(lambda a: jax.random.key_data(a) if _is_key(a) else a, train_state)


def _with_keys(arrays: TrainState, template: TrainState) -> TrainState:
    def restore(like: Any, a: Any) -> Any:
        return jax.random.wrap_key_data(a, impl=jax.random.key_impl(like)) if _is_key(like) else a

    return jax.tree.map(restore, template, arrays)


def _is_key(a: Any) -> bool:
    return jnp.issubdtype(a.dtype, jax.dtypes.prng_key)


def _checksums(arrays: TrainState) -> dict[str, int]:
    """CRC-32 of each array's bytes, by its path; of those that this host can read whole."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(arrays)
    return {
        jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(np.asarray(a)).data)
        for path, a in leaves
        if not isinstance(a, jax.Array) or a.is_fully_replicated or a.is_fully_addressable
    }


def _orbax() -> Any:
    import orbax.checkpoint as ocp  # a second of importing, for those who save

    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax tells its every step
    return ocp


def _manager(directory: str | Path, **options: Any) -> Any:
    ocp = _orbax()
    # Synchronous: an asynchronous save would read arrays that the next step is given to overwrite.
    options = ocp.CheckpointManagerOptions(
        enable_async_checkpointing=False, create=not options.get("read_only"), **options
    )
    return ocp.CheckpointManager(Path(directory).absolute(), options=options)
