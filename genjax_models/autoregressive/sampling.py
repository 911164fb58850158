"""Sampling position by position, with filters of the logits: temperature, top-k, top-p, min-p.

A filter maps logits `[..., V]` to logits `[..., V]`, in which removed values have minus infinity;
the likeliest value always stays. `ancestral` is one scan that carries the network's cache and the
values at the last position.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from genjax_models.core.conditions import label_context
from genjax_models.core.distributions import Bernoulli, Categorical, Distribution, ExplicitMean
from genjax_models.core.likelihoods import Likelihood
from genjax_models.core.preprocess import data_dtype
from genjax_models.core.types import Array, DataSpec, Key, Params, State
from genjax_models.core.values import value

D = TypeVar("D", bound=Distribution)

COLDEST = 1e-6
"""The lowest temperature: below it, logits overflow in float32 and their order is lost."""


def with_temperature(logits: Array, temperature: float) -> Array:
    """Divides logits by a temperature: p^(1 / temperature), which is sharper below 1.

    Args:
        logits: Logits `[..., V]` of the V values.
        temperature: Above 0.

    Returns:
        Logits `[..., V]`.
    """
    return logits / temperature


def top_k(logits: Array, k: int) -> Array:
    """Keeps the k likeliest values, and those as likely as the k-th.

    Args:
        logits: Logits `[..., V]` of the V values.
        k: At least 1; V or more keeps all values.

    Returns:
        Logits `[..., V]`, minus infinity for removed values.

    References:
        Fan et al. 2018, Hierarchical Neural Story Generation, arXiv:1805.04833, sec. 5.4.
    """
    lowest = jax.lax.top_k(logits, min(k, logits.shape[-1]))[0][..., -1:]
    return jnp.where(logits >= lowest, logits, -jnp.inf)


def top_p(logits: Array, p: float) -> Array:
    """Keeps the nucleus: the fewest likeliest values whose probabilities sum to at least p.

    Args:
        logits: Logits `[..., V]` of the V values.
        p: In (0, 1]; 1 keeps all values.

    Returns:
        Logits `[..., V]`, minus infinity for removed values.

    References:
        Holtzman et al. 2020, The Curious Case of Neural Text Degeneration, arXiv:1904.09751, eq. 2.
    """
    if p == 1.0:  # rounding must not remove anything
        return logits
    ordered = -jnp.sort(-logits, axis=-1)
    probability = jax.nn.softmax(ordered)
    before = jnp.cumsum(probability, axis=-1) - probability
    lowest = jnp.min(jnp.where(before < p, ordered, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits >= lowest, logits, -jnp.inf)


def min_p(logits: Array, p: float) -> Array:
    """Keeps the values that are at least p times as likely as the likeliest.

    Args:
        logits: Logits `[..., V]` of the V values.
        p: In [0, 1]; 0 keeps all values.

    Returns:
        Logits `[..., V]`, minus infinity for removed values.

    References:
        Nguyen et al. 2024, Turning Up the Heat, arXiv:2407.01082, sec. 3.
    """
    if p == 0.0:
        return logits
    highest = jnp.max(logits, axis=-1, keepdims=True)
    return jnp.where(logits >= highest + math.log(p), logits, -jnp.inf)


def _check_number(name: str, value: float | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
        raise TypeError(
            f"{name} is {value!r}, a {type(value).__name__}: give a number, not an array or a text"
        )


@value
class LogitFilter:
    """Filters applied in this order: temperature, top-k, top-p, min-p.

    Attributes:
        temperature: At least 1e-6; 1 changes nothing.
        top_k: At least 1; None for no such filter.
        top_p: In (0, 1]; None for no such filter.
        min_p: In [0, 1]; None for no such filter.

    Raises:
        ValueError: A number is out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("temperature", "top_k", "top_p", "min_p"):
            _check_number(name, getattr(self, name))
        if not (self.temperature >= COLDEST and math.isfinite(self.temperature)):
            raise ValueError(
                f"temperature must be a number of at least {COLDEST}, got {self.temperature}: "
                "top_k=1 gives the likeliest value each time"
            )
        if self.top_k is not None and not (self.top_k >= 1 and self.top_k == self.top_k // 1):
            raise ValueError(f"top_k must be an integer of at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must be at least 0 and at most 1, got {self.min_p}")

    def __call__(self, logits: Array) -> Array:
        """Filters logits `[..., V]`."""
        if self.temperature != 1.0:
            logits = with_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = top_k(logits, int(self.top_k))
        if self.top_p is not None:
            logits = top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = min_p(logits, self.min_p)
        return logits

    def apply(self, distribution: D) -> D:
        """Filters the logits of a distribution.

        Raises:
            TypeError: The distribution has no logits of its values.
        """
        if self == LogitFilter():
            return distribution
        if isinstance(distribution, Categorical):
            return dataclasses.replace(distribution, logits=self(distribution.logits))
        if isinstance(distribution, Bernoulli):
            one = distribution.logits
            zero, one = jnp.moveaxis(self(jnp.stack([jnp.zeros_like(one), one], axis=-1)), -1, 0)
            return dataclasses.replace(distribution, logits=one - zero)
        raise TypeError(
            "temperature, top_k, top_p and min_p need a likelihood with a logit for each value "
            f"(categorical, Bernoulli), but this one is a {type(distribution).__name__}: leave "
            "them out"
        )


class Sampled(Protocol):
    """The fields of a model that sampling uses."""

    @property
    def network(self) -> nn.Module:
        """The causal network."""
        ...

    @property
    def prepared(self) -> DataSpec:
        """Description of one preprocessed example."""
        ...

    @property
    def likelihood(self) -> Likelihood:
        """p(x_t | x_<t), given the network's outputs."""
        ...

    @property
    def inputs(self) -> Callable[[Array, DataSpec], Array]:
        """`(values, spec) -> network's inputs`."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of labels to condition on; None for none."""
        ...


class Positions(NamedTuple):
    """The positions of an example.

    Attributes:
        num: Number of positions, N.
        entries: Number of entries at each position, E: a pixel's channels, or 1.
        spec: Description of the values at one position.
        inputs: Shape of the network's input for one example.
    """

    num: int
    entries: int
    spec: DataSpec
    inputs: tuple[int, ...]


def positions_of(model: Sampled) -> Positions:
    """The positions of a model's examples: pixels if its network takes images, else entries."""
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
MakeStep: TypeAlias = Callable[[Sampled, Any, int, Array | None], tuple[Any, Step]]
"""`(model, network's variables, B, context) -> (carry before position 0, step)`."""


def cached(model: Sampled, variables: Any, num: int, context: Array | None) -> tuple[Any, Step]:
    """Steps with the network's cache, by its methods `start` and `step`."""
    apply = functools.partial(model.network.apply, variables)

    def step(cache: Any, t: Array, previous: Array) -> tuple[Array, Any]:
        return apply(cache, t, previous, context, method="step")  # pyright: ignore

    return apply(num, context, method="start"), step


def uncached(model: Sampled, variables: Any, num: int, context: Array | None) -> tuple[Any, Step]:
    """Steps by a pass over all positions for each of them: slow, to check and time `cached`."""
    at = positions_of(model)
    dtype = network_input(model, jnp.zeros((1, at.entries), data_dtype(at.spec))).dtype

    def step(x: Array, t: Array, previous: Array) -> tuple[Array, Array]:
        flat = x.reshape(num, at.num, -1).at[:, t - 1].set(previous.reshape(num, -1))
        x = flat.reshape(x.shape)
        outputs = model.network.apply(variables, x, context)
        return outputs.reshape(num, at.num, -1)[:, t], x  # pyright: ignore

    return jnp.zeros((num, *at.inputs), dtype), step


def network_input(model: Sampled, values: Array) -> Array:
    """Converts values of one position `[B, E]` to inputs of the network's `step`.

    Returns:
        Inputs `[B, C]` for a network of images, else `[B]`.
    """
    at = positions_of(model)
    x = model.inputs(values.reshape(-1, *at.spec.shape), at.spec)
    return x.reshape(x.shape[0], -1) if len(at.inputs) == 3 else x.reshape(-1)


def ancestral(
    model: Sampled,
    params: Params,
    state: State,
    key: Key,
    num: int,
    logit_filter: LogitFilter,
    label: Array | None = None,
    given: tuple[Array, Array] | None = None,
    *,
    make_step: MakeStep = cached,
) -> Array:
    """Draws x_t ~ p(x_t | x_<t), one position after the other, in one scan.

    Args:
        model: The model.
        params: The model's parameters.
        state: The model's state.
        key: PRNG key; position t uses `fold_in(key, t)`, and each example has its own noise.
        num: Number of examples, B.
        logit_filter: Filter of each position's distribution.
        label: Labels `[B]` of a conditional model.
        given: Values `[B, *shape]`, and a mask of the entries that take them instead of samples,
            bool `[B, *shape]`.
        make_step: Method of computing the outputs at a position: `cached` or `uncached`.

    Returns:
        Preprocessed examples `[B, *shape]`.
    """
    at = positions_of(model)
    context = label_context(label, model.num_classes)
    variables = {"params": params["network"], **state.get("network", {})}
    carry, step = make_step(model, variables, num, context)

    def body(carry: Any, position: Any) -> tuple[Any, Array]:
        cache, last = carry
        t, given = position
        outputs, cache = step(cache, t, network_input(model, last))
        likelihood = logit_filter.apply(likelihood_at(model, params, outputs, t))
        x = likelihood.sample(jax.random.fold_in(key, t)).reshape(last.shape).astype(last.dtype)
        if given is not None:
            x = jnp.where(given[1], given[0].astype(x.dtype), x)
        return (cache, x), x

    by_position = jax.tree.map(
        lambda a: jnp.swapaxes(a.reshape(num, at.num, at.entries), 0, 1), given
    )  # [N, B, E]
    first = jnp.zeros((num, at.entries), data_dtype(at.spec))
    _, x = jax.lax.scan(body, (carry, first), (jnp.arange(at.num), by_position))
    return jnp.swapaxes(x, 0, 1).reshape(num, *model.prepared.shape)
