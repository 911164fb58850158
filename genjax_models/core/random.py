"""Random numbers that belong to examples, not to devices.

Row i of every draw depends on the key and on i, the example's position in the batch, alone. So a
batch gets the same noise however it is split: over a mesh, where `jit` sees the whole batch, and
under `jax.pmap`, where a device sees its rows only and knows their positions from the mapped axis.
A model that draws its noise here, and calls `all_examples` before it mixes examples (a batch
statistic, a kernel between examples), is written once for both.

Where a batch is itself a part of something longer, a data set that is gone through, its key says
where it starts (`from_row`): the noise of an example is then the same in batches of any size.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

from genjax_models.core.types import Array, Key

DATA_AXIS = "data"
"""The name of the axis over which a batch is split, in a mesh and under `jax.pmap`."""


def _mapped_size() -> int:
    """Number of parts that a mapped axis splits the caller's batch into; 1 if it is whole."""
    try:
        return jax.lax.axis_size(DATA_AXIS)
    except NameError:  # JAX's word for an axis that nobody maps over
        return 1


def example_keys(key: Key, num: int) -> Key:
    """One key for each of the caller's examples.

    Args:
        key: The key that the whole batch shares.
        num: Number of examples that the caller sees.

    Returns:
        Keys `[num]`, a function of `key` and of each example's position in the whole batch.
    """
    rows, _ = positions(num)
    return jax.vmap(functools.partial(jax.random.fold_in, _plain_key(key)))(first_row(key) + rows)


def from_row(key: Key, row: Array | int) -> Key:
    """A key for the part of a long batch whose first example is number `row` of it.

    By `from_row(key, 64)`, examples 0, 1, ... have the noise that examples 64, 65, ... have by
    `from_row(key, 0)`. The key is split and folded into as any other; what is drawn from it without
    this module is the same whatever the row.

    Args:
        key: The key of the whole.
        row: First row of the part, an integer `[]`.
    """
    data = jax.random.bits(key, (2,), jnp.uint32)
    return _with_row(jax.random.wrap_key_data(data, impl=_PLAIN), jnp.asarray(row)[None])


def first_row(key: Key) -> Array | int:
    """The row that `from_row` was given; 0 of other keys."""
    if not _has_row(key):
        return 0
    return jax.random.key_data(key)[..., -1].astype(jnp.int32)


def _has_row(key: Key) -> bool:
    # A key of JAX's old kind is an array of integers.
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return typed and jax.random.key_impl(key) == _WITH_ROW


def _plain_key(key: Key) -> Key:
    return _without_row(jax.random.key_data(key)) if _has_row(key) else key


def _with_row(keys: Key, row: Array) -> Array:
    data = jax.random.key_data(keys)
    row = jnp.broadcast_to(row.astype(data.dtype), (*data.shape[:-1], 1))
    return jax.random.wrap_key_data(jnp.concatenate([data, row], axis=-1), impl=_WITH_ROW)


def _data_with_row(keys: Key, row: Array) -> Array:
    return jax.random.key_data(_with_row(keys, row))


def _without_row(data: Array) -> Key:
    return jax.random.wrap_key_data(data[..., :-1], impl=_PLAIN)


_PLAIN = "threefry2x32"
_WITH_ROW = define_prng_impl(
    key_shape=(3,),
    seed=lambda seed: _data_with_row(jax.random.key(seed, impl=_PLAIN), jnp.zeros(1)),
    split=lambda data, shape: _data_with_row(
        jax.random.split(_without_row(data), shape), data[-1:]
    ),
    random_bits=lambda data, width, shape: jax.random.bits(
        _without_row(data), shape, jnp.dtype(f"uint{width}")
    ),
    fold_in=lambda data, number: _data_with_row(
        jax.random.fold_in(_without_row(data), number), data[-1:]
    ),
    name="threefry2x32_with_row",
    tag="row",
)
"""A PRNG whose keys have a third word, the row, which the keys made of a key keep.

Carried by the key, the row reaches whatever draws noise in a model, whoever splits the key on the
way; and a model's methods stay functions of their arguments.
"""


def positions(num: int) -> tuple[Array, int]:
    """Positions of the caller's examples in the whole batch.

    Args:
        num: Number of examples that the caller sees.

    Returns:
        Their positions `[num]`, and the size of the whole batch.
    """
    size = _mapped_size()
    first = jax.lax.axis_index(DATA_AXIS) * num if size > 1 else 0
    return first + jnp.arange(num), size * num


def batch_size(x: Array) -> int:
    """Number of examples of the whole batch, of which the caller sees `x` `[B, ...]`."""
    return _mapped_size() * x.shape[0]


def all_examples(tree):  # noqa: ANN001, ANN201 - any pytree in, the same out
    """The whole batch's rows of every leaf `[B, ...]`, on every device.

    The identity unless the caller is mapped over the data axis.
    """
    if _mapped_size() == 1:
        return tree
    return jax.tree.map(lambda a: jax.lax.all_gather(a, DATA_AXIS, tiled=True), tree)


def mean_over_devices(tree):  # noqa: ANN001, ANN201 - any pytree in, the same out
    """The mean of every leaf over the mapped data axis; the identity where nobody maps.

    Every device computes the loss of the whole batch, from all examples' outputs, but follows its
    gradient back through its own examples only, once for each device's copy of the loss: the mean
    of the devices' gradients is the gradient.
    """
    if _mapped_size() == 1:
        return tree
    return jax.tree.map(lambda a: jax.lax.pmean(a, DATA_AXIS), tree)


def normal(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Standard normal numbers `shape`, whose first axis is the examples."""
    draw = functools.partial(jax.random.normal, shape=shape[1:], dtype=dtype)
    return jax.vmap(draw)(example_keys(key, shape[0]))


def uniform(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Uniform numbers in [0, 1) of `shape`, whose first axis is the examples."""
    draw = functools.partial(jax.random.uniform, shape=shape[1:], dtype=dtype)
    return jax.vmap(draw)(example_keys(key, shape[0]))


def gumbel(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Standard Gumbel numbers of `shape`, whose first axis is the examples."""
    draw = functools.partial(jax.random.gumbel, shape=shape[1:], dtype=dtype)
    return jax.vmap(draw)(example_keys(key, shape[0]))
