"""Passes of a model's networks that give the same bits wherever they run.

A decoder must compute the encoder's probabilities to the last bit: one wrong bit, and all that
follows is noise. A network's floating-point sums depend on the shape of its batch, on the device
and on how many threads share a sum. So whatever the caller's batches and devices are, here

- every pass has one shape, which the file says, and the last one is filled up;
- it is one program, the encoder's and the decoder's, on the first CPU, in float32, compiled with
  the same options, and no matrix product is shared among threads;
- the program itself rounds its probabilities to multiples of 2^-24, the entropy coder's own grid,
  and all that is done with them afterwards is done with whole numbers.

What is left is the compiler's version and the kind of processor (one with fused multiply-adds sums
otherwise than one without). The file carries a checksum of the examples: where other arithmetic
gives other probabilities, reading says so and gives nothing back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

Progress: TypeAlias = Callable[[int], None]
"""Told a number of examples whenever so many more are done."""
COMPILER: dict[str, bool | str | int | float] = {
    "xla_cpu_multi_thread_eigen": False,
    "xla_backend_optimization_level": 3,
}
"""What the programs are compiled with, whatever XLA_FLAGS say."""


class Learned(NamedTuple):
    """What a model's methods are given beside examples, in the host's memory.

    Attributes:
        params: The model's parameters.
        state: Its state.
        label: The examples' labels `[N]`; None for an unconditional model.
    """

    params: Any
    state: Any
    label: Any

    def rows(self, own: slice, block: int) -> Learned:
        """The same with the labels of some examples, filled up to a block."""
        return self if self.label is None else self._replace(label=filled(self.label[own], block))


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Programs within run on the first CPU, in float32, whatever the caller's settings are."""
    device = jax.local_devices(backend="cpu")[0]
    with jax.default_device(device), jax.enable_x64(False), jax.default_matmul_precision("float32"):
        yield


def on_host(tree: Any) -> Any:
    """The arrays of a pytree in the host's memory, from whatever devices they are spread over."""
    return jax.tree.map(np.asarray, tree)


def entropy_coders() -> Any:
    """The entropy coders of constriction, an optional package.

    Raises:
        ImportError: It is not installed.
    """
    try:
        from constriction import stream  # pyright: ignore - it is compiled, and says nothing of it
    except ImportError as error:
        raise ImportError(
            "lossless compression needs the package constriction: pip install"
            " 'genjax_models[compression]'"
        ) from error
    return stream


def blocks(num: int, block: int) -> list[slice]:
    """The rows of `num` examples, so many at a time; the last are as many as are left."""
    return [slice(i, min(i + block, num)) for i in range(0, num, block)]


def filled(rows: np.ndarray, block: int) -> np.ndarray:
    """Rows `[n, ...]` filled up to `[block, ...]` with zeros."""
    return np.pad(rows, [(0, block - len(rows))] + [(0, 0)] * (rows.ndim - 1))
