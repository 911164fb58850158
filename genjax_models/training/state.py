"""State that training carries from step to step, and its initialisation."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from genjax_models.core.loss import Player
from genjax_models.core.protocols import Model
from genjax_models.core.types import Array, Batch, Key, Params, State

Optimizers: TypeAlias = optax.GradientTransformation | Mapping[str, optax.GradientTransformation]
"""One Optax transformation for all players, or one for each player by name.

`optax.MultiSteps` is accepted as well: it gathers the gradients of several steps of `fit` and moves
the parameters in the last of them (`fit`'s `accumulate` divides the batch of one step instead).
Transformations that need the loss (`optax.contrib.reduce_on_plateau`) receive the player's."""


class TrainState(NamedTuple):
    """Everything that training carries: saved and loaded, the run goes on as if never stopped.

    Attributes:
        step: Number of steps done, int32 `[]`.
        params: Parameters, by network.
        ema: Moving average of the parameters, which users sample from.
        opt_state: States of the optimizers, by player.
        state: Arrays that are not trained: batch statistics, codebooks, replay buffers.
        key: PRNG key of the run; step t draws from `fold_in(key, t)`.
    """

    step: Array
    params: Params
    ema: Params
    opt_state: dict[str, Any]
    state: State
    key: Key


def optimizer_of(optimizers: Optimizers, players: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the optimizer of each player.

    Raises:
        TypeError: An optimizer is no Optax transformation.
        ValueError: The names of a mapping are not those of the players.
    """
    if not isinstance(optimizers, Mapping):
        optimizers = dict.fromkeys(players, optimizers)
    if set(optimizers) != set(players):
        raise ValueError(
            f"optimizers are given for {_names(optimizers)}, but the model's players are "
            f"{_names(players)}: give one for each, or one for all"
        )
    return {name: _transformation(name, optimizers[name]) for name in players}


def _transformation(player: str, optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer with an `update` that accepts the loss, whether it uses it or not."""
    if isinstance(optimizer, optax.MultiSteps):
        optimizer = optimizer.gradient_transformation()
    if not isinstance(optimizer, optax.GradientTransformation):
        number = isinstance(optimizer, numbers.Real) and not isinstance(optimizer, bool)
        raise TypeError(
            f"the optimizer of {player!r} is {optimizer!r}: give an Optax transformation, such as "
            f"optax.adam({optimizer if number else 1e-3})"
        )
    return optax.with_extra_args_support(optimizer)


def _check_update(player: str, optimizer: Any, owned: Params, state: Any) -> None:
    """Raises if the optimizer needs what a step of `fit` does not have; nothing is computed."""

    def update(grads: Params, state: Any, value: Array) -> Any:
        return optimizer.update(grads, state, grads, value=value, grad=grads)

    try:
        jax.eval_shape(update, owned, state, jnp.zeros(()))
    except TypeError as error:
        if "value_fn" not in str(error):
            raise
        raise TypeError(
            f"the optimizer of {player!r} searches along a line, for which it calls the loss "
            "again and again (value_fn), and a step of fit calls it once: give one without a line "
            "search, such as optax.adam(1e-3) or optax.lbfgs(1e-2, linesearch=None)"
        ) from None


def init_state(
    model: Model,
    optimizers: Optimizers,
    batch: Batch,
    seed: Array | int,
    initial: tuple[Params, State] | None = None,
) -> TrainState:
    """Returns the state at step 0.

    Args:
        model: Model to train.
        optimizers: One Optax transformation, or one for each player; see `Optimizers`.
        batch: A batch of the data, for the model's `init`.
        seed: Seed of the run: it decides the parameters and all noise of training.
        initial: Parameters and state to start from, in place of fresh ones.

    Raises:
        ValueError: A part of the parameters is owned by no player or by two, a player owns one
            that does not exist, or `optimizers` or `initial` do not belong to this model.
    """
    key_init, key = keys_of(seed)
    params, state = model.init(key_init, batch)
    if initial is not None:
        _check_same_shapes(initial, (params, state))
        params, state = initial
    players = model.players
    _check_owners(params, players)
    opt_state = {}
    for name, optimizer in optimizer_of(optimizers, players).items():
        owned = {k: params[k] for k in players[name].owns}
        opt_state[name] = optimizer.init(owned)
        _check_update(name, optimizer, owned, opt_state[name])
    ema = jax.tree.map(jnp.copy, params)  # a copy: both are donated
    return TrainState(jnp.zeros((), jnp.int32), params, ema, opt_state, state, key)


def keys_of(seed: Array | int) -> tuple[Key, Key]:
    """Returns the PRNG key of a run's initialisation, and the one that its steps draw from."""
    key_init, key = jax.random.split(jax.random.key(seed))
    return key_init, key


def _check_owners(params: Params, players: Mapping[str, Player]) -> None:
    owners: dict[str, str] = {}
    for name, player in players.items():
        for network in player.owns:
            if network in owners:
                raise ValueError(
                    f"{network!r} is owned by {owners[network]!r} and by {name!r}: one player "
                    "alone moves a network; the others' losses may still use it"
                )
            owners[network] = name
    if set(owners) != set(params):
        raise ValueError(
            f"the model has parameters for {_names(params)}, but its players own {_names(owners)}: "
            "each must be owned by a player, else nothing trains it"
        )


def _check_same_shapes(given: Any, wanted: Any) -> None:
    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path): a.shape for path, a in leaves}

    given, wanted = shapes(given), shapes(wanted)
    for path in sorted(given.keys() | wanted.keys()):
        if given.get(path) != wanted.get(path):
            raise ValueError(
                f"the parameters to start from are of another model: at {path} they have "
                f"{given.get(path, 'nothing')}, but this one has {wanted.get(path, 'nothing')}"
            )


def _names(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"


# Files and other processes hold PRNG keys as the integers that they consist of.


def is_key(array: Any) -> bool:
    """Whether an array, or its `jax.ShapeDtypeStruct`, holds typed PRNG keys."""
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def keys_to_data(tree: Any) -> Any:
    """Returns the pytree with each key replaced by its integers, each struct by a struct."""

    def convert(array: Any) -> Any:
        if not is_key(array):
            return array
        if isinstance(array, jax.ShapeDtypeStruct):
            data = jax.eval_shape(jax.random.key_data, array)
            return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=array.sharding)
        return jax.random.key_data(array)

    return jax.tree.map(convert, tree)


def data_to_keys(tree: Any, like: Any) -> Any:
    """Inverts `keys_to_data`: integers become keys wherever `like` has keys."""

    def convert(key: Any, array: Any) -> Any:
        return jax.random.wrap_key_data(array, impl=_impl(key)) if is_key(key) else array

    return jax.tree.map(convert, like, tree)


def _impl(key: Any) -> Any:
    found = []
    # `key_impl` does not accept a struct, but while tracing it is given an array.
    jax.eval_shape(lambda k: found.append(jax.random.key_impl(k)), key)
    return found[0]
