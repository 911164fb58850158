"""Running a step, written once for the whole batch, on devices and across processes.

`MeshStrategy` is `jit` with named shardings: the compiler splits the batch over the mesh's `data`
axis and adds the communication. `PmapStrategy` is `jax.pmap`, for those who rely on it: each device
runs the step on its own rows, and `core.random` marks where rows must meet. Both give the same run.

A mesh may span the devices of several processes (`initialize`). All of them run the same program
with the same arguments: each calls `fit`, on the same data.

No other file names `pmap`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, Sharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from genjax_models.core.buffer import Buffer
from genjax_models.core.random import DATA_AXIS
from genjax_models.core.types import Array, Batch, Device, Metrics
from genjax_models.training.state import TrainState, data_to_keys, is_key, keys_to_data
from genjax_models.training.step import Step

Gather: TypeAlias = Callable[[Any, Array], Batch]
"""`(arrays, indices [B]) -> batch`, pure."""
Partition: TypeAlias = Callable[[jax.ShapeDtypeStruct], P]
"""How an array of the training state is partitioned over the mesh."""
RunSteps: TypeAlias = Callable[[Any, Any, np.ndarray, int], tuple[Any, dict[str, np.ndarray]]]
"""`(state, data, indices [K, B], num) -> (state, metrics [num])`: runs the first `num` of K steps
in one dispatch. The state passed in is donated. The call returns when the steps are done, so that
dispatch never runs ahead: unbounded, simulated devices can abort in all-reduce. It is compiled at
the first call; later calls take a state of the same shapes."""


class DeviceStrategy(Protocol):
    """A strategy for mapping a step over devices."""

    @property
    def size(self) -> int:
        """Number of devices."""
        ...

    def put(self, state: TrainState) -> Any:
        """Places a training state of the host on the devices."""
        ...

    def get(self, state: Any) -> TrainState:
        """Returns a placed state in the shapes that `put` was given."""
        ...

    def describe(self, state: TrainState) -> TrainState:
        """Returns the shapes of a state, with the shardings to restore a checkpoint to."""
        ...

    def put_data(self, data: Any) -> Any:
        """Places data, whole on each device."""
        ...

    def runner(self, step: Step, gather: Gather) -> RunSteps:
        """Returns the function that runs many steps in one dispatch."""
        ...


def device_strategy(
    devices: Sequence[Device] | int | None = None,
    mapping: Literal["mesh", "pmap"] = "mesh",
    partition: Partition | None = None,
) -> DeviceStrategy:
    """Returns the strategy that the arguments of `fit` name.

    Args:
        devices: Devices, or their number; all where None.
        mapping: "mesh" for `jit` over a mesh, "pmap" for `jax.pmap`.
        partition: See `MeshStrategy`; not for "pmap".

    Raises:
        ValueError: There are fewer devices, or the mapping is neither.
    """
    chosen = _chosen(devices)
    if mapping == "mesh":
        return MeshStrategy(chosen, partition or replicated)
    if mapping == "pmap":
        if partition is not None:
            raise ValueError("pmap keeps every parameter whole on every device: use mapping='mesh'")
        return PmapStrategy(chosen)
    raise ValueError(f"mapping is {mapping!r}, but it can be 'mesh' or 'pmap'")


def replicated(array: jax.ShapeDtypeStruct) -> P:
    """Partition that keeps each array whole on each device."""
    del array
    return P()


def fully_sharded(size: int) -> Partition:
    """Partition that splits each array over `size` devices, along its longest axis they divide.

    Parameters, averages and optimizer states take `1 / size` of the memory on each device.

    References:
        Zhao et al. 2023, PyTorch FSDP, arXiv:2304.11277.
    """

    def partition(array: jax.ShapeDtypeStruct) -> P:
        axes = [i for i, n in enumerate(array.shape) if n % size == 0 and n > 0]
        if not axes:
            return P()
        longest = max(axes, key=lambda i: array.shape[i])
        return P(*(DATA_AXIS if i == longest else None for i in range(len(array.shape))))

    return partition


@dataclass(frozen=True)
class MeshStrategy:
    """`jit` over a mesh of devices: the batch split, the state as `partition` says.

    Attributes:
        devices: Devices of all processes; the batch size is a multiple of their number.
        partition: Partition of each array of the training state over the mesh:
            `replicated`, `fully_sharded(size)`, or any function of its shape. Keys are whole on
            each device, and buffers are split as the batch is.
    """

    devices: tuple[Device, ...]
    partition: Partition = replicated

    @property
    def size(self) -> int:
        """Number of devices."""
        return len(self.devices)

    def put(self, state: TrainState) -> Any:
        """Places a training state of the host on the devices."""
        return place(state, self._shardings(state))

    def get(self, state: Any) -> TrainState:
        """Returns the state itself: it is global already."""
        return state

    def describe(self, state: TrainState) -> TrainState:
        """Returns the shapes of a state, with the shardings to restore a checkpoint to."""
        return _described(state, self._shardings(state))

    def put_data(self, data: Any) -> Any:
        """Places data, whole on each device."""
        return place(data, _whole_and_split(self.devices)[0])

    def runner(self, step: Step, gather: Gather) -> RunSteps:
        """Returns the function that runs many steps in one dispatch."""
        whole, split = _whole_and_split(self.devices)

        def gather_split(data: Any, indices: Array) -> Batch:
            return jax.lax.with_sharding_constraint(gather(data, indices), split)

        compiled: Any = None

        def run(state: Any, data: Any, indices: np.ndarray, num: int) -> Any:
            nonlocal compiled
            if compiled is None:
                compiled = jax.jit(
                    functools.partial(_many_steps, step, gather_split),
                    donate_argnums=0,
                    out_shardings=(self._shardings(state), whole),
                )
            state, metrics = compiled(state, data, *place((indices, np.int32(num)), whole))
            return state, {name: np.asarray(rows)[:num] for name, rows in metrics.items()}

        return run

    def _shardings(self, state: TrainState) -> Any:
        whole, split = _whole_and_split(self.devices)

        def sharding_of(array: Any) -> Any:
            if _is_buffer(array):
                return jax.tree.map(lambda _: split, array)
            if is_key(array):
                return whole
            spec = self.partition(jax.ShapeDtypeStruct(array.shape, array.dtype))
            return NamedSharding(whole.mesh, spec)

        return jax.tree.map(sharding_of, state, is_leaf=_is_buffer)


@dataclass(frozen=True)
class PmapStrategy:
    """`jax.pmap`: each device has the whole state, but for buffers, and runs its own rows.

    Attributes:
        devices: Devices of this process; the batch size is a multiple of their number.

    Raises:
        ValueError: There are several processes.
    """

    devices: tuple[Device, ...]

    def __post_init__(self) -> None:
        """Checks that there is one process."""
        if jax.process_count() > 1:
            raise ValueError(
                f"mapping='pmap' is for one process, and there are {jax.process_count()}: use "
                "'mesh'"
            )

    @property
    def size(self) -> int:
        """Number of devices."""
        return len(self.devices)

    def put(self, state: TrainState) -> Any:
        """Places a training state of the host on the devices."""
        parts, structure = jax.tree.flatten(state, is_leaf=_is_buffer)
        copied = iter(self.put_data([part for part in parts if not _is_buffer(part)]))

        def split(a: Any) -> np.ndarray:
            return np.asarray(a).reshape(self.size, -1, *a.shape[1:])

        put_own = jax.pmap(lambda own: own, devices=self.devices)
        return structure.unflatten(
            put_own(jax.tree.map(split, part)) if _is_buffer(part) else next(copied)
            for part in parts
        )

    def get(self, state: Any) -> TrainState:
        """Returns a placed state in the shapes that `put` was given."""

        def one_copy(part: Any) -> Any:
            if not _is_buffer(part):
                return part.addressable_data(0)
            return jax.tree.map(lambda a: np.asarray(a).reshape(1, -1, *a.shape[2:]), part)

        return _first_of_each(jax.tree.map(one_copy, state, is_leaf=_is_buffer))

    def describe(self, state: TrainState) -> TrainState:
        """Returns the shapes of a state, to be restored on the first device."""
        on_first = SingleDeviceSharding(self.devices[0])
        return _described(state, jax.tree.map(lambda _: on_first, state))

    def put_data(self, data: Any) -> Any:
        """Places data, whole on each device."""
        return _copier(self.devices)(np.arange(self.size), data)

    def runner(self, step: Step, gather: Gather) -> RunSteps:
        """Returns the function that runs many steps in one dispatch."""

        def gather_own(data: Any, indices: Array) -> Batch:
            num = indices.shape[0] // self.size
            first = jax.lax.axis_index(DATA_AXIS) * num
            return gather(data, jax.lax.dynamic_slice_in_dim(indices, first, num))

        compiled = jax.pmap(
            functools.partial(_many_steps, step, gather_own),
            axis_name=DATA_AXIS,
            in_axes=(0, 0, None, None),
            donate_argnums=0,
            devices=self.devices,
        )

        def run(state: Any, data: Any, indices: np.ndarray, num: int) -> Any:
            state, metrics = compiled(state, data, indices, np.int32(num))
            own = {name: np.asarray(rows.addressable_data(0)) for name, rows in metrics.items()}
            return state, {name: rows[0, :num] for name, rows in own.items()}

        return run


@functools.lru_cache(maxsize=8)
def _copier(devices: tuple[Device, ...]) -> Callable[[np.ndarray, Any], Any]:
    """Returns `(arange(size), tree) -> tree`, copied to each device; compiled once a choice."""
    return jax.pmap(lambda _, tree: tree, in_axes=(0, None), devices=devices)


@jax.jit
def _first_of_each(tree: Any) -> Any:
    return jax.tree.map(lambda a: a[0], tree)


def _many_steps(
    step: Step, gather: Gather, state: TrainState, data: Any, indices: Array, num: Array
) -> tuple[TrainState, Metrics]:
    """Runs the first `num` of the steps whose examples are the rows of `indices` `[K, B]`.

    The bound of the loop is an array: one compiled program serves any number of steps up to K.
    """
    # Jitted to be traced once, though the shapes of its metrics are asked for before the loop.
    one_step = jax.jit(lambda s, d, i: step(s, gather(d, i)), inline=True)
    _, metrics = jax.eval_shape(one_step, state, data, indices[0])
    rows = {name: jnp.zeros(indices.shape[0], m.dtype) for name, m in metrics.items()}

    def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        state, rows = carry
        state, metrics = one_step(state, data, indices[i])
        return state, {name: rows[name].at[i].set(m) for name, m in metrics.items()}

    return jax.lax.fori_loop(0, num, body, (state, rows))


def _is_buffer(part: Any) -> bool:
    """Whether a part of the state belongs to the examples, and is split as the batch is."""
    return isinstance(part, Buffer)


def _described(state: TrainState, shardings: Any) -> TrainState:
    return jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), state, shardings
    )


def _chosen(devices: Sequence[Device] | int | None) -> tuple[Device, ...]:
    found = jax.devices()
    if devices is None:
        return tuple(found)
    if isinstance(devices, int):
        if not 1 <= devices <= len(found):
            raise ValueError(
                f"{devices} devices are asked for, but there are {len(found)} "
                f"({found[0].platform}): ask for 1 to {len(found)}"
            )
        chosen = found[:devices]
    else:
        chosen = list(devices)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"devices are {chosen}: give at least one, and none twice")
    if {d.process_index for d in chosen} != {d.process_index for d in found}:
        raise ValueError(
            f"the {len(chosen)} devices asked for leave out some of the {jax.process_count()} "
            f"processes, which all take part: ask for all {len(found)} devices (devices=None)"
        )
    return tuple(chosen)


def over_examples(
    function: Callable[..., Any], devices: Sequence[Device] | int | None = None
) -> Callable[..., Any]:
    """Compiles a pure function of a batch, with the batch split over devices.

    Args:
        function: `(whole, batch) -> pytree`. `whole` are the arrays that each device needs whole
            (parameters, keys); the first axis of each array of `batch` is the examples, a
            multiple of the number of devices.
        devices: Devices, or their number; all where None.

    Returns:
        The compiled function of host or device arrays; its result is whole on each device. A
        sampler has no batch to split, but a result to split: see `sampler`.
    """
    whole, split = _whole_and_split(_chosen(devices))
    compiled = jax.jit(function, out_shardings=whole)
    return lambda w, batch: compiled(place(w, whole), place(batch, split))


def sampler(
    sample: Callable[[Any, Array], Any], devices: Sequence[Device] | int | None = None
) -> Callable[[Any, Array], Any]:
    """Compiles a pure sampler, with the examples that it draws split over devices.

    Args:
        sample: `(params, key) -> [num, ...]`, num being a multiple of the number of devices.
        devices: Devices, or their number; all where None.

    Returns:
        The compiled function of host or device arrays; its result is split over the devices
        along its first axis.
    """
    whole, split = _whole_and_split(_chosen(devices))
    compiled = jax.jit(sample, out_shardings=split)
    return lambda params, key: compiled(*place((params, key), whole))


def _whole_and_split(devices: tuple[Device, ...]) -> tuple[NamedSharding, NamedSharding]:
    mesh = Mesh(np.asarray(devices), (DATA_AXIS,))
    return NamedSharding(mesh, P()), NamedSharding(mesh, P(DATA_AXIS))


# Several processes, each with devices of its own (`jax.distributed`), and what they agree on.

HEARTBEAT = 20
"""Seconds without a sign of life after which a process counts as lost."""
_GONE = ("Gloo", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination", "heartbeat")
_lost: list[bool] = []


class ProcessLost(RuntimeError):
    """Another process of the run is gone."""


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    **options: Any,
) -> None:
    """Joins this process to the others of a run, before anything else is asked of JAX.

    Calls `jax.distributed.initialize`, with collectives that CPU devices support. Where the
    cluster says who the processes are (Slurm, TPU pods, Kubernetes), no argument is needed.

    When one process is killed, the others end: `fit` raises ProcessLost, and this process does not
    wait for the lost one at exit. If process 0 is lost, JAX itself aborts the others at once.

    Args:
        coordinator_address: `host:port` of process 0.
        num_processes: Number of processes.
        process_id: Index of this process, from 0.
        **options: Passed to `jax.distributed.initialize`.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options = {"heartbeat_timeout_seconds": HEARTBEAT, **options}
    jax.distributed.initialize(coordinator_address, num_processes, process_id, **options)
    # After JAX's own, so called before it: that would wait for those that are gone, and abort.
    atexit.register(_exit_without_the_others)


