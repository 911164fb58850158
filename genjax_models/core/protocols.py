"""What a model can do, as Protocols: the taxonomy of deep generative models.

Every model is a frozen dataclass with `init`, `sample`, `loss` and `players`. What it can do beyond
that is said by the Protocols below, which callers ask by `isinstance`, never by family. A model of
none of the first four is an implicit one: it can be sampled, and nothing else.

Every method takes `state=` last, by keyword: what the model keeps beside its parameters (batch
statistics, a codebook). A model that keeps none ignores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from genjax_models.core.types import Array, Batch, DataSpec, Key, Params, State

if TYPE_CHECKING:
    from genjax_models.core.loss import Loss, Player


class Model(Protocol):
    """A generative model, as training uses it."""

    @property
    def spec(self) -> DataSpec:
        """What one example is, before the model prepares it."""
        ...

    @property
    def loss(self) -> Loss:
        """The usual loss of the (first) player."""
        ...

    @property
    def players(self) -> Mapping[str, Player]:
        """The players, in the order in which they move."""
        ...

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and state, given a batch to read shapes (or statistics) from."""
        ...

    def forward(
        self, params: Params, batch: Batch, key: Key, *, state: State, train: bool
    ) -> tuple[Any, State]:
        """One pass of the networks: the family's `Outputs`, and the state after it."""
        ...

    def sample(self, params: Params, key: Key, num: int, *, state: State | None = None) -> Array:
        """`num` new examples `[num, *spec.shape]`; a conditional model takes conditions by name."""
        ...


@runtime_checkable
class TractableDensity(Protocol):
    """Explicit, tractable density: flows and autoregressive models."""

    def log_prob(
        self,
        params: Params,
        x: Array,
        *,
        key: Key | None = None,
        state: State | None = None,
        **condition: Any,
    ) -> Array:
        """Exact log p(x) `[B]` in nats.

        `key` decides what a model draws when it prepares its data (dynamic binarisation); a fixed
        one where None, and of no account where nothing is drawn.
        """
        ...


@runtime_checkable
class ApproximateDensity(Protocol):
    """Explicit density known by a lower bound: VAEs and diffusion."""

    def log_prob_bound(
        self,
        params: Params,
        x: Array,
        key: Key,
        num_samples: int = 1,
        *,
        state: State | None = None,
        **condition: Any,
    ) -> Array:
        """A lower bound of log p(x) `[B]` in nats; `num_samples` tightens it."""
        ...


@runtime_checkable
class UnnormalizedDensity(Protocol):
    """Explicit density up to a constant: energy-based models."""

    def energy(
        self, params: Params, x: Array, *, state: State | None = None, **condition: Any
    ) -> Array:
        """The energy E(x) `[B]`: log p(x) = -E(x) - log Z."""
        ...


@runtime_checkable
class Representation(Protocol):
    """Maps data to codes and back: autoencoders, VAEs, flows."""

    def encode(
        self, params: Params, x: Array, *, state: State | None = None, **condition: Any
    ) -> Array:
        """The code `[B, ...]` of each example."""
        ...

    def decode(
        self, params: Params, z: Array, *, state: State | None = None, **condition: Any
    ) -> Array:
        """The example `[B, *spec.shape]` that each code stands for, in the data's units."""
        ...


class LikelihoodInfo(NamedTuple):
    """What a figure of likelihood rests on, beside being exact or a bound.

    Attributes:
        prepared: Preparation of the data, of whose result (or by which) the likelihood is:
            "uniform dequantisation"; empty without one.
        estimated: The part that is an estimate: "log Z"; empty without one.
        standard_error: Standard error of an estimate that all examples share, in nats an example.
    """

    prepared: str = ""
    estimated: str = ""
    standard_error: float = 0.0


@runtime_checkable
class HasLikelihoodInfo(Protocol):
    """Declares what its likelihood rests on; asked of models with `log_prob` or `log_prob_bound`.

    A model that only prepares its data need not: its `preprocess` has a name.
    """

    @property
    def likelihood_info(self) -> LikelihoodInfo:
        """Printed beside every likelihood of the model."""
        ...


@runtime_checkable
class Diagnosed(Protocol):
    """Can say what of it is not finite; training asks when a loss is not."""

    def diagnose(self, params: Params, batch: Batch, key: Key, *, state: State) -> str | None:
        """Where in the model the first value is that is not finite, to end a sentence.

        Args:
            params: The parameters with which the loss was not finite.
            batch: The batch.
            key: PRNG key of the forward pass.
            state: The model's state.

        Returns:
            The place's name; None if everything that was looked at is finite.
        """
        ...
