"""Bijectors: the interface, their composition, and the logit.

A bijector is a frozen dataclass of hyperparameters whose methods are pure functions of `params`.
`forward` takes a flow's data to its base distribution, z = f(x).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from genjax_models.core.distributions import sum_entries
from genjax_models.core.types import Array, Key
from genjax_models.core.values import value


class Bijector(Protocol):
    """An invertible function, with the logarithm of its volume change.

    Shapes do not change: y has the shape of x, but for a bijector that moves space into channels.
    """

    def init(self, key: Key, x: Array, context: Array | None = None) -> Any:
        """Returns fresh parameters, given examples `[B, ...]` for data-dependent initialisation."""
        ...

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y = f(x) `[B, ...]`, and log |det df/dx| `[B]` in nats."""
        ...

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x = f^-1(y) `[B, ...]`, and log |det df^-1/dy| `[B]` in nats."""
        ...


class Part(NamedTuple):
    """A part of a bijector, with its parameters.

    Attributes:
        name: Its place, as `1_ActNorm` in a `Chain` or `[2]` in a `Repeat`.
        bijector: The part.
        params: Its parameters.
    """

    name: str
    bijector: Bijector
    params: Any


@runtime_checkable
class Composite(Protocol):
    """A bijector that is others applied one after the other."""

    def parts(self, params: Any) -> Sequence[Part]:
        """The parts in the order in which `forward` applies them; none if it has none.

        `params` may be any tree of the same structure, as the parameters' gradient.
        """
        ...


def parts_of(bijector: Bijector, params: Any) -> Sequence[Part]:
    """Returns the parts of a bijector in the order of `forward`; none of a simple bijector."""
    return bijector.parts(params) if isinstance(bijector, Composite) else ()


def layers(bijector: Bijector, params: Any, name: str = "") -> Iterator[Part]:
    """Yields the simple bijectors within a bijector, in the order of `forward`.

    Args:
        bijector: The bijector.
        params: Its parameters, or any tree of the same structure.
        name: Its place; the parts' places continue it, as `3_Repeat[2]/1_AffineCoupling`.
    """
    parts = parts_of(bijector, params)
    if not parts:
        yield Part(name or type(bijector).__name__, bijector, params)
    for part in parts:
        if part.name.startswith("["):
            place = f"{name or type(bijector).__name__}{part.name}"
        else:
            place = f"{name}/{part.name}" if name else part.name
        yield from layers(part.bijector, part.params, place)


def forward_through(
    parts: Sequence[Part], x: Array, context: Array | None = None
) -> tuple[Array, Array]:
    """The output y `[B, ...]` of parts applied in order, and their log-determinant `[B]`."""
    log_det = jnp.zeros(x.shape[0], x.dtype)
    for _, part, params in parts:
        x, change = part.forward(params, x, context)
        log_det += change
    return x, log_det


def inverse_through(
    parts: Sequence[Part], y: Array, context: Array | None = None
) -> tuple[Array, Array]:
    """The input x `[B, ...]` of parts applied in order, and the inverse's log-determinant `[B]`."""
    log_det = jnp.zeros(y.shape[0], y.dtype)
    for _, part, params in reversed(parts):
        y, change = part.inverse(params, y, context)
        log_det += change
    return y, log_det


@value
class Chain:
    """Bijectors one after another: f = f_n o ... o f_1.

    Attributes:
        bijectors: f_1, ..., f_n.
    """

    bijectors: Sequence[Bijector]

    def __post_init__(self) -> None:
        """Keeps the bijectors as a tuple, so that a chain is hashable."""
        object.__setattr__(self, "bijectors", tuple(self.bijectors))

    def parts(self, params: Any) -> list[Part]:
        """Returns the bijectors; their parameters are the entries named `place_Type`."""
        return [Part(name, part, params[name]) for name, part in self._named()]

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """Initialises each bijector on the examples as transformed by those before it."""
        params, keys = {}, jax.random.split(key, len(self.bijectors))
        for (name, part), k in zip(self._named(), keys, strict=True):
            params[name] = part.init(k, x, context)
            x, _ = part.forward(params[name], x, context)
        return params

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y `[B, ...]` and the sum of the log-determinants `[B]`."""
        return forward_through(self.parts(params), x, context)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[B, ...]` and the sum of the log-determinants `[B]`."""
        return inverse_through(self.parts(params), y, context)

    def _named(self) -> list[tuple[str, Bijector]]:
        return [(f"{i}_{type(part).__name__}", part) for i, part in enumerate(self.bijectors)]


