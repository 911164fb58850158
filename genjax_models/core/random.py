"""Random numbers that belong to examples, not to devices.

Row i of every draw depends on the key and on i, the example's position in the batch, alone. So a
batch gets the same noise however it is split: over a mesh, where `jit` sees the whole batch, and
under `jax.pmap`, where a device sees its rows only and knows their positions from the mapped axis.
A model that draws its noise here, and calls `all_examples` before it mixes examples (a batch
statistic, a kernel between examples), is written once for both.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from genjax_models.core.types import Array, Key

DATA_AXIS = "data"
"""The name of the axis over which a batch is split, in a mesh and under `jax.pmap`."""


def _mapped_size() -> int:
    """In how many parts the caller's batch is split by a mapped axis; 1 where it is whole."""
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
    return jax.vmap(functools.partial(jax.random.fold_in, key))(rows)


def positions(num: int) -> tuple[Array, int]:
    """Where the caller's examples stand in the whole batch.

    Args:
        num: Number of examples that the caller sees.

    Returns:
        Their positions `[num]`, and the size of the whole batch.
    """
    size = _mapped_size()
    first = jax.lax.axis_index(DATA_AXIS) * num if size > 1 else 0
    return first + jnp.arange(num), size * num


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
