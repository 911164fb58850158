"""Checkpoints by Orbax: atomic, limited in number, read back when written, verified when read.

A checkpoint is the training state with a JSON page: shape, type and checksum of each array, the
run's configuration, and any other JSON-able values. Orbax writes to a temporary folder and renames
it, so a run that is killed in the middle of a save leaves the last checkpoint whole. Checksums of
the files lie beside them: a checkpoint is damaged if its content is not what was written, and not
because it could not be read for once.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from genjax_models.training import integrity
from genjax_models.training.devices import all_true, highest
from genjax_models.training.integrity import Damaged, Refused
from genjax_models.training.state import TrainState, data_to_keys, keys_to_data


class CheckpointError(OSError):
    """A checkpoint cannot be written or read."""


class CheckpointDamaged(CheckpointError):
    """No checkpoint holds what was written."""


def prepare(directory: str | Path) -> None:
    """Creates the folder if needed, and checks that checkpoints can be written there.

    Raises:
        CheckpointError: They cannot be written there.
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

    The checkpoint is read back before any is deleted. What killed saves left behind is deleted too.

    Args:
        directory: Folder of the run's checkpoints.
        train_state: State to save; of several processes, each calls this.
        extra: JSON-able values to store with it.
        max_to_keep: Number of checkpoints that stay.

    Raises:
        FileExistsError: There is a checkpoint of that step.
        CheckpointError: The checkpoint could not be written (the disk is full, say), or differs
            when it is read back; those before it are as they were.
    """
    directory, step = Path(directory).absolute(), int(train_state.step)
    if step in all_steps(directory):
        raise FileExistsError(f"{directory} has a checkpoint of step {step}: give another folder")
    arrays = jax.tree.map(integrity.on_host, keys_to_data(train_state))
    said = integrity.make_page(arrays, extra or {})
    _clear_away(directory)
    problem, trouble = None, None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _orbax(directory) as (orbax, args, where):
            # Each leaf is handled on its own by Orbax; host arrays take half the time.
            items = {"state": args.StandardSave(arrays), "page": args.JsonSave(said)}
            orbax.save(where / str(step), args=args.Composite(**items))
    except Exception as error:  # Orbax and TensorStore raise whatever their driver does
        _clear_away(directory)
        problem, trouble = "could not be written to", error
    else:
        try:
            _read_back(directory, step, arrays)
        except Damaged as error:
            _delete(directory, step)
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
            _delete(directory, old)
        except OSError as error:  # no reason to end a run: the next save tries again
            warnings.warn(
                f"the old checkpoint {directory / str(old)} cannot be deleted ({error.strerror})",
                stacklevel=2,
            )


def load(
    directory: str | Path,
    template: TrainState,
    *,
    step: int | None = None,
    move_damaged: bool = True,
    check: Callable[[Mapping[str, Any]], None] = lambda extra: None,
) -> tuple[TrainState, dict[str, Any]]:
    """Loads the newest checkpoint that is whole, or that of a step.

    For each damaged one there is a warning, and the one before it is read instead. Damaged means
    read, and not what was written; where reading itself fails, that is raised and nothing is moved.

    Args:
        directory: Folder of the run's checkpoints.
        template: A state of the same structure, or its description (`jax.eval_shape`). The result
            has the shardings of its arrays, so a run can go on on another number of devices;
            arrays without a sharding are put on the first device.
        step: The checkpoint's step; None for the newest.
        move_damaged: Whether to move a damaged checkpoint aside (`STEP.damaged`), so that its step
            can be saved again; False for those who only read.
        check: Called with `extra` before the arrays are read; it raises a ValueError to refuse the
            checkpoint.

    Returns:
        The state, and the `extra` that was saved with it.

    Raises:
        FileNotFoundError: There is no checkpoint, or none of that step.
        ValueError: The checkpoint holds a state of another structure, or `check` refuses it.
        CheckpointDamaged: No checkpoint is whole.
        CheckpointError: A checkpoint cannot be read now.
    """
    directory = Path(directory).absolute()
    steps = all_steps(directory)
    if not steps:
        raise FileNotFoundError(f"{directory} holds no checkpoint: train the run first")
    if step is not None:
        if step not in steps:
            there = ", ".join(map(str, steps))
            raise FileNotFoundError(
                f"{directory} holds no checkpoint of step {step}: give one of {there}"
            )
        steps = [step]
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
    """Returns the step of the newest checkpoint that is whole by its checksums, or None.

    Damaged ones are moved aside, with a warning. One that was saved without checksums counts as
    whole until it is read.

    Raises:
        CheckpointError: A checkpoint cannot be read now.
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
    """Reads the `extra` that was saved with the checkpoint of a step.

    Raises:
        CheckpointDamaged: The page is not what was written.
        OSError: The page cannot be read now.
    """
    try:
        return integrity.read_page(Path(directory) / str(step))["extra"]
    except Damaged as error:
        raise CheckpointDamaged(f"the checkpoint {Path(directory) / str(step)}: {error}") from None


