"""One training step as a pure function, in the global view: it sees the whole batch.

It knows players, and nothing of families: each in turn takes the gradient of its loss with respect
to the parameters that it owns, and its optimizer moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax

from genjax_models.core.loss import Loss, Player
from genjax_models.core.protocols import Model
from genjax_models.core.random import mean_over_devices
from genjax_models.core.types import Array, Batch, Key, Metrics, Params, State
from genjax_models.training import checks
from genjax_models.training.state import Optimizers, TrainState, optimizer_of

Step: TypeAlias = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_step(
    model: Model,
    optimizers: Optimizers,
    losses: Mapping[str, Loss] | None = None,
    ema: float = 0.999,
    accumulate: int = 1,
) -> Step:
    """Returns the step that trains a model.

    Args:
        model: Model to train; its `players` move in their order.
        optimizers: One Optax transformation, or one for each player.
        losses: Loss by player, in place of the player's own.
        ema: Decay of the moving average of the parameters; see `ema_decay`.
        accumulate: Number of parts of a batch whose gradients are computed one after the other
            and averaged. Terms that mix examples see one part at a time.

    Returns:
        `(TrainState, batch) -> (TrainState, metrics)`, pure, to be jitted. The metrics are named
        `player/term`; `player/gradient_norm` is the norm of the gradient before the optimizer.

    Raises:
        TypeError: `losses` is not a mapping to losses.
        ValueError: `losses` or `optimizers` name somebody who is not a player.
    """
    players = dict(model.players)
    checks.check_losses(losses, tuple(players))
    for name in losses or {}:
        if name not in players:
            raise ValueError(
                f"a loss is given for {name!r}, but the model's players are {', '.join(players)}"
            )
    players = {
        name: (player, (losses or {}).get(name, player.loss)) for name, player in players.items()
    }
    optimizer_by_player = optimizer_of(optimizers, players)

    def step(train_state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        t, params, average, opt_state, state, key = train_state
        opt_state, metrics = dict(opt_state), {}
        for i, (name, (player, loss)) in enumerate(players.items()):
            for turn in range(player.turns):
                key_turn = turn_key(key, t, i, turn)
                grads, after, values = _gradient(
                    player, loss, params, batch, key_turn, state, t, accumulate
                )
                state = _own(player, params, state, after)
                owned = {k: params[k] for k in player.owns}
                updates, opt_state[name] = optimizer_by_player[name].update(
                    grads, opt_state[name], owned, value=values["loss"], grad=grads
                )
                params = {**params, **cast(Params, optax.apply_updates(owned, updates))}
                values["gradient_norm"] = optax.tree.norm(grads)
                metrics |= {f"{name}/{term}": value for term, value in values.items()}
        average = optax.incremental_update(params, average, 1.0 - ema_decay(ema, t))
        return TrainState(t + 1, params, cast(Params, average), opt_state, state, key), metrics

    return step


def _own(player: Player, params: Params, before: State, after: State) -> State:
    """Returns the state after a player's move, with the statistics of the others' networks kept.

    So no player moves the batch statistics of a network that another one trains.
    """
    return {
        name: before[name] if name in params and name not in player.owns else value
        for name, value in after.items()
    }


def turn_key(key: Key, step: Array | int, player: int, turn: int) -> Key:
    """Returns the PRNG key of a player's loss, from the run's key, the step and the turn."""
    for place in (step, player, turn):
        key = jax.random.fold_in(key, place)
    return key


def ema_decay(decay: float, step: Array) -> Array:
    """Returns min(decay, (1 + t) / (10 + t)): early averages are short, so they do not lag."""
    return jnp.minimum(decay, (1.0 + step) / (10.0 + step))


def _gradient(
    player: Player,
    loss: Loss,
    params: Params,
    batch: Batch,
    key: Key,
    state: State,
    step: Array,
    accumulate: int,
) -> tuple[Params, State, Metrics]:
    """Returns the gradient with respect to what a player owns, the new state, and the metrics."""
    others = {name: value for name, value in params.items() if name not in player.owns}

    def value(owned: Params, part: Batch, key: Key, state: State) -> tuple[Array, Any]:
        return loss({**others, **owned}, part, key, state=state, step=step, train=True)

    gradient = jax.grad(value, has_aux=True)
    owned = {name: params[name] for name in player.owns}
    if accumulate == 1:
        grads, aux = gradient(owned, batch, key, state)
        return mean_over_devices(grads), aux.state, aux.metrics

    def add(carry: tuple[Params, State], part: tuple[Batch, Array]) -> tuple[Any, Metrics]:
        total, state = carry
        batch_part, i = part
        grads, aux = gradient(owned, batch_part, jax.random.fold_in(key, i), state)
        return (jax.tree.map(jnp.add, total, grads), aux.state), aux.metrics

    # Every accumulate-th example, so that each part is spread over all devices as the batch is.
    parts = jax.tree.map(
        lambda a: jnp.moveaxis(a.reshape(-1, accumulate, *a.shape[1:]), 1, 0), batch
    )
    zeros = jax.tree.map(jnp.zeros_like, owned)
    (total, state), metrics = jax.lax.scan(add, (zeros, state), (parts, jnp.arange(accumulate)))
    grads = jax.tree.map(lambda g: g / accumulate, mean_over_devices(total))
    return grads, state, jax.tree.map(lambda m: jnp.mean(m, axis=0), metrics)
