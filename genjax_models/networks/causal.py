"""The interface of autoregressive networks: each output depends on earlier positions only."""

from __future__ import annotations

from typing import Any, Protocol

from genjax_models.core.types import Array


class Causal(Protocol):
    """A Flax module over N positions: the pixels of an image, row by row, or the tokens of a text.

    The outputs at position t are a function of the inputs at positions before t alone: masks, or a
    shift by one, are the network's own business. `start` and `step` compute the same outputs one
    position at a time, from a cache of what the positions before have left.
    """

    def __call__(self, x: Array, context: Array | None = None, *, train: bool = False) -> Array:
        """Outputs of all positions `[B, ..., K]` (`[B, H, W, K]` or `[B, T, K]`).

        Args:
            x: Images `[B, H, W, C]`, scaled to [-1, 1], or tokens int32 `[B, T]`.
            context: Condition `[B, D]`.
            train: If True, applies dropout (rng `dropout`).
        """
        ...

    def start(self, num: int, context: Array | None = None) -> Any:
        """The cache before position 0 of `num` examples, a pytree of arrays."""
        ...

    def step(
        self, cache: Any, t: Array, previous: Array, context: Array | None = None
    ) -> tuple[Array, Any]:
        """The outputs `[B, K]` of position t, and the cache after it.

        Args:
            cache: Cache from `start` or the previous step.
            t: Position, int32 `[]`; steps are taken in order from 0.
            previous: The input at position t - 1: a pixel `[B, C]`, or a token int32 `[B]`.
                Anything at t = 0.
            context: Condition, as in `__call__`.
        """
        ...