def _load_step(
    directory: Path, step: int, abstract: Any, check: Callable[[Mapping[str, Any]], None]
) -> tuple[Any, dict[str, Any]]:
    """Returns the arrays and the `extra` of a checkpoint; raises Damaged or Refused."""
    folder = directory / str(step)
    is_whole, said = _check(folder)
    integrity.check_structure(folder, said["arrays"], abstract)
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
        raise Damaged(_one_line(error)) from error  # saved without checksums
    integrity.check_arrays(said, arrays)
    return arrays, said["extra"]


def _check(folder: Path) -> tuple[bool, dict[str, Any]]:
    """Returns whether the files are known to be whole, and the page; all processes agree."""
    is_whole, said, trouble = False, {}, None
    try:
        is_whole = integrity.check_files(folder, jax.process_index(), jax.process_count())
        said = integrity.read_page(folder)
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
    """Compares what was stored with `arrays`, and writes the checksums of the files."""
    folder = directory / str(step)
    said = integrity.read_page(folder)
    if not any(isinstance(a, jax.Array) for a in jax.tree.leaves(arrays)):  # else: no room for two
        try:
            stored = _restore(directory, step, arrays)
        except Exception as error:
            if integrity.is_passing(error):
                raise
            raise Damaged(_one_line(error)) from error
        integrity.check_arrays(said, stored)
    if jax.process_index() == 0:
        integrity.write_checksums(folder)


def _restore(directory: Path, step: int, abstract: Any) -> Any:
    with _orbax(directory) as (orbax, args, where):
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
        done = _move_aside(where)
    warnings.warn(
        f"the checkpoint {where} is damaged ({reason}): {done}, and the one before it is used",
        stacklevel=3,
    )


def _one_line(error: BaseException | None) -> str:
    if error is None or isinstance(error, Damaged):
        return str(error or "see its output")
    return f"{type(error).__name__}: {error}".splitlines()[0]


# The folders of a run's checkpoints: of each step, moved aside, and left behind.

_DAMAGED = re.compile(r"\d+\.damaged\d*")
_LEFT = ".orbax-checkpoint-tmp"
"""Part of the name of a folder that is not a checkpoint yet, or no longer."""
_PLAIN = re.compile(r"[\w\s./=+,@%~:#-]*", re.ASCII)


def all_steps(directory: str | Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, in order; none where there is no folder.

    Raises:
        OSError: The folder cannot be read now.
    """
    return sorted(int(name) for name in _folders(directory) if name.isdigit())


def latest_step(directory: str | Path) -> int | None:
    """Returns the step of the newest checkpoint, or None where there is none."""
    return max(all_steps(directory), default=None)


def all_damaged(directory: str | Path) -> list[str]:
    """Returns the names of the damaged checkpoints that were moved aside in a folder."""
    return sorted(name for name in _folders(directory) if _DAMAGED.fullmatch(name))


def _move_aside(where: Path) -> str:
    """Renames a damaged checkpoint, and returns in words whether it could be renamed."""
    taken, number = all_damaged(where.parent), 1
    while (name := f"{where.name}.damaged{number if number > 1 else ''}") in taken:
        number += 1
    if jax.process_index() == 0:
        try:
            where.rename(where.with_name(name))
        except OSError as error:
            return f"it cannot be moved aside ({error.strerror})"
    return f"it is moved aside to {name}"


def _delete(directory: Path, step: int) -> None:
    """Deletes a checkpoint, renamed first, so that no half of one has a checkpoint's name."""
    if jax.process_index() == 0:
        left = directory / f"{step}{_LEFT}-deleted"
        shutil.rmtree(left, ignore_errors=True)
        (directory / str(step)).rename(left)
        shutil.rmtree(left, ignore_errors=True)


def _clear_away(directory: Path) -> None:
    """Deletes what interrupted saves have left behind."""
    if jax.process_index() == 0:
        for name in _folders(directory):
            if _LEFT in name:
                shutil.rmtree(directory / name, ignore_errors=True)


def _folders(directory: str | Path) -> list[str]:
    try:  # not `is_dir`, which takes whatever goes wrong for a folder that is not there
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


# Orbax, silenced, and given only paths that it accepts.


@contextmanager
def _orbax(directory: Path) -> Iterator[tuple[Any, Any, Path]]:
    """Yields Orbax's checkpointer of several items, its arguments, and a path that it accepts.

    Importing Orbax takes a second, and only those who save need it. Its own messages are silenced:
    errors are raised.

    Args:
        directory: Absolute path of the checkpoints.
    """
    with _quiet(), _plain(directory) as where:
        import orbax.checkpoint as ocp

        # Synchronous: an asynchronous save would read arrays that the next step overwrites.
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as orbax:
            yield orbax, ocp.args, where


@contextmanager
def _plain(directory: Path) -> Iterator[Path]:
    r"""Yields a path of the folder without characters that Orbax takes for patterns or separators.

    Orbax looks for its own files by patterns, of which `[`, `*` and `\` in the folder's name would
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
    """Silences Orbax, and its writers, for which it does not wait when one of them fails."""
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
    """Reports what could not be raised, except writers that find their event loop closed.

    Each writer of a failed save would print a traceback whenever it ends, though the failure itself
    is raised.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        before(unraisable)
