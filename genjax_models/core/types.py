"""The words that every other module uses: arrays' type names and the description of a data set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import jax

from genjax_models.core.values import value

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed PRNG key, as `jax.random.key` makes it."""
Params: TypeAlias = Mapping[str, Any]
"""Trained arrays: network name -> Flax parameters."""
State: TypeAlias = Mapping[str, Any]
"""Arrays that training threads through but no optimizer updates: name -> pytree."""
Batch: TypeAlias = Mapping[str, Array]
"""`x` [B, ...] and whatever the examples are conditioned on, by name (`label` [B])."""
Metrics: TypeAlias = dict[str, Array]
Device: TypeAlias = Any
"""A `jax.Device`, whose own name is a variable to type checkers."""


class Aux(NamedTuple):
    """Auxiliary output of a loss, beside its value.

    Attributes:
        metrics: Named scalars: the total, every term before its weight, every watched quantity.
        state: The model's state after the forward pass.
    """

    metrics: Metrics
    state: State


@value
class DataSpec:
    """Description of one example of a dataset.

    Attributes:
        shape: Shape of one example: `(H, W, C)` for images, `(T,)` for text, `(D,)` for points.
        num_levels: Number of values that an entry can take, 0 .. num_levels - 1 (256 for 8-bit
            images, the vocabulary's size for text), or None where entries are real numbers.
        num_classes: Number of labels, or None where there are none.
        vocabulary: Symbols that the values of a text stand for, in order; empty for other data.
        name: The data set's name, for messages.
        tokenizer: Description of the text's tokenizer (`data.tokenizers.of` reads it); empty where
            each stands for one character.
        class_names: Names of the labels 0 .. num_classes - 1, or empty. They are for people:
            two specs that differ in nothing else are equal.
    """

    shape: tuple[int, ...]
    num_levels: int | None = 256
    num_classes: int | None = None
    vocabulary: tuple[str, ...] = ()
    name: str = "data"
    tokenizer: str = ""
    class_names: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def class_name(self, label: int) -> str:
        """What a label is called; its number where it has no name."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else str(label)

    def label_of(self, name: str) -> int:
        """The label of that name, or of that number.

        Raises:
            ValueError: There is no such label.
        """
        numbers = [str(label) for label in range(self.num_classes or 0)]
        for known in (self.class_names, numbers):
            if name in known:
                return known.index(name)
        there = ", ".join(self.class_names or numbers[-1:]) or "none"
        there = there if self.class_names or not numbers else f"0 .. {there}"
        raise ValueError(f"{self.name} has no label {name!r}: it has {there}")

    @property
    def num_dims(self) -> int:
        """Number of entries of one example: what bits/dim divides by."""
        return math.prod(self.shape)


DIGITS = DataSpec(shape=(8, 8, 1), num_levels=17, num_classes=10, name="digits")
"""The embedded default data set, and so the default of every model's `spec`."""
