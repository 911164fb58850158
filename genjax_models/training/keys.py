"""PRNG keys as the integers that they are made of, which files and other processes can hold."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def is_key(array: Any) -> bool:
    """Whether an array, or the description of one, is of typed PRNG keys."""
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def keys_to_data(tree: Any) -> Any:
    """A pytree with every key replaced by its integers; descriptions of arrays stay such."""

    def convert(array: Any) -> Any:
        if not is_key(array):
            return array
        if isinstance(array, jax.ShapeDtypeStruct):
            data = jax.eval_shape(jax.random.key_data, array)
            return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=array.sharding)
        return jax.random.key_data(array)

    return jax.tree.map(convert, tree)


def data_to_keys(tree: Any, like: Any) -> Any:
    """The inverse: integers become keys again wherever `like` has keys."""

    def convert(key: Any, array: Any) -> Any:
        return jax.random.wrap_key_data(array, impl=_impl(key)) if is_key(key) else array

    return jax.tree.map(convert, like, tree)


def _impl(key: Any) -> Any:
    found = []
    # `key_impl` does not take the description of a key, but while tracing it is given one.
    jax.eval_shape(lambda k: found.append(jax.random.key_impl(k)), key)
    return found[0]
