"""How a model holds Flax modules: one entry of `params` and, if need be, of `state` for each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.types import Array, Key, Params, State


def check_module(name: str, module: Any) -> None:
    """Raise unless a network is a Flax module.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(module, nn.Module):
        return
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise TypeError(f"the {name} is the class {module.__name__}: build one, with its sizes")
    raise TypeError(
        f"the {name} is a {getattr(module, '__name__', type(module).__name__)}, and should be a "
        "flax.linen module, such as gm.networks.MLP((64, 2)); a class of flax.nnx is made one by "
        "flax.nnx.bridge.to_linen(Class, *arguments)"
    )


def _check_call(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
    """Raises unless a network can be called as models call it.

    Raises:
        TypeError: Its `__call__` takes other arguments.
    """
    try:
        inspect.signature(module.__call__).bind(*args, train=False)
    except TypeError as error:
        raise _not_called(name, module, args, error) from None


def _not_called(name: str, module: nn.Module, args: tuple[Any, ...], why: object) -> TypeError:
    given = ", ".join("None" if arg is None else f"{jnp.shape(arg)}" for arg in args)
    return TypeError(
        f"the {name} is called as network({given}, train=...), which {type(module).__name__} does"
        f" not take ({why}): write its __call__ so; a module of x alone, such as"
        " flax.linen.Sequential((...)), goes into gm.networks.Unconditional(...), and a class of"
        " flax.nnx into flax.nnx.bridge.to_linen(Class, *arguments)"
    )


def init_modules(
    key: Key, modules: Mapping[str, tuple[nn.Module, tuple[Any, ...]]], **kwargs: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fresh parameters and state of named modules.

    Args:
        key: Split among the modules.
        modules: Name -> the module, and the positional arguments of its call (for their shapes).
        **kwargs: Keyword arguments of every call.

    Returns:
        `params` and `state`: name -> trained arrays, and name -> the module's other collections,
        for the modules that have any.

    Raises:
        TypeError: A network is no Flax module, or cannot be called on these arguments and `train`.
    """
    for name, (module, args) in modules.items():
        check_module(name, module)
        _check_call(name, module, args)
    params, state = {}, {}
    for (name, (module, args)), k in zip(
        modules.items(), jax.random.split(key, len(modules)), strict=True
    ):
        try:
            variables = module.init(k, *args, **kwargs)
        except TypeError as error:  # of a layer within: Sequential itself takes everything
            if not re.search(r"__call__\(\) (takes|got|missing)", str(error)):
                raise
            raise _not_called(name, module, args, error) from error
        params[name] = variables.get("params", {})
        others = {kind: value for kind, value in variables.items() if kind != "params"}
        if others:
            state[name] = others
    return params, state


def apply_module(
    name: str,
    module: nn.Module,
    params: Params,
    state: State,
    *args: Any,
    key: Key | None = None,
    train: bool = False,
    **kwargs: Any,
) -> tuple[Any, State]:
    """A named module's output, and the state with whatever the module changed of its own.

    Args:
        name: The module's entry of `params` and `state`.
        module: The module.
        params: The model's parameters.
        state: The model's state.
        *args: Positional arguments of the module's call.
        key: For the module's noise (dropout), if it draws any.
        train: Handed to the module; its collections change only in training.
        **kwargs: Handed to the module.
    """
    out, state, _ = _apply(name, module, params, state, args, kwargs, key, train, None)
    return out, state


def apply_with_features(
    name: str,
    module: nn.Module,
    params: Params,
    state: State,
    *args: Any,
    key: Key | None = None,
    train: bool = False,
    **kwargs: Any,
) -> tuple[Any, Mapping[str, Array], State]:
    """`apply_module` that also returns the outputs of the layers within.

    Returns:
        The output; the outputs of all modules within this one that are arrays of as many examples
        as its own, by their path; and the state.
    """
    out, state, seen = _apply(name, module, params, state, args, kwargs, key, train, _within)
    leaves = jax.tree_util.tree_leaves_with_path(seen)
    num = out.shape[0]
    features = {jax.tree_util.keystr(path, simple=True, separator="/"): a for path, a in leaves}
    return out, {k: a for k, a in features.items() if a.ndim > 1 and a.shape[0] == num}, state


def _within(module: nn.Module, method: str) -> bool:
    return bool(module.path) and method == "__call__"


def _apply(
    name: str,
    module: nn.Module,
    params: Params,
    state: State,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    key: Key | None,
    train: bool,
    capture: Callable[[nn.Module, str], bool] | None,
) -> tuple[Any, State, Mapping[str, Any]]:
    """The output, the state after it, and what was captured."""
    own = state.get(name, {})
    changing = list(own) if train else []
    out, changed = module.apply(
        {"params": params[name], **own},
        *args,
        train=train,
        rngs=None if key is None else {"dropout": key},
        mutable=changing + (["intermediates"] if capture else []),
        capture_intermediates=capture or False,
        **kwargs,
    )
    if changing:
        state = {**state, name: {kind: changed[kind] for kind in changing}}
    return out, state, changed.get("intermediates") or {}
