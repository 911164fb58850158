"""Direct coding: entry after entry by its distribution given those before, with a range coder.

The code length is -log2 p(x), and at most two words of 32 bits for all examples together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from genjax_models.applications.compression.integers import in_double, level_weights
from genjax_models.applications.compression.passes import (
    COMPILER,
    Learned,
    Progress,
    blocks,
    entropy_coders,
    filled,
)
from genjax_models.applications.compression.protocols import SequentialDensity
from genjax_models.core.preprocess import data_dtype
from genjax_models.core.types import Array

BLOCK = 64
"""Examples that one pass sees, unless the caller says another number."""


def encode(
    model: SequentialDensity, learned: Learned, x: np.ndarray, block: int, progress: Progress
) -> np.ndarray:
    """The code of examples.

    Args:
        model: The model.
        learned: Its parameters, its state and the examples' labels.
        x: Examples `[N, *shape]`, as the model's preprocessing leaves them.
        block: Examples that one pass sees.
        progress: Told the number of examples whenever some are done.

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

        _walk(model, learned.rows(own, block), block, code)
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
    """The examples `[num, *shape]` of a code; the arguments are `encode`'s."""
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

        _walk(model, learned.rows(own, block), block, code)
        progress(len(rows))
    return x.reshape(num, *spec.shape)


def _walk(
    model: SequentialDensity,
    learned: Learned,
    block: int,
    code: Callable[[int, np.ndarray], np.ndarray],
) -> None:
    """From position to position of a block: `code` turns weights `[B E, L]` into values `[n, E]`.

    The encoder walks as the decoder must, by the same program: one pass over all positions would
    be faster, and would round its sums otherwise.
    """
    at = model.positions
    dtype = data_dtype(at.spec)
    carry = _start(model, block, learned)
    previous = np.zeros((block, at.entries), dtype)
    for t in range(at.num):
        weights, carry = _step(model, learned, carry, np.int32(t), previous)
        previous = filled(code(t, in_double(weights)), block).astype(dtype)


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
    return level_weights(likelihood, one.shape, one.levels or 0), carry
