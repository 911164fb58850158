"""Several processes that train one model, each with devices of its own (`jax.distributed`).

All of them run the same program with the same arguments: `fit` is called by each, on the same data,
and its mesh spans the devices of all. What is here is what they must agree on.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from genjax_models.training.errors import ProcessLost
from genjax_models.training.keys import data_to_keys, is_key, keys_to_data

HEARTBEAT = 20
"""Seconds without a sign of life after which a process is taken for dead."""
_GONE = ("Gloo", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination", "heartbeat")
_lost: list[bool] = []


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    **options: Any,
) -> None:
    """Joins this process to the others of a run, before anything else is asked of JAX.

    `jax.distributed.initialize`, with collectives that CPU devices can do. Where the cluster says
    who the processes are (Slurm, TPU pods, Kubernetes), no argument is needed.

    Where one is killed, the others end: `fit` raises ProcessLost, and this process does not wait
    for it at its end. Where process 0 is, JAX itself aborts the others at once.

    Args:
        coordinator_address: `host:port` of process 0.
        num_processes: How many processes there are.
        process_id: Which of them this one is, from 0.
        **options: Handed on to `jax.distributed.initialize`.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options = {"heartbeat_timeout_seconds": HEARTBEAT, **options}
    jax.distributed.initialize(coordinator_address, num_processes, process_id, **options)
    # After JAX's own, so called before it: that would wait for those that are gone, and abort.
    atexit.register(_end_without_the_others)


@contextlib.contextmanager
def peers() -> Iterator[None]:
    """Says in one line that another process is gone, where what it shares with this one fails.

    Raises:
        ProcessLost: It is.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:  # as which JAX raises what its runtime says
        if jax.process_count() == 1 or not any(word in str(error) for word in _GONE):
            raise
        _lost.append(True)
        raise ProcessLost(
            f"process {jax.process_index()} of {jax.process_count()} ends, since another one is "
            "gone: the last checkpoint is as it was; start all of them again to go on from it"
        ) from None


def _end_without_the_others() -> None:
    if _lost:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(1)


def agree(steps: int, stop: int) -> tuple[int, int]:
    """What all processes go on with: the fewest steps that any asks for, and why any stops.

    Clocks and signals differ between processes, but all must make the same dispatches.

    Args:
        steps: How many this one asks for.
        stop: The number of the signal that stops it, or 0.
    """
    if jax.process_count() == 1:
        return steps, stop
    asked = _gathered([steps, stop])  # [processes, 2]
    return int(asked[:, 0].min()), int(asked[:, 1].max())


def all_true(value: bool) -> bool:
    """Whether the value is true on all processes."""
    return value if jax.process_count() == 1 else bool(_gathered([value]).all())


def highest(value: int) -> int:
    """The highest of the values that the processes have."""
    return value if jax.process_count() == 1 else int(_gathered([value]).max())


def place(tree: Any, shardings: Any) -> Any:
    """`jax.device_put`, which also reaches devices of other processes.

    Args:
        tree: Arrays; every process gives the same ones.
        shardings: Where each goes, or one sharding for all.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    if isinstance(shardings, Sharding):
        shardings = jax.tree.map(lambda _: shardings, tree)
    return jax.tree.map(_place_of_all, tree, shardings)


def _place_of_all(array: Any, sharding: Sharding) -> jax.Array:
    if isinstance(array, jax.Array) and array.sharding.is_equivalent_to(sharding, array.ndim):
        return array
    if is_key(array):
        return data_to_keys(_place_of_all(keys_to_data(array), sharding), array)
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _gathered(values: list[int] | list[bool]) -> np.ndarray:
    """The values `[V]` of every process `[processes, V]`."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.asarray(values, np.int32)))
