"""Probabilities that encoder and decoder compute alike to the last bit, as whole numbers.

A single wrong bit corrupts the rest of a file. A network's floating-point sums depend on
the shape of its batch, on the device and on how many threads share a sum. So whatever the caller's
batches and devices are,

- every pass has one shape, which the file says, and the last one is padded;
- it is one program, the encoder's and the decoder's, on the first CPU, in float32, compiled with
  the same options, and no matrix product is shared among threads;
- the program itself rounds its probabilities to multiples of 2^-24, the entropy coder's own grid,
  and all that is done with them afterwards is done with whole numbers.

What remains is the compiler's version and the kind of processor (one with fused multiply-adds sums
differently from one without). The file carries a checksum of the examples: if different
arithmetic gives different probabilities, reading raises an error.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from genjax_models.core.distributions import Distribution, Normal
from genjax_models.core.preprocess import Preprocess
from genjax_models.core.types import Array, DataSpec

Progress: TypeAlias = Callable[[int], None]
"""Called with a number of examples whenever so many more are done."""
COMPILER: dict[str, bool | str | int | float] = {
    "xla_cpu_multi_thread_eigen": False,
    "xla_backend_optimization_level": 3,
}
"""Compiler options of the programs, whatever XLA_FLAGS say."""
PRECISION = 24
"""Probabilities are multiples of 2^-24, which is what constriction's coders take."""


class Discrete(Protocol):
    """A model of discrete data: each entry of an example takes one of a number of levels."""

    @property
    def spec(self) -> DataSpec:
        """Specification of one example, before preprocessing."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """Preprocessing of an example; the probabilities are of its result."""
        ...

    @property
    def num_classes(self) -> int | None:
        """Number of classes of a conditional model; None for an unconditional one."""
        ...


class Learned(NamedTuple):
    """Arguments of a model's methods beside examples, in the host's memory.

    Attributes:
        params: The model's parameters.
        state: Its state.
        label: Labels of the examples `[N]`; None for an unconditional model.
    """

    params: Any
    state: Any
    label: Any

    def rows(self, own: slice, block: int) -> Learned:
        """Selects the labels of some examples, padded to a block."""
        return self if self.label is None else self._replace(label=padded(self.label[own], block))


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Runs the programs within on the first CPU, in float32, whatever the caller's settings."""
    device = jax.local_devices(backend="cpu")[0]
    with jax.default_device(device), jax.enable_x64(False), jax.default_matmul_precision("float32"):
        yield


def on_host(tree: Any) -> Any:
    """Copies the arrays of a pytree to the host's memory, from whatever devices hold them."""
    return jax.tree.map(np.asarray, tree)


def entropy_coders() -> Any:
    """Imports the entropy coders of constriction, an optional package.

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
    """Slices of `num` examples, a block at a time; the last may be shorter."""
    return [slice(i, min(i + block, num)) for i in range(0, num, block)]


def padded(rows: np.ndarray, block: int) -> np.ndarray:
    """Pads rows `[n, ...]` with zeros to `[block, ...]`."""
    return np.pad(rows, [(0, block - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def level_weights(distribution: Distribution, shape: tuple[int, ...], num_levels: int) -> Array:
    """2^24 p(x_i = v) of every entry and level, as whole numbers.

    Args:
        distribution: Over `[B, *shape]`, its entries independent of each other.
        shape: Shape of one example.
        num_levels: Number of levels, L.

    Returns:
        float32 `[B * D, L]`, where an example has D entries.

    Raises:
        TypeError: The entries do not have parameters of their own, equally many each.
    """
    axes = 1 + len(shape)
    leaves = [leaf.shape for leaf in jax.tree.leaves(distribution)]
    num = leaves[0][0] * math.prod(shape)
    if num > leaves[0][0]:  # each entry becomes an example of its own
        if any(leaf[1:axes] != shape for leaf in leaves):
            raise TypeError(
                f"a {type(distribution).__name__} has no distribution of each entry by itself: for"
                " lossless compression give a likelihood that has, such as likelihoods.categorical"
            )
        distribution = jax.tree.map(lambda a: a.reshape(num, *a.shape[axes:]), distribution)
        shape = ()

    def log_prob(level: Array) -> Array:
        return distribution.log_prob(jnp.full((num, *shape), level))

    return _whole(jnp.exp(jax.vmap(log_prob, out_axes=1)(jnp.arange(num_levels))))


def bucket_weights(posterior: Distribution, prior: Distribution, buckets: int) -> Array:
    """2^24 q(z_i in bucket k | x), as whole numbers: the buckets have equal mass under the prior.

    Args:
        posterior: Normal over codes `[B, d]`.
        prior: Normal over codes `[B, d]`.
        buckets: Number of buckets, K.

    Returns:
        float32 `[B * d, K]`.

    Raises:
        TypeError: One of them is not a Normal.

    References:
        Townsend et al. 2019, Practical Lossless Compression with Latent Variables using Bits Back
        Coding, arXiv:1901.04866, sec. 2.5.1.
    """
    q, p = _normal(posterior, "posterior"), _normal(prior, "prior")
    edges = ndtri(jnp.arange(buckets + 1) / buckets)
    edges = p.loc[..., None] + jnp.exp(p.log_scale)[..., None] * edges  # [B, d, K + 1]
    cdf = ndtr((edges - q.loc[..., None]) * jnp.exp(-q.log_scale)[..., None])
    return _whole(jnp.diff(cdf, axis=-1)).reshape(-1, buckets)


def bucket_centres(prior: Distribution, index: Array, buckets: int) -> Array:
    """Code `[B, d]` of each bucket: the median of the prior within it."""
    p = _normal(prior, "prior")
    centres = ndtri((jnp.arange(buckets) + 0.5) / buckets)
    return p.loc + jnp.exp(p.log_scale) * centres[index]


def in_double(weights: Array) -> np.ndarray:
    """Converts weights to float64, in which the coder's sums of whole numbers are exact.

    In float32 they are not, and a last level of weight 0 could be left without any probability.

    Raises:
        ValueError: One is not finite.
    """
    double = np.asarray(weights, np.float64)
    if not np.all(np.isfinite(double)):
        raise ValueError(
            "the model gives probabilities that are not finite: its parameters or its examples are"
            " damaged, or it did not learn; look at the loss of its run"
        )
    return double


def _normal(distribution: Distribution, what: str) -> Normal:
    if not isinstance(distribution, Normal):
        raise TypeError(
            f"the {what} is a {type(distribution).__name__}: bits-back coding takes a Normal"
            " posterior and prior, with independent entries"
        )
    return distribution


def _whole(probability: Array) -> Array:
    return jnp.round(probability * 2.0**PRECISION)
