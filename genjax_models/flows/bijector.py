"""What a bijector is, and how bijectors are put together: one after another, repeated, reversed.

A bijector is a frozen dataclass of hyperparameters whose methods are pure functions of `params`.
`forward` is the direction in which a flow takes its data to its base distribution, z = f(x).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from genjax_models.core.types import Array, Key


class Bijector(Protocol):
    """An invertible function, with the logarithm of its volume change.

    Shapes do not change: y has the shape of x, but for a bijector that moves space into channels.
    """

    def init(self, key: Key, x: Array, context: Array | None = None) -> Any:
        """Fresh parameters, given examples `[B, ...]` (a data-dependent start reads them)."""
        ...

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y = f(x) `[B, ...]`, and log |det df/dx| `[B]` in nats."""
        ...

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x = f^-1(y) `[B, ...]`, and log |det df^-1/dy| `[B]` in nats."""
        ...


@dataclasses.dataclass(frozen=True)
class Chain:
    """Bijectors one after another: f = f_n o ... o f_1, the first of them first.

    Attributes:
        parts: The bijectors.
    """

    parts: Sequence[Bijector]

    def __post_init__(self) -> None:
        """Keeps the parts as a tuple, so that a chain is hashable."""
        object.__setattr__(self, "parts", tuple(self.parts))

    def named(self) -> list[tuple[str, Bijector]]:
        """The parts with their entries of the parameters, `place_Type`."""
        return [(f"{i}_{type(part).__name__}", part) for i, part in enumerate(self.parts)]

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """Each part's parameters, given the examples as the parts before it leave them."""
        params = {}
        for (name, part), k in zip(
            self.named(), jax.random.split(key, len(self.parts)), strict=True
        ):
            params[name] = part.init(k, x, context)
            x, _ = part.forward(params[name], x, context)
        return params

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y `[B, ...]` and the sum of the parts' log-determinants `[B]`."""
        log_det = jnp.zeros(x.shape[0], x.dtype)
        for name, part in self.named():
            x, change = part.forward(params[name], x, context)
            log_det += change
        return x, log_det

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[B, ...]` and the sum of the parts' log-determinants `[B]`."""
        log_det = jnp.zeros(y.shape[0], y.dtype)
        for name, part in reversed(self.named()):
            y, change = part.inverse(params[name], y, context)
            log_det += change
        return y, log_det


@dataclasses.dataclass(frozen=True)
class Repeat:
    """The same bijector several times, each time with parameters of its own.

    What `Chain([bijector] * times)` computes, but compiled once: the parameters are stacked, and
    `lax.scan` walks through them.

    Attributes:
        bijector: What is repeated; it must keep the shape of its input.
        times: How often.
    """

    bijector: Bijector
    times: int

    def init(self, key: Key, x: Array, context: Array | None = None) -> Any:
        """Parameters whose leaves are stacked, `[times, ...]`."""

        def step(x: Array, k: Key) -> tuple[Array, Any]:
            params = self.bijector.init(k, x, context)
            return self.bijector.forward(params, x, context)[0], params

        return jax.lax.scan(step, x, jax.random.split(key, self.times))[1]

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y `[B, ...]` and the sum of the repetitions' log-determinants `[B]`."""

        def step(x: Array, params: Any) -> tuple[Array, Array]:
            return self.bijector.forward(params, x, context)

        # The length is said for bijectors without parameters, which leave nothing to count.
        y, log_dets = jax.lax.scan(step, x, params, length=self.times)
        return y, jnp.sum(log_dets, axis=0)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[B, ...]` and the sum of the repetitions' log-determinants `[B]`."""

        def step(y: Array, params: Any) -> tuple[Array, Array]:
            return self.bijector.inverse(params, y, context)

        x, log_dets = jax.lax.scan(step, y, params, length=self.times, reverse=True)
        return x, jnp.sum(log_dets, axis=0)


@dataclasses.dataclass(frozen=True)
class Inverse:
    """A bijector the other way round: an IAF is the inverse of a MAF.

    Attributes:
        bijector: What is reversed.
    """

    bijector: Bijector

    def init(self, key: Key, x: Array, context: Array | None = None) -> Any:
        """The parameters of the bijector itself, given examples of its outputs."""
        return self.bijector.init(key, x, context)

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The bijector's inverse."""
        return self.bijector.inverse(params, x, context)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The bijector itself."""
        return self.bijector.forward(params, y, context)
