"""`Loss`: one forward pass, named terms and their weights; `Player`: a loss and what it trains."""

from __future__ import annotations

import dataclasses
import difflib
import numbers
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax.numpy as jnp

from genjax_models.core.random import all_examples
from genjax_models.core.types import Array, Aux, Batch, Key, Params, State

Forward: TypeAlias = Callable[..., tuple[Any, State]]
"""`(params, batch, key, *, state, train) -> (Outputs, state)`."""
Term: TypeAlias = Callable[[Any], Array]
"""`Outputs -> [B]`: one number an example, in nats unless the name says otherwise."""
Watched: TypeAlias = Callable[[Any], Array]
"""`Outputs -> []`: a scalar to report, which no gradient follows."""
Weight: TypeAlias = float | Callable[[Array], Array]
"""A number, or a schedule of the step (any of Optax's)."""


@dataclasses.dataclass(frozen=True)
class Loss:
    """A sum of weighted terms over the outputs of one forward pass.

    `loss = sum_i weight_i(step) * mean_b term_i(outputs)_b`. Losses are values: the methods that
    change one return a new one, so they compose in a line:
    `model.loss.weigh(kl=4.0).add(mmd=losses.mmd)`.

    Attributes:
        forward: The forward pass that the terms share.
        terms: Name -> term.
        weights: Name -> weight; a term without one weighs 1.
        watched: Name -> scalar that is reported, not trained on.
    """

    forward: Forward
    terms: Mapping[str, Term]
    weights: Mapping[str, Weight] = dataclasses.field(default_factory=dict)
    watched: Mapping[str, Watched] = dataclasses.field(default_factory=dict)

    def __call__(
        self,
        params: Params,
        batch: Batch,
        key: Key,
        *,
        state: State | None = None,
        step: Array | int = 0,
        train: bool = True,
        counted: Array | None = None,
    ) -> tuple[Array, Aux]:
        """The loss of a batch.

        Args:
            params: The model's parameters.
            batch: Arrays whose first axis is the examples.
            key: PRNG key of the forward pass.
            state: The model's state; None for a model that keeps none.
            step: The step that weights with a schedule are asked for.
            train: Whether the forward pass is a training one (dropout, batch statistics).
            counted: Which examples the means are over, bool `[B]`, at least one; all where None.
                The others do no more than fill up a batch.

        Returns:
            The scalar loss, and `Aux`: the metrics (`loss`, each term's mean before its weight,
            each watched scalar) and the state after the pass.
        """
        outputs, state = self.forward(params, batch, key, state=state or {}, train=train)
        outputs, counted = all_examples((outputs, counted))
        means = {name: _mean(term(outputs), counted) for name, term in self.terms.items()}
        weighted = [self._weight(name, step) * mean for name, mean in means.items()]
        total = jnp.asarray(sum(weighted), jnp.float32)
        watched = {name: watch(outputs) for name, watch in self.watched.items()}
        return total, Aux({"loss": total, **means, **watched}, state)

    def weigh(self, **weights: Weight) -> Loss:
        """The same loss with other weights: numbers, or schedules of the step.

        Raises:
            TypeError: A weight is neither.
            ValueError: A name is not one of the terms.
        """
        self._check(weights)
        for name, weight in weights.items():
            number = isinstance(weight, numbers.Real) or getattr(weight, "shape", None) == ()
            if not callable(weight) and (isinstance(weight, bool) or not number):
                raise TypeError(
                    f"the weight of {name!r} is {weight!r}, a {type(weight).__name__}: give a "
                    "number, or a schedule of the step (optax.linear_schedule(0.0, 1.0, 500))"
                )
        return dataclasses.replace(self, weights={**self.weights, **weights})

    def add(self, **terms: Term) -> Loss:
        """The same loss with more terms, each of weight 1 (`weigh` sets another).

        Raises:
            ValueError: A name is taken: by a term, by what is watched, or by the loss itself.
        """
        self._check_free(terms)
        return dataclasses.replace(self, terms={**self.terms, **terms})

    def drop(self, *names: str) -> Loss:
        """The same loss without these terms.

        Raises:
            ValueError: A name is not one of the terms.
        """
        self._check(names)
        return dataclasses.replace(
            self,
            terms={name: term for name, term in self.terms.items() if name not in names},
            weights={name: weight for name, weight in self.weights.items() if name not in names},
        )

    def watch(self, **watched: Watched) -> Loss:
        """The same loss that also reports these scalars of the outputs.

        Raises:
            ValueError: A name is taken: by a term, by what is watched, or by the loss itself.
        """
        self._check_free(watched)
        return dataclasses.replace(self, watched={**self.watched, **watched})

    def _weight(self, name: str, step: Array | int) -> Array | float:
        weight = self.weights.get(name, 1.0)
        return weight(jnp.asarray(step)) if callable(weight) else weight

    def _check_free(self, functions: Mapping[str, Any]) -> None:
        for name, function in functions.items():
            if not callable(function):
                raise TypeError(
                    f"{name!r} is {function!r}, a {type(function).__name__}: give a function of "
                    "the forward pass's outputs"
                )
            if name in self.terms:
                raise ValueError(
                    f"the loss has a term {name!r} already: drop it first, or choose another name"
                )
            if name == "loss" or name in self.watched:
                what = "the total" if name == "loss" else "a scalar that is watched"
                raise ValueError(f"{name!r} is the name of {what} already: choose another name")

    def _check(self, names: Mapping[str, Any] | tuple[str, ...]) -> None:
        for name in names:
            if name not in self.terms:
                near = difflib.get_close_matches(name, self.terms, 1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise ValueError(
                    f"the loss has no term {name!r}{hint}: its terms are "
                    f"{', '.join(self.terms) or 'none'}"
                )


def _mean(values: Array, counted: Array | None) -> Array:
    if counted is None:
        return jnp.mean(values)
    # A term may give one number for all examples.
    return jnp.mean(jnp.broadcast_to(values, counted.shape), where=counted)


@dataclasses.dataclass(frozen=True)
class Player:
    """One player of the game that training is: a loss, and what moves to lower it.

    Attributes:
        loss: The loss that the player minimises.
        owns: The entries of `params` that this player's gradient updates.
        turns: Number of updates of the player in a step.
    """

    loss: Loss
    owns: tuple[str, ...]
    turns: int = 1

    def __post_init__(self) -> None:
        """Checks the turns.

        Raises:
            ValueError: There are none.
        """
        if self.turns < 1:
            raise ValueError(
                f"turns is {self.turns}, but a player makes at least 1 update a step: to let one "
                "stand still, give it the optimizer optax.set_to_zero()"
            )
