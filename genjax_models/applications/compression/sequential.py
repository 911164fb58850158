"""Direct coding with a range coder: each entry by its distribution given those before it.

The code length is -log2 p(x), and at most two words of 32 bits for all examples together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from genjax_models.applications.compression.probabilities import (
    COMPILER,
    Discrete,
    Learned,
    Progress,
    blocks,
    entropy_coders,
    in_double,
    level_weights,
    padded,
)
from genjax_models.core.distributions import Distribution
from genjax_models.core.preprocess import data_dtype
from genjax_models.core.types import Array, DataSpec, Params, State

BLOCK = 64
"""Default number of examples in one pass."""


class Positions(Protocol):
    """Order in which a model goes through an example."""

    @property
    def num(self) -> int:
        """Number of positions, N."""
        ...

    @property
    def entries(self) -> int:
        """Number of entries of an example at each position, E: a pixel's channels, or 1."""
        ...

    @property
    def spec(self) -> DataSpec:
        """Specification of the values at one position."""
        ...


@runtime_checkable
class SequentialDensity(Discrete, Protocol):
    """p(x) = prod_t p(x_t | x_<t), with a method for each conditional distribution."""

    @property
    def positions(self) -> Positions:
        """The positions t, in order."""
        ...

    def start(
        self, params: Params, num: int, *, label: Array | None = None, state: State | None = None
    ) -> Any:
        """Carry of `num` examples before their first position."""
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
        """p(x_t | x_<t) over one position of each example, and the next carry.

        `previous` holds the preprocessed values `[B, E]` at t - 1.
        """
        ...


def encode(
    model: SequentialDensity, learned: Learned, x: np.ndarray, block: int, progress: Progress
) -> np.ndarray:
    """Encodes examples.

    Args:
        model: The model.
        learned: Its parameters, its state and the labels of the examples.
        x: Preprocessed examples `[N, *shape]`.
        block: Number of examples in one pass.
        progress: Called with the number of examples whenever some are done.

    Returns:
        Words uint32 `[words]`.
    """
    stream, at = entropy_coders(), model.positions
    encoder, family = stream.queue.RangeEncoder(), stream.model.Categorical(perfect=False)
    for own in blocks(len(x), block):
        rows = x[own].reshape(-1, at.num, at.entries)

        def code(t: int, weights: np.ndarray, rows: np.ndarray = rows) -> np.ndarray:
            values = rows[:, t].reshape(-1).astype(np.int32)
            encoder.encode(values, family, weights[: len(values)])
            return rows[:, t]

        _code_positions(model, learned.rows(own, block), block, code)
        progress(len(rows))
    return encoder.get_compressed()


def decode(
    model: SequentialDensity,
    learned: Learned,
    words: np.ndarray,
    num: int,
    block: int,
    progress: Progress,
) -> np.ndarray:
    """Decodes `[num, *shape]` examples; the arguments are those of `encode`."""
    stream, at = entropy_coders(), model.positions
    decoder, family = stream.queue.RangeDecoder(words), stream.model.Categorical(perfect=False)
    spec = model.preprocess.describe(model.spec)
    x = np.zeros((num, at.num, at.entries), data_dtype(spec))
    for own in blocks(num, block):
        rows = x[own]

        def code(t: int, weights: np.ndarray, rows: np.ndarray = rows) -> np.ndarray:
            size = len(rows) * at.entries
            rows[:, t] = decoder.decode(family, weights[:size]).reshape(-1, at.entries)
            return rows[:, t]

        _code_positions(model, learned.rows(own, block), block, code)
        progress(len(rows))
    return x.reshape(num, *spec.shape)


def _code_positions(
    model: SequentialDensity,
    learned: Learned,
    block: int,
    code: Callable[[int, np.ndarray], np.ndarray],
) -> None:
    """Codes a block position by position: `code` turns weights `[B E, L]` into values `[n, E]`.

    The encoder goes through the positions as the decoder must, by the same program: one pass over
    all positions would be faster, but would round its sums differently.
    """
    at = model.positions
    dtype = data_dtype(at.spec)
    carry = _start(model, block, learned)
    previous = np.zeros((block, at.entries), dtype)
    for t in range(at.num):
        weights, carry = _step(model, learned, carry, np.int32(t), previous)
        previous = padded(code(t, in_double(weights)), block).astype(dtype)


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=COMPILER)
def _start(model: SequentialDensity, num: int, learned: Learned) -> Any:
    return model.start(learned.params, num, label=learned.label, state=learned.state)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2, compiler_options=COMPILER)
def _step(
    model: SequentialDensity, learned: Learned, carry: Any, t: Array, previous: Array
) -> tuple[Array, Any]:
    """The weights `[B * E, L]` of position t, and what is carried on."""
    likelihood, carry = model.conditional(
        learned.params, carry, t, previous, label=learned.label, state=learned.state
    )
    one = model.positions.spec
    return level_weights(likelihood, one.shape, one.num_levels or 0), carry
