"""Sampling position by position: one scan that carries the network's cache and the last value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.autoregressive.filters import Filter
from genjax_models.core.conditions import label_context
from genjax_models.core.distributions import ExplicitMean
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.preprocess import data_dtype
from genjax_models.core.types import Array, DataSpec, Key, Params, State


class Sampled(Protocol):
    """What sampling asks of a model."""

    @property
    def network(self) -> nn.Module:
        """The causal network."""
        ...

    @property
    def prepared(self) -> DataSpec:
        """What the likelihood is over."""
        ...

    @property
    def likelihood(self) -> Likelihood:
        """p(x_t | x_<t), given the network's outputs."""
        ...

    @property
    def inputs(self) -> Callable[[Array, DataSpec], Array]:
        """Values to the network's inputs."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of labels to be conditional on."""
        ...


class Positions(NamedTuple):
    """The positions that a network walks through.

    Attributes:
        num: How many, N.
        entries: Entries of an example at each, E: a pixel's channels, or 1.
        spec: What the values at one position are.
        inputs: Shape of the network's input for one example.
    """

    num: int
    entries: int
    spec: DataSpec
    inputs: tuple[int, ...]


def positions_of(model: Sampled) -> Positions:
    """The positions of a model: pixels where its network sees images, else single entries."""
    spec = model.prepared
    x = jax.ShapeDtypeStruct((1, *spec.shape), data_dtype(spec))
    inputs = jax.eval_shape(lambda x: model.inputs(x, spec), x).shape[1:]
    shape = (1, 1, inputs[-1]) if len(inputs) == 3 else (1,)
    num = spec.num_dims // shape[-1]
    one = DataSpec(shape, spec.num_levels, vocabulary=spec.vocabulary, name=spec.name)
    return Positions(num, shape[-1], one, inputs)


def likelihood_at(model: Sampled, params: Params, outputs: Array, t: Array) -> ExplicitMean:
    """p(x_t | x_<t), given the outputs `[B, K]` at position t."""
    at = positions_of(model)
    bias = params["likelihood"].get("bias")
    bias = None if bias is None else {"bias": bias.reshape(at.num, -1)[t]}
    return model.likelihood(outputs, at.spec, bias)


Step: TypeAlias = Callable[[Any, Array, Array], tuple[Array, Any]]
"""`(carry, t, network input at t - 1) -> (outputs [B, K] at t, carry)`."""
Walk: TypeAlias = Callable[[Sampled, Any, int, Array | None], tuple[Any, Step]]
"""`(model, network's variables, B, context) -> (carry before position 0, step)`."""


def cached(model: Sampled, variables: Any, num: int, context: Array | None) -> tuple[Any, Step]:
    """The network's own `start` and `step`."""
    apply = functools.partial(model.network.apply, variables)

    def step(cache: Any, t: Array, previous: Array) -> tuple[Array, Any]:
        return apply(cache, t, previous, context, method="step")  # pyright: ignore

    return apply(num, context, method="start"), step


def by_full_passes(
    model: Sampled, variables: Any, num: int, context: Array | None
) -> tuple[Any, Step]:
    """A pass over all positions for each of them: slow, and the measure of `cached`."""
    at = positions_of(model)
    dtype = network_input(model, jnp.zeros((1, at.entries), data_dtype(at.spec))).dtype

    def step(x: Array, t: Array, previous: Array) -> tuple[Array, Array]:
        flat = x.reshape(num, at.num, -1).at[:, t - 1].set(previous.reshape(num, -1))
        x = flat.reshape(x.shape)
        outputs = model.network.apply(variables, x, context)
        return outputs.reshape(num, at.num, -1)[:, t], x  # pyright: ignore

    return jnp.zeros((num, *at.inputs), dtype), step


def network_input(model: Sampled, values: Array) -> Array:
    """Values of one position `[B, E]` as the network's `step` takes them: `[B, C]` or `[B]`."""
    at = positions_of(model)
    x = model.inputs(values.reshape(-1, *at.spec.shape), at.spec)
    return x.reshape(x.shape[0], -1) if len(at.inputs) == 3 else x.reshape(-1)


@functools.partial(jax.jit, static_argnames=("model", "num", "keep", "walk"))
def ancestral(
    model: Sampled,
    params: Params,
    state: State,
    key: Key,
    num: int,
    keep: Filter,
    label: Array | None = None,
    known: tuple[Array, Array] | None = None,
    *,
    walk: Walk = cached,
) -> Array:
    """Draws of x_t ~ p(x_t | x_<t), one position after the other, in one scan.

    Args:
        model: What is sampled.
        params: Its parameters.
        state: Its state.
        key: Position t's noise is of `fold_in(key, t)`, and in it each example has its own.
        num: Number of examples, B.
        keep: What is left of each distribution.
        label: Labels `[B]`, of a conditional model.
        known: Values `[B, *shape]`, and where they take the place of draws, bool `[B, *shape]`.
        walk: How the outputs at a position are come by.

    Returns:
        Examples `[B, *shape]`, as the model's preprocessing leaves them.
    """
    at = positions_of(model)
    context = label_context(label, model.num_classes)
    variables = {"params": params["network"], **state.get("network", {})}
    carry, step = walk(model, variables, num, context)

    def body(carry: Any, position: Any) -> tuple[Any, Array]:
        cache, last = carry
        t, known = position
        outputs, cache = step(cache, t, network_input(model, last))
        likelihood = keep.of(likelihood_at(model, params, outputs, t))
        x = likelihood.sample(jax.random.fold_in(key, t)).reshape(last.shape).astype(last.dtype)
        if known is not None:
            x = jnp.where(known[1], known[0].astype(x.dtype), x)
        return (cache, x), x

    by_position = jax.tree.map(
        lambda a: jnp.swapaxes(a.reshape(num, at.num, at.entries), 0, 1), known
    )  # [N, B, E]
    first = jnp.zeros((num, at.entries), data_dtype(at.spec))
    _, x = jax.lax.scan(body, (carry, first), (jnp.arange(at.num), by_position))
    return jnp.swapaxes(x, 0, 1).reshape(num, *model.prepared.shape)