@contextlib.contextmanager
def peers() -> Iterator[None]:
    """Raises ProcessLost, in one line, for what JAX raises when another process is gone.

    Raises:
        ProcessLost: Another process is gone.
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


def _exit_without_the_others() -> None:
    if _lost:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(1)


def agree(steps: int, stop: int) -> tuple[int, int]:
    """Returns what all processes go on with: the fewest steps, and the signal that stops any.

    Clocks and signals differ between processes, but all must make the same dispatches.

    Args:
        steps: Number of steps that this process wants to dispatch next.
        stop: Number of the signal that stops this process, or 0.
    """
    if jax.process_count() == 1:
        return steps, stop
    asked = _gathered([steps, stop])  # [processes, 2]
    return int(asked[:, 0].min()), int(asked[:, 1].max())


def all_true(value: bool) -> bool:
    """Whether the value is true on all processes."""
    return value if jax.process_count() == 1 else bool(_gathered([value]).all())


def highest(value: int) -> int:
    """Returns the highest of the processes' values."""
    return value if jax.process_count() == 1 else int(_gathered([value]).max())


def place(tree: Any, shardings: Any) -> Any:
    """Places arrays as `jax.device_put` does, also on devices of other processes.

    Args:
        tree: Arrays; each process gives the same ones.
        shardings: Sharding of each array, or one sharding for all.
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
    """Returns the values `[V]` of all processes, `[processes, V]`."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.asarray(values, np.int32)))
