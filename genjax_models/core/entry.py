"""Where a user's call enters a model: what is given is looked at, and one program runs.

A jitted function sees no values, so it cannot refuse a label that is no class; and a function that
is not jitted compiles its loops anew at each call. A method with the decorator below is called from
outside JAX's transformations as `jax.jit` would call it, after a look at the values on the host;
inside of them it is the plain function.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state

from genjax_models.core.conditions import check_call
from genjax_models.core.values import source

P = ParamSpec("P")
R = TypeVar("R")

PROGRAMS = 128
"""How many programs are kept, for methods, models and options that are asked for again."""
_OUTSIDE = get_opaque_trace_state()


def entry(*static: str, **examples: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a model's method check its arguments and compile once.

    The program is that of the method, of a model (by its value) and of the options named here; JAX
    keeps one for each shape of the other arguments. A `functools.partial` is an option by its
    function and arguments, and an array by its values, so either may be made anew at each call.

    Args:
        *static: Names of the options: what a program is compiled for.
        **examples: Argument -> the attribute of the model that is its data's spec, for arguments
            that are examples; `x="spec"` goes without saying.

    Returns:
        The decorator.
    """
    specs = {"x": "spec", **examples}

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(method).parameters
        names = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())

        @functools.wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if get_opaque_trace_state() != _OUTSIDE:
                return method(*args, **kwargs)
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            if len(given) < len(args) + len(kwargs) or not (
                takes_any or given.keys() <= parameters.keys()
            ):
                return method(*args, **kwargs)  # Python says what is wrong
            model = given.pop(names[0])
            given = check_call(model, given, specs)
            arrays: list[Any] = []
            options = tuple(
                (name, _frozen(given.pop(name), arrays)) for name in static if name in given
            )
            try:
                program = _program(method, _Model(model), options)
            except (TypeError, ValueError):  # the model or an option holds arrays, say
                thawed = {name: _thawed(option, arrays) for name, option in options}
                return method(model, **given, **thawed)  # pyright: ignore[reportCallIssue]
            try:
                return program(given, arrays)
            except (TypeError, ValueError) as error:  # in one line, without JAX's note on frames
                vars(error).pop("__notes__", None)
                raise

        return call

    return decorate


@functools.lru_cache(maxsize=PROGRAMS)
def _program(
    method: Callable[..., R], model: _Model, options: tuple[tuple[str, Hashable], ...]
) -> Callable[[Mapping[str, Any], list[Any]], R]:
    def run(given: Mapping[str, Any], arrays: list[Any]) -> R:
        thawed = {name: _thawed(option, arrays) for name, option in options}
        return method(model.value, **given, **thawed)

    run.__name__ = run.__qualname__ = method.__qualname__
    return jax.jit(run)


@dataclasses.dataclass(frozen=True)
class _Model:
    """A model as a key of the cache: `MLP([64, 2])` has no hash of its own, for it holds a list."""

    value: Any

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return hash(source(self.value))


@dataclasses.dataclass(frozen=True)
class _Call:
    """A `functools.partial` that is equal to another of the same function and arguments."""

    function: Any
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class _Constant:
    """An array that is equal to another of the same values."""

    values: tuple[Any, ...]
    array: jax.Array = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True)
class _Tree:
    """A `jax.tree_util.Partial`, whose arrays are arguments of the program."""

    tree: Any
    first: int


def _frozen(option: Any, arrays: list[Any]) -> Any:
    """The option as a value with a hash; arrays that it takes along go to the end of `arrays`."""
    if isinstance(option, functools.partial):
        leaves, tree = jax.tree.flatten(option)
        if isinstance(option, jax.tree_util.Partial) and all(map(_is_array, leaves)):
            arrays.extend(leaves)
            return _Tree(tree, len(arrays) - len(leaves))
        return _Call(
            _frozen(option.func, arrays),
            tuple(_frozen(arg, arrays) for arg in option.args),
            tuple((name, _frozen(option.keywords[name], arrays)) for name in option.keywords),
        )
    if _is_array(option):
        array = jnp.asarray(option)
        if array.ndim == 0:
            return array.item()
        values = np.asarray(array)
        return _Constant((values.shape, values.dtype, values.tobytes()), array)
    return option


def _thawed(option: Any, arrays: list[Any]) -> Any:
    if isinstance(option, _Call):
        function, *args = (_thawed(arg, arrays) for arg in (option.function, *option.args))
        kwargs = {name: _thawed(arg, arrays) for name, arg in option.kwargs}
        return functools.partial(function, *args, **kwargs)
    if isinstance(option, _Constant):
        return option.array
    if isinstance(option, _Tree):
        last = option.first + option.tree.num_leaves
        return jax.tree.unflatten(option.tree, arrays[option.first : last])
    return option


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray | np.generic)
