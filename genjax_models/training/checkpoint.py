"""Checkpoints by Orbax: atomic, bounded in number, read back when written, verified when read.

A checkpoint is the training state, and a page of JSON beside it: shape, type and checksum of every
array, the run's configuration, and whatever else the caller wants back. Orbax writes to a temporary
folder and renames it, so a run that is killed in the middle of a save leaves the last one whole.
Checksums of the files lie beside them: a checkpoint is damaged if its content is not what was
written, and not because it could not be read for once.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from genjax_models.training import integrity, page
from genjax_models.training.errors import CheckpointDamaged, CheckpointError
from genjax_models.training.folders import all_damaged as all_damaged
from genjax_models.training.folders import all_steps, clear_away, delete, move_aside
from genjax_models.training.folders import latest_step as latest_step
from genjax_models.training.hosts import all_true, highest
from genjax_models.training.integrity import Damaged
from genjax_models.training.keys import data_to_keys, keys_to_data
from genjax_models.training.orbax import composite
from genjax_models.training.page import Refused
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

    It is read back before any is deleted. What a save that was killed left behind is deleted too.

    Args:
        directory: Where the run's checkpoints are.
        train_state: What to save; of several processes, each calls this.
        extra: JSON-able values to store with it.
        max_to_keep: How many checkpoints stay.

    Raises:
        FileExistsError: There is a checkpoint of that step.
        CheckpointError: The checkpoint could not be written (a full disk, say), or is not what was
            written when it is read back; those before it are as they were.
    """
    directory, step = Path(directory).absolute(), int(train_state.step)
    if step in all_steps(directory):
        raise FileExistsError(f"{directory} has a checkpoint of step {step}: give another folder")
    arrays = jax.tree.map(page.on_host, keys_to_data(train_state))
    said = page.make(arrays, extra or {})
    clear_away(directory)
    problem, trouble = None, None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with composite(directory) as (orbax, args, where):
            # Each leaf is handled on its own by Orbax; host arrays take half the time.
            items = {"state": args.StandardSave(arrays), "page": args.JsonSave(said)}
            orbax.save(where / str(step), args=args.Composite(**items))
    except Exception as error:  # Orbax and TensorStore raise whatever their driver does
        clear_away(directory)
        problem, trouble = "could not be written to", error
    else:
        try:
            _read_back(directory, step, arrays)
        except Damaged as error:
            delete(directory, step)
            problem, trouble = "was not what had been written when it was read back from", error
        except Exception as error:
            problem, trouble = "could not be read back from", error
    if not all_true(problem is None):
        raise CheckpointError(
            f"the checkpoint of step {step} {problem or 'failed on another process, in'} "
            f"{directory} ({_one_line(trouble)}): see that there is space and permission; the "
            "checkpoints before it are as they were"
        ) from trouble
    for old in all_steps(directory)[:-max_to_keep]:
        try:
            delete(directory, old)
        except OSError as error:  # no reason to end a run: the next save tries again
            warnings.warn(
                f"the old checkpoint {directory / str(old)} cannot be deleted ({error.strerror})",
                stacklevel=2,
            )


