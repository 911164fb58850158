"""How a step, written once for the whole batch, is mapped over devices.

`over_mesh` is `jit` with named shardings: the compiler splits the batch over the mesh's `data` axis
and adds the communication. `over_pmap` is `jax.pmap`, kept for those who stand on it: every device
runs the step on its own rows, and `core.random` tells where rows must meet. Both give the same run.
A mesh may span the devices of several processes (`initialize`).

This is the only file that names `pmap`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from genjax_models.core.buffer import Buffer
from genjax_models.core.random import DATA_AXIS
from genjax_models.core.types import Array, Batch, Device, Metrics
from genjax_models.training.hosts import initialize as initialize
from genjax_models.training.hosts import place
from genjax_models.training.keys import is_key
from genjax_models.training.state import TrainState
from genjax_models.training.step import Step

Gather: TypeAlias = Callable[[Any, Array], Batch]
"""`(arrays, indices [B]) -> batch`, pure."""
Partition: TypeAlias = Callable[[jax.ShapeDtypeStruct], P]
"""How an array of the training state lies on the mesh."""


class Mapped(NamedTuple):
    """A way of running steps on devices.

    Attributes:
        size: Number of devices.
        put: Places a host's training state on the devices.
        get: The training state in the shapes that `put` was given.
        describe: The shapes of a training state, with the shardings that `put` takes best: what a
            checkpoint is restored to.
        put_data: Places data, whole on every device.
        run: `(step, gather) -> run`; see `Run`.
    """

    size: int
    put: Callable[[TrainState], Any]
    get: Callable[[Any], TrainState]
    describe: Callable[[TrainState], TrainState]
    put_data: Callable[[Any], Any]
    run: Callable[[Step, Gather], Run]


Run: TypeAlias = Callable[[Any, Any, np.ndarray, int], tuple[Any, dict[str, np.ndarray]]]
"""`(state, data, indices [K, B], num) -> (state, metrics [num])`: the first `num` of K steps in one
dispatch. The state that goes in is donated. The call returns when the steps are done, so dispatch
never runs ahead: unbounded, simulated devices can abort in all-reduce. A run is compiled at its
first call, and its later calls take a state of the same shapes."""


def mapped(
    devices: Sequence[Device] | int | None = None,
    mapping: Literal["mesh", "pmap"] = "mesh",
    partition: Partition | None = None,
) -> Mapped:
    """The way of running steps that was asked for.

    Args:
        devices: Devices, or how many of them; all where None.
        mapping: "mesh" for `jit` over a mesh, "pmap" for `jax.pmap`.
        partition: See `over_mesh`; not for "pmap".

    Raises:
        ValueError: There are not so many devices, or the mapping is neither.
    """
    chosen = _chosen(devices)
    if mapping == "mesh":
        return over_mesh(chosen, partition or replicated)
    if mapping == "pmap":
        if partition is not None:
            raise ValueError("pmap keeps every parameter whole on every device: use mapping='mesh'")
        return over_pmap(chosen)
    raise ValueError(f"mapping is {mapping!r}, but it can be 'mesh' or 'pmap'")


def replicated(array: jax.ShapeDtypeStruct) -> P:
    """Every array whole on every device."""
    del array
    return P()


def fully_sharded(size: int) -> Partition:
    """Every array split over `size` devices along its longest axis that they divide.

    Zhao et al. 2023, PyTorch FSDP, arXiv:2304.11277: parameters, averages and optimizer states take
    `1 / size` of the memory on each device.
    """

    def partition(array: jax.ShapeDtypeStruct) -> P:
        axes = [i for i, n in enumerate(array.shape) if n % size == 0 and n > 0]
        if not axes:
            return P()
        longest = max(axes, key=lambda i: array.shape[i])
        return P(*(DATA_AXIS if i == longest else None for i in range(len(array.shape))))

    return partition


def over_mesh(devices: Sequence[Device], partition: Partition = replicated) -> Mapped:
    """`jit` over a mesh of devices: the batch split, parameters as `partition` says.

    Args:
        devices: The devices, of all processes; the batch is a multiple of them.
        partition: How each array of the training state lies on the mesh: `replicated`,
            `fully_sharded`, or any function of its shape. Keys are whole on every device, and
            buffers are split as the batch is.

    Returns:
        The way of running steps.
    """
    mesh = Mesh(np.asarray(devices), (DATA_AXIS,))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P(DATA_AXIS))

    def shardings(state: TrainState) -> Any:
        def of(array: Any) -> Any:
            if _is_buffer(array):
                return jax.tree.map(lambda _: split, array)
            if is_key(array):
                return whole
            return NamedSharding(mesh, partition(jax.ShapeDtypeStruct(array.shape, array.dtype)))

        return jax.tree.map(of, state, is_leaf=_is_buffer)

    def run(step: Step, gather: Gather) -> Run:
        def gather_split(data: Any, indices: Array) -> Batch:
            return jax.lax.with_sharding_constraint(gather(data, indices), split)

        compiled: Any = None

        def call(state: Any, data: Any, indices: np.ndarray, num: int) -> Any:
            nonlocal compiled
            if compiled is None:
                compiled = jax.jit(
                    functools.partial(_many_steps, step, gather_split),
                    donate_argnums=0,
                    out_shardings=(shardings(state), whole),
                )
            state, metrics = compiled(state, data, *place((indices, np.int32(num)), whole))
            return state, {name: np.asarray(rows)[:num] for name, rows in metrics.items()}

        return call

    return Mapped(
        size=len(devices),
        put=lambda state: place(state, shardings(state)),
        get=lambda state: state,
        describe=lambda state: _described(state, shardings(state)),
        put_data=lambda data: place(data, whole),
        run=run,
    )


def over_pmap(devices: Sequence[Device]) -> Mapped:
    """`jax.pmap`: the state whole on every device, but for buffers, each running its own rows.

    Raises:
        ValueError: There are several processes.
    """
    if jax.process_count() > 1:
        raise ValueError(
            f"mapping='pmap' is for one process, and there are {jax.process_count()}: use 'mesh'"
        )
    size = len(devices)
    copy = jax.pmap(lambda _, tree: tree, in_axes=(0, None), devices=devices)
    copies = functools.partial(copy, np.arange(size))
    on_first = SingleDeviceSharding(devices[0])
    unstack = jax.jit(lambda tree: jax.tree.map(lambda a: a[0], tree))
    rows = jax.pmap(lambda own: own, devices=devices)

    def put(state: TrainState) -> Any:
        parts, structure = jax.tree.flatten(state, is_leaf=_is_buffer)
        copied = iter(copies([part for part in parts if not _is_buffer(part)]))

        def split(a: Any) -> np.ndarray:
            return np.asarray(a).reshape(size, -1, *a.shape[1:])

        return structure.unflatten(
            rows(jax.tree.map(split, part)) if _is_buffer(part) else next(copied) for part in parts
        )

    def get(state: Any) -> TrainState:
        def of(part: Any) -> Any:
            if not _is_buffer(part):
                return part.addressable_data(0)
            return jax.tree.map(lambda a: np.asarray(a).reshape(1, -1, *a.shape[2:]), part)

        return unstack(jax.tree.map(of, state, is_leaf=_is_buffer))

    def run(step: Step, gather: Gather) -> Run:
        def gather_own(data: Any, indices: Array) -> Batch:
            num = indices.shape[0] // size
            first = jax.lax.axis_index(DATA_AXIS) * num
            return gather(data, jax.lax.dynamic_slice_in_dim(indices, first, num))

        compiled = jax.pmap(
            functools.partial(_many_steps, step, gather_own),
            axis_name=DATA_AXIS,
            in_axes=(0, 0, None, None),
            donate_argnums=0,
            devices=devices,
        )

        def call(state: Any, data: Any, indices: np.ndarray, num: int) -> Any:
            state, metrics = compiled(state, data, indices, np.int32(num))
            own = {name: np.asarray(rows.addressable_data(0)) for name, rows in metrics.items()}
            return state, {name: rows[0, :num] for name, rows in own.items()}

        return call

    return Mapped(
        size=size,
        put=put,
        get=get,
        describe=lambda state: _described(state, jax.tree.map(lambda _: on_first, state)),
        put_data=copies,
        run=run,
    )


def _many_steps(
    step: Step, gather: Gather, state: TrainState, data: Any, indices: Array, num: Array
) -> tuple[TrainState, Metrics]:
    """The first `num` of the steps whose examples are the rows of `indices` `[K, B]`.

    The bound of the loop is an array: one compiled program serves any number of steps up to K.
    """
    # Jitted to be traced once, though it is asked for its metrics' shapes before the loop is.
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


def _chosen(devices: Sequence[Device] | int | None) -> list[Device]:
    found = jax.devices()
    if devices is None:
        return found
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
    return chosen


def over_examples(
    function: Callable[..., Any], devices: Sequence[Device] | int | None = None
) -> Callable[..., Any]:
    """A pure function of a batch, compiled, with the batch split over devices.

    Args:
        function: `(whole, batch) -> pytree`: arrays that every device needs whole (parameters,
            keys), and arrays whose first axis is the examples, a multiple of the devices.
        devices: Devices, or how many; all where None.

    Returns:
        The function, to be called on host or device arrays; its result is whole on every device.
        A sampler has no batch to split, but its result is: see `sampler`.
    """
    whole, split = _placements(devices)
    compiled = jax.jit(function, out_shardings=whole)
    return lambda w, batch: compiled(place(w, whole), place(batch, split))


def sampler(
    sample: Callable[[Any, Array], Any], devices: Sequence[Device] | int | None = None
) -> Callable[[Any, Array], Any]:
    """A pure sampler, compiled, each device drawing its share of the examples.

    Args:
        sample: `(params, key) -> [num, ...]`, whose num is a multiple of the devices.
        devices: Devices, or how many; all where None.

    Returns:
        The function, to be called on host or device arrays; its result is split over the devices
        along its first axis.
    """
    whole, split = _placements(devices)
    compiled = jax.jit(sample, out_shardings=split)
    return lambda params, key: compiled(*place((params, key), whole))


def _placements(
    devices: Sequence[Device] | int | None,
) -> tuple[NamedSharding, NamedSharding]:
    mesh = Mesh(np.asarray(_chosen(devices)), (DATA_AXIS,))
    return NamedSharding(mesh, P()), NamedSharding(mesh, P(DATA_AXIS))
