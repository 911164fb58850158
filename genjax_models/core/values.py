"""Models as values: equal by what they are made of, printed as what builds them, named for files.

A model is a frozen dataclass whose parts are frozen dataclasses, Flax modules, numbers, and
functions that have a public name. So two models built alike are equal, `repr` is an expression that
builds the model again, and a file can hold it without pickle.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

T = TypeVar("T", bound=type)
C = TypeVar("C")
PACKAGE = __name__.partition(".")[0]
SHORT = "gm"
"""How names of this library begin: `import genjax_models as gm`."""
NO_PARTS = {"training", "data", "metrics", "applications", "pretrained", "plots", "saving"}
"""Folders and files of the library that hold no part of a model."""
DTYPES = ("bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "bfloat16", "float16", "float32", "float64", "complex64", "complex128")  # fmt: skip


@dataclass_transform(frozen_default=True)
def value(cls: T) -> T:
    """Class decorator: a frozen dataclass that prints as the expression that builds it."""
    cls = dataclasses.dataclass(frozen=True, repr=False)(cls)
    cls.__repr__ = source  # pyright: ignore[reportAttributeAccessIssue]
    return cls


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class partial:
    """`functools.partial` that is a value: equal to, and hashing like, another one built alike.

    `gm.partial(gm.networks.MLP, (64, 64))` is a field of a model that a lambda cannot be.

    Attributes:
        function: The function.
        args: Its first positional arguments.
        kwargs: Its keyword arguments, as pairs in the order of their names.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]

    def __init__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "kwargs", tuple(sorted(kwargs.items())))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result; later keyword arguments win."""
        return self.function(*self.args, *args, **{**dict(self.kwargs), **kwargs})

    def __repr__(self) -> str:
        """The expression that builds it."""
        return source(self)


def has_arguments(x: Any) -> bool:
    """Returns True if `arguments` knows what builds a value, or an instance of a class."""
    return dataclasses.is_dataclass(x) or hasattr(x, "_fields")


def arguments(x: Any, defaults: bool = False) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the positional and keyword arguments that build a value again.

    Args:
        x: A dataclass, a Flax module, a named tuple or a `partial`.
        defaults: Whether to name arguments that have their default value too.
    """
    if isinstance(x, partial):
        return (x.function, *x.args), dict(x.kwargs)
    if isinstance(x, tuple):
        return (), x._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    kwargs = {}
    for field in dataclasses.fields(x):
        if not field.init or (isinstance(x, nn.Module) and field.name in ("parent", "name")):
            continue
        given = getattr(x, field.name)
        if defaults or not _is_default(given, field):
            kwargs[field.name] = given
    return (), kwargs


def _is_default(given: Any, field: dataclasses.Field[Any]) -> bool:
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return given is default or (type(given) is type(default) and bool(given == default))


def public_name(x: Any) -> str | None:
    """The dotted name of a public class, function or constant; None where it has none.

    Names of this library begin with `gm.`; others are of `jax.nn`, `flax.linen`, types of
    `jax.numpy`, or what `register` was told.
    """
    try:
        name = _names().get(x)
    except TypeError:  # what cannot be hashed has no name
        return None
    if name is None or isinstance(x, type) or not dataclasses.is_dataclass(x):
        return name
    # Equal is not yet the same: a spec's class names, say, are of no account to `==`.
    return name if arguments(x, True) == arguments(public_object(name), True) else None


def public_object(name: str) -> Any:
    """The class, function or constant that `public_name` names so.

    Raises:
        KeyError: No such name is public or registered, whatever modules hold it.
    """
    return _objects()[name]


def register(x: C, name: str | None = None) -> C:
    """Makes a class or function of yours one that a saved model may name; a decorator too.

    Args:
        x: A class or function.
        name: Its name in files; by default its module and qualified name.

    Raises:
        ValueError: Another object has the name.
    """
    name = f"{x.__module__}.{x.__qualname__}" if name is None else name  # pyright: ignore
    if _objects().get(name, x) is not x:
        raise ValueError(f"{name} is the name of another object: register it by a name of its own")
    _registered[name] = x
    _objects.cache_clear()
    _names.cache_clear()
    return x


_registered: dict[str, Any] = {}


def source(x: Any) -> str:
    """A Python expression that builds a value again.

    It is read where `import genjax_models as gm, jax, flax` was done; functions and classes that
    have no public name are given by module and qualified name.
    """
    if (name := public_name(x)) is not None:
        return name
    if isinstance(x, type) or inspect.isroutine(x):
        return f"{x.__module__}.{x.__qualname__}"
    if isinstance(x, np.dtype):
        return source(getattr(jnp, x.name))
    if has_arguments(x):
        args, kwargs = arguments(x)
        inside = [source(a) for a in args] + [f"{k}={source(v)}" for k, v in kwargs.items()]
        return f"{source(type(x))}({', '.join(inside)})"
    if type(x) in (tuple, list):
        inside = ", ".join(map(source, x))
        return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' * (len(x) == 1)})"
    if isinstance(x, Mapping):
        return "{" + ", ".join(f"{k!r}: {source(v)}" for k, v in x.items()) + "}"
    if isinstance(x, float) and not np.isfinite(x):
        return f"float({str(x)!r})"
    return repr(x)


@functools.cache
def _objects() -> dict[str, Any]:
    """Every public name and what it names, the shortest names first."""
    found = {f"jax.numpy.{name}": getattr(jnp, name) for name in DTYPES}
    found |= {f"jax.nn.{name}": x for name, x in _public(jax.nn)}
    found |= {f"flax.linen.{name}": x for name, x in _public(nn)}
    modules, seen = [(SHORT, sys.modules[PACKAGE])], set()
    while modules:  # breadth first, so that the shortest name of an object comes first
        path, module = modules.pop(0)
        seen.add(module)
        for name, x in _public(module):
            if isinstance(x, types.ModuleType):
                if x not in seen and x.__name__.startswith(f"{PACKAGE}."):
                    modules.append((f"{path}.{name}", x))
            elif _is_value(x):
                found[f"{path}.{name}"] = x
    return {**found, **_registered}


def _public(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    for name in getattr(module, "__all__", None) or sorted(vars(module)):
        if not name.startswith("_") and hasattr(module, name):
            yield name, getattr(module, name)


def _is_value(x: Any) -> bool:
    """Whether a name may stand for it: a class or function of ours, or a constant built of them.

    What works on models is no part of one, and some of it writes files.
    """
    is_definition = isinstance(x, type) or inspect.isfunction(x)
    if not (is_definition or dataclasses.is_dataclass(x)):
        return False
    package, folder, *_ = (x if is_definition else type(x)).__module__.split(".") + [""]
    return package == PACKAGE and folder not in NO_PARTS


@functools.cache
def _names() -> dict[Any, str]:
    names: dict[Any, str] = {}
    for name, x in _objects().items():
        if x.__hash__ is not None and not isinstance(x, types.ModuleType):
            names.setdefault(x, name)
    return names