def load(
    directory: str | Path,
    template: TrainState,
    *,
    move_damaged: bool = True,
    check: Callable[[Mapping[str, Any]], None] = lambda extra: None,
) -> tuple[TrainState, dict[str, Any]]:
    """The newest whole checkpoint.

    Of one that is damaged it is warned, and the one before it is read instead. Damaged is what was
    read and is not what was written; where reading itself fails, that is told and nothing is moved.

    Args:
        directory: Where the run's checkpoints are.
        template: A state of the same structure, or its description (`jax.eval_shape`). Its arrays'
            shardings are those that the result has, so a run can go on on another number of
            devices; what says none is put on the first device.
        move_damaged: Whether a damaged one is moved aside (`STEP.damaged`), so that its step can be
            saved again; what only reads lets it be.
        check: Given the `extra` before the arrays are read: what it raises as a ValueError refuses
            the checkpoint.

    Returns:
        The state, and the `extra` that was saved with it.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: The checkpoint is of a state of another structure, or `check` refuses it.
        CheckpointDamaged: There is none that is whole.
        CheckpointError: None may be read, or it cannot be read now.
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
            arrays, extra = _load_step(directory, step, abstract, check)
        except Refused as error:
            raise ValueError(str(error)) from None
        except Damaged as error:
            reason = _one_line(error)
        except Exception as error:
            raise _unreadable(directory / str(step), error) from error
        if all_true(reason is None):
            return data_to_keys(arrays, template), extra
        reasons.append(f"step {step}: {reason or 'damaged for another process'}")
        _warn(directory, step, reasons[-1], move_damaged)
    raise CheckpointDamaged(
        f"{directory} holds no whole checkpoint ({'; '.join(reasons)}): train the run again from "
        "the start in another folder, or put a whole copy there"
    )


def newest_whole(directory: str | Path) -> int | None:
    """The step of the newest checkpoint that is whole by its checksums, or None.

    Those that are damaged are moved aside, with a warning. One of a release that wrote no checksums
    is taken for whole until it is read.

    Raises:
        CheckpointError: One cannot be read now.
    """
    directory = Path(directory).absolute()
    for step in reversed(all_steps(directory)):
        try:
            _check(directory / str(step))
            return step
        except Damaged as error:
            _warn(directory, step, f"step {step}: {error}", move=True)
        except OSError as error:
            raise _unreadable(directory / str(step), error) from error
    return None


def read_extra(directory: str | Path, step: int) -> dict[str, Any]:
    """The `extra` that was saved with the checkpoint of a step.

    Raises:
        CheckpointDamaged: It is not what was written.
        OSError: It cannot be read now.
    """
    try:
        return page.read(Path(directory) / str(step))["extra"]
    except Damaged as error:
        raise CheckpointDamaged(f"the checkpoint {Path(directory) / str(step)}: {error}") from None


def _load_step(
    directory: Path, step: int, abstract: Any, check: Callable[[Mapping[str, Any]], None]
) -> tuple[Any, dict[str, Any]]:
    """The arrays of a checkpoint and its `extra`; Damaged if it is not what was written."""
    folder = directory / str(step)
    is_whole, said = _check(folder)
    page.check_structure(folder, said["arrays"], abstract)
    try:
        check(said["extra"])
    except ValueError as error:
        raise Refused(str(error)) from error
    try:
        arrays = _restore(directory, step, abstract)
    except Exception as error:  # whatever a damaged file, or a passing trouble, makes Orbax raise
        if "tree structures do not match" in str(error):
            raise Refused(
                f"the checkpoint {folder} is of another optimizer, with as many numbers: give the "
                "one that it was saved with, or another folder"
            ) from error
        if is_whole or integrity.is_passing(error):
            raise
        raise Damaged(_one_line(error)) from error  # saved by a release that wrote no checksums
    page.check_arrays(said, arrays)
    return arrays, said["extra"]


def _check(folder: Path) -> tuple[bool, dict[str, Any]]:
    """Whether a checkpoint's files are known to be whole, and its page; all processes agree."""
    is_whole, said, trouble = False, {}, None
    try:
        is_whole = integrity.check(folder, jax.process_index(), jax.process_count())
        said = page.read(folder)
    except Exception as error:
        trouble = error
    # Those that found nothing must not wait, in what follows, for one that will not come.
    worst = highest(0 if trouble is None else 1 if isinstance(trouble, Damaged) else 2)
    if worst == 2 and (trouble is None or isinstance(trouble, Damaged)):
        raise OSError("another process cannot read it") from trouble
    if worst:
        raise trouble or Damaged("damaged for another process")
    return is_whole, said


def _read_back(directory: Path, step: int, arrays: Any) -> None:
    """Compares what was stored with what was to be, and writes its files' checksums."""
    folder = directory / str(step)
    said = page.read(folder)
    if not any(isinstance(a, jax.Array) for a in jax.tree.leaves(arrays)):  # else: no room for two
        try:
            stored = _restore(directory, step, arrays)
        except Exception as error:
            if integrity.is_passing(error):
                raise
            raise Damaged(_one_line(error)) from error
        page.check_arrays(said, stored)
    if jax.process_index() == 0:
        integrity.write_checksums(folder)


def _restore(directory: Path, step: int, abstract: Any) -> Any:
    with composite(directory) as (orbax, args, where):
        items = {"state": args.StandardRestore(abstract)}
        return orbax.restore(where / str(step), args=args.Composite(**items))["state"]


def _unreadable(where: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {where} cannot be read now ({_one_line(error)}): it may be whole, and "
        "stays as it is; try again"
    )


def _describe(array: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(array, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)


def _warn(directory: Path, step: int, reason: str, move: bool) -> None:
    where, done = directory / str(step), "it stays where it is"
    if move:
        done = move_aside(where)
    warnings.warn(
        f"the checkpoint {where} is damaged ({reason}): {done}, and the one before it is used",
        stacklevel=3,
    )


def _one_line(error: BaseException | None) -> str:
    if error is None or isinstance(error, Damaged):
        return str(error or "see its output")
    return f"{type(error).__name__}: {error}".splitlines()[0]