@value
class Repeat:
    """A bijector applied several times, each time with its own parameters.

    It computes what `Chain([bijector] * times)` does, but is compiled once: the parameters are
    stacked, and `lax.scan` goes through them.

    Attributes:
        bijector: The bijector; it must keep the shape of its input.
        times: Number of repetitions.
    """

    bijector: Bijector
    times: int

    def parts(self, params: Any) -> list[Part]:
        """The repetitions `[0]`, `[1]`, ..."""
        own = [jax.tree.map(lambda a, i=i: a[i], params) for i in range(self.times)]
        return [Part(f"[{i}]", self.bijector, p) for i, p in enumerate(own)]

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

        # Bijectors without parameters have no stacked arrays to take the length from.
        y, log_dets = jax.lax.scan(step, x, params, length=self.times)
        return y, jnp.sum(log_dets, axis=0)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[B, ...]` and the sum of the repetitions' log-determinants `[B]`."""

        def step(y: Array, params: Any) -> tuple[Array, Array]:
            return self.bijector.inverse(params, y, context)

        x, log_dets = jax.lax.scan(step, y, params, length=self.times, reverse=True)
        return x, jnp.sum(log_dets, axis=0)


@value
class Inverse:
    """The inverse of a bijector: an IAF is the inverse of a MAF.

    Attributes:
        bijector: The bijector.
    """

    bijector: Bijector

    def parts(self, params: Any) -> list[Part]:
        """The inverses of the bijector's parts, the last of them first."""
        parts = parts_of(self.bijector, params)
        return [Part(name, Inverse(part), p) for name, part, p in reversed(parts)]

    def init(self, key: Key, x: Array, context: Array | None = None) -> Any:
        """The parameters of the bijector itself, given examples of its outputs."""
        return self.bijector.init(key, x, context)

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The bijector's inverse."""
        return self.bijector.inverse(params, x, context)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The bijector itself."""
        return self.bijector.forward(params, y, context)


@value
class Flattened:
    """A bijector of vectors, applied to flattened examples of any shape.

    Attributes:
        inner: The bijector, over `[B, D]`.
    """

    inner: Bijector

    def parts(self, params: Any) -> list[Part]:
        """The inner bijector's parts, each applied to flattened examples."""
        return [Part(n, Flattened(part), p) for n, part, p in parts_of(self.inner, params)]

    def init(self, key: Key, x: Array, context: Array | None = None) -> Any:
        """The inner bijector's parameters."""
        return self.inner.init(key, x.reshape(x.shape[0], -1), context)

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y `[B, ...]`, and the inner bijector's log-determinant `[B]`."""
        y, log_det = self.inner.forward(params, x.reshape(x.shape[0], -1), context)
        return y.reshape(x.shape), log_det

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x `[B, ...]`, and the log-determinant of the inner bijector's inverse `[B]`."""
        x, log_det = self.inner.inverse(params, y.reshape(y.shape[0], -1), context)
        return x.reshape(y.shape), log_det


@value
class Logit:
    """[0, 1] to the real line: y = logit(alpha + (1 - 2 alpha) x).

    Attributes:
        alpha: Distance kept from 0 and 1 in (0, 1/2), so that both ends have a finite logit.

    References:
        Dinh et al. 2017, arXiv:1605.08803, sec. 4.1; Papamakarios et al. 2017, arXiv:1705.07057.
    """

    alpha: float = 0.05

    def __post_init__(self) -> None:
        """Checks alpha.

        Raises:
            ValueError: Not 0 < alpha < 1/2.
        """
        if not 0.0 < self.alpha < 0.5:
            raise ValueError(
                f"Logit was given alpha={self.alpha}, and 0 < alpha < 0.5: 0.05 and 1e-6 are usual"
            )

    def init(self, key: Key, x: Array, context: Array | None = None) -> dict[str, Any]:
        """No parameters."""
        return {}

    def forward(self, params: Any, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The output y, and its log-determinant `[B]`; x is clipped to [0, 1]."""
        p = self.alpha + (1.0 - 2.0 * self.alpha) * jnp.clip(x, 0.0, 1.0)
        log_p, log_q = jnp.log(p), jnp.log1p(-p)
        return log_p - log_q, sum_entries(math.log1p(-2.0 * self.alpha) - log_p - log_q)

    def inverse(self, params: Any, y: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The input x = (sigmoid(y) - alpha) / (1 - 2 alpha) in [0, 1], and its log-determinant.

        x is clipped to [0, 1]; the log-determinant `[B]` is that of the formula, without clipping.
        """
        x = (jax.nn.sigmoid(y) - self.alpha) / (1.0 - 2.0 * self.alpha)
        log_det = jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y) - math.log1p(-2.0 * self.alpha)
        return jnp.clip(x, 0.0, 1.0), sum_entries(log_det)


def first_non_finite(
    bijector: Bijector, params: Any, x: Array, context: Array | None = None
) -> str | None:
    """Finds the first layer with an output or a log-determinant that is not finite.

    Args:
        bijector: The bijector, which is applied layer by layer.
        params: Its parameters.
        x: Its input `[B, ...]`.
        context: Condition `[B, ...]`.

    Returns:
        The layer's place, such as `3_Repeat[2]/1_AffineCoupling` (in the fourth bijector of a
        chain, the third repetition, there the second bijector); None if all is finite.
    """
    for name, layer, own in layers(bijector, params):
        x, log_det = _forward(layer, own, x, context)
        if not all_finite((x, log_det)):
            return name
    return None


# Compiled once for all repetitions of a layer.
_forward = jax.jit(lambda bijector, *args: bijector.forward(*args), static_argnums=0)


def all_finite(tree: Any) -> bool:
    """Returns True if all numbers of a tree of arrays are finite."""
    return all(bool(jnp.all(jnp.isfinite(a))) for a in jax.tree.leaves(tree))
