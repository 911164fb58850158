"""What lossless compression asks of a model."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from genjax_models.core.distributions import Distribution
from genjax_models.core.preprocess import Preprocess
from genjax_models.core.types import Array, DataSpec, Key, Params, State


class Discrete(Protocol):
    """A model of examples whose entries take one of so many levels each."""

    @property
    def spec(self) -> DataSpec:
        """What one example is, before the model prepares it."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """What is done to an example first; the probabilities are of its result."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of labels to be conditional on; None for an unconditional model."""
        ...


class Walked(Protocol):
    """The order in which a model goes through an example."""

    @property
    def num(self) -> int:
        """Number of positions, N."""
        ...

    @property
    def entries(self) -> int:
        """Entries of an example at each, E: a pixel's channels, or 1."""
        ...

    @property
    def spec(self) -> DataSpec:
        """What the values at one position are."""
        ...


@runtime_checkable
class SequentialDensity(Discrete, Protocol):
    """p(x) = prod_t p(x_t | x_<t), with the conditional distribution of the next entry at hand."""

    @property
    def positions(self) -> Walked:
        """The positions t, in order."""
        ...

    def start(
        self, params: Params, num: int, *, label: Array | None = None, state: State | None = None
    ) -> Any:
        """What `num` examples carry before their first position."""
        ...

    def conditional(
        self,
        params: Params,
        carry: Any,
        t: Array,
        previous: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> tuple[Distribution, Any]:
        """p(x_t | x_<t) over one position of each example, and what is carried on.

        `previous` are the values `[B, E]` at t - 1, as the preprocessing leaves them.
        """
        ...


@runtime_checkable
class LatentVariableDensity(Discrete, Protocol):
    """p(x) = int p(x | z) p(z) dz, with an approximate posterior q(z | x)."""

    def prior_of(self, params: Params, num: int) -> Distribution:
        """p(z) over codes `[num, d]`."""
        ...

    def posterior_of(
        self,
        params: Params,
        x: Array,
        key: Key,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Distribution:
        """q(z | x) over codes `[B, d]`; the key is the preprocessing's."""
        ...

    def likelihood_of(
        self,
        params: Params,
        z: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Distribution:
        """p(x | z) over examples `[B, *shape]`, as the preprocessing leaves them."""
        ...
