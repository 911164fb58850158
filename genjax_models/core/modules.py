"""How a model holds Flax modules: one entry of `params` and, if need be, of `state` for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from genjax_models.core.types import Key, Params, State


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
    """
    params, state = {}, {}
    for (name, (module, args)), k in zip(
        modules.items(), jax.random.split(key, len(modules)), strict=True
    ):
        variables = module.init(k, *args, **kwargs)
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
        *args: What the module is called on.
        key: For the module's noise (dropout), if it draws any.
        train: Handed to the module; its collections change only in training.
        **kwargs: Handed to the module.
    """
    variables = {"params": params[name], **state.get(name, {})}
    rngs = None if key is None else {"dropout": key}
    if not train or name not in state:
        return module.apply(variables, *args, train=train, rngs=rngs, **kwargs), state
    out, changed = module.apply(
        variables, *args, train=train, rngs=rngs, mutable=list(state[name]), **kwargs
    )
    return out, {**state, name: {**state[name], **changed}}
