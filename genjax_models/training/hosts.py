"""Several processes that train one model, each with devices of its own (`jax.distributed`).

All of them run the same program with the same arguments: `fit` is called by each, on the same data,
and its mesh spans the devices of all. What is here is what they must agree on.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from genjax_models.training.keys import data_to_keys, is_key, keys_to_data


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    **options: Any,
) -> None:
    """Joins this process to the others of a run, before anything else is asked of JAX.

    `jax.distributed.initialize`, with collectives that CPU devices can do. Where the cluster says
    who the processes are (Slurm, TPU pods, Kubernetes), no argument is needed.

    Args:
        coordinator_address: `host:port` of process 0.
        num_processes: How many processes there are.
        process_id: Which of them this one is, from 0.
        **options: Handed on to `jax.distributed.initialize`.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(coordinator_address, num_processes, process_id, **options)


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
