"""Which layer of a flow the first value that is not finite is in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from genjax_models.core.distributions import Distribution
from genjax_models.core.types import Array
from genjax_models.flows.bijector import Bijector, Chain, Inverse, Repeat
from genjax_models.flows.coupling import Halves
from genjax_models.flows.flattened import Flattened
from genjax_models.flows.multiscale import Split


class Layer(NamedTuple):
    """A bijector that is not itself put together of others one after the other.

    Attributes:
        name: Its place, such as `3_Repeat[2]/1_AffineCoupling`.
        bijector: What it is.
        params: Its parameters.
        backwards: Whether its `inverse` is what is applied.
    """

    name: str
    bijector: Bijector
    params: Any
    backwards: bool

    def __call__(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        """What the layer makes of x `[B, ...]`, and the log-determinant `[B]`."""
        return _apply(self.bijector, self.backwards, self.params, x, context)


def layers(
    bijector: Bijector, params: Any, *, backwards: bool = False, name: str = ""
) -> Iterator[Layer]:
    """The layers of a bijector in the order in which they are applied.

    Args:
        bijector: The bijector; what chains, repetitions and inverses hold is looked into.
        params: Its parameters.
        backwards: Whether its `inverse` is meant.
        name: Its own place in what holds it.
    """
    if isinstance(bijector, Chain):
        parts = bijector.named()
        for part_name, part in reversed(parts) if backwards else parts:
            place = f"{name}/{part_name}" if name else part_name
            yield from layers(part, params[part_name], backwards=backwards, name=place)
    elif isinstance(bijector, Repeat):
        times = range(bijector.times)
        for i in reversed(times) if backwards else times:
            own = jax.tree.map(lambda a, i=i: a[i], params)
            place = f"{name or 'Repeat'}[{i}]"
            yield from layers(bijector.bijector, own, backwards=backwards, name=place)
    elif isinstance(bijector, Inverse):
        yield from layers(
            bijector.bijector, params, backwards=not backwards, name=name or "Inverse"
        )
    else:
        yield Layer(name or type(bijector).__name__, bijector, params, backwards)


def first_non_finite(
    bijector: Bijector,
    params: Any,
    x: Array,
    context: Array | None = None,
    *,
    backwards: bool = False,
    name: str = "",
) -> str | None:
    """The layer whose output or log-determinant is the first that is not finite.

    Args:
        bijector: What is looked into, layer by layer.
        params: Its parameters.
        x: Its input `[B, ...]`.
        context: What it is conditional on `[B, ...]`.
        backwards: Whether its `inverse` is meant.
        name: Its own place in what holds it.

    Returns:
        The layer's place, such as `3_Repeat[2]/1_AffineCoupling` (in the fourth part of a chain,
        the third repetition, there the second part); None if all is finite.
    """
    for layer in layers(bijector, params, backwards=backwards, name=name):
        y, log_det = layer(x, context)
        if not _finite((y, log_det)):
            return _within(layer, x, context)
        x = y
    return None


def diagnose_flow(
    bijector: Bijector,
    base: Callable[[tuple[int, ...]], Distribution],
    params: Any,
    x: Array,
    context: Array | None,
) -> str | None:
    """Where the first value is that is not finite: data, a layer, the base, or a layer's gradient.

    A gradient that is not finite spreads to all layers before the one that it arises in, so the
    last layer that has one is named.
    """
    if not _finite(x):
        return "the data"
    if place := first_non_finite(bijector, params, x, context):
        return place

    @jax.jit
    @jax.value_and_grad
    def nll(params: Any) -> Array:
        z, log_det = bijector.forward(params, x, context)
        return -jnp.mean(base(z.shape).log_prob(z) + log_det)

    value, gradient = nll(params)
    if not _finite(value):
        return "the base distribution"
    spoilt = [layer.name for layer in layers(bijector, gradient) if not _finite(layer.params)]
    return f"the gradient of {spoilt[-1]}" if spoilt else None


def _within(layer: Layer, x: Array, context: Array | None) -> str:
    """The layer, or what it holds of bijectors for examples of another shape."""
    params = layer.params
    if isinstance(layer.bijector, Split):
        inner, params, (x, _) = layer.bijector.inner, params["inner"], Halves().split(x)
    elif isinstance(layer.bijector, Flattened):
        inner, x = layer.bijector.inner, x.reshape(x.shape[0], -1)
    else:
        return layer.name
    name = layer.name if isinstance(inner, Chain) else f"{layer.name}/{type(inner).__name__}"
    place = first_non_finite(inner, params, x, context, backwards=layer.backwards, name=name)
    return place or layer.name


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(
    bijector: Bijector, backwards: bool, params: Any, x: Array, context: Array | None
) -> tuple[Array, Array]:
    """Compiled once for all repetitions of a layer."""
    return (bijector.inverse if backwards else bijector.forward)(params, x, context)


def _finite(tree: Any) -> bool:
    return all(bool(jnp.all(jnp.isfinite(a))) for a in jax.tree.leaves(tree))
