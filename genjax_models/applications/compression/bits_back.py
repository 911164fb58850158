"""Bits-back coding with asymmetric numeral systems: a latent variable's bits are recovered.

The code is a stack. For one example, the encoder

1. pops a code z as if the stack were a message of q(z | x), which takes -log2 q(z | x) bits off it;
2. pushes x by p(x | z);
3. pushes z by p(z).

The decoder does the same backwards: it pops z by p(z) and x by p(x | z), and pushes z by q(z | x),
so that the stack is as it was before that example, with the bits that chose z back on it. An
example adds -log2 p(x | z) p(z) / q(z | x) bits, on average the negative ELBO. A code has one of
2^10 buckets an entry, of equal mass under the prior, so that p(z) is uniform.

The first example chooses its code by random bits. The file is longer by those that it needs, at
most -log2 q(z | x) and three words.

References:
    Townsend et al. 2019, Practical Lossless Compression with Latent Variables using Bits Back
    Coding, arXiv:1901.04866, sec. 2.4, 2.5; Hinton & van Camp 1993; Duda 2009, arXiv:0902.0271.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from genjax_models.applications.compression.probabilities import (
    COMPILER,
    PRECISION,
    Discrete,
    Learned,
    Progress,
    blocks,
    bucket_centres,
    bucket_weights,
    entropy_coders,
    in_double,
    level_weights,
    padded,
)
from genjax_models.core.distributions import Distribution
from genjax_models.core.preprocess import data_dtype
from genjax_models.core.types import Array, Key, Params, State

BLOCK = 1
"""Default number of examples coded together: more need fewer passes and more random bits."""
BUCKETS = 2**10
"""Number of buckets for each entry of a code."""
SEED = 0x6772


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
        """q(z | x) over codes `[B, d]`; the key is of the preprocessing."""
        ...

    def likelihood_of(
        self,
        params: Params,
        z: Array,
        *,
        label: Array | None = None,
        state: State | None = None,
    ) -> Distribution:
        """p(x | z) over preprocessed examples `[B, *shape]`."""
        ...


def encode(
    model: LatentVariableDensity, learned: Learned, x: np.ndarray, block: int, progress: Progress
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
    coder, family, prior = None, *_entropy_models()
    for own in reversed(blocks(len(x), block)):  # a stack: the first is popped first
        given, rows = learned.rows(own, block), padded(x[own], block)
        size = own.stop - own.start
        q = _rows(_posterior(model, given, rows), size, block)
        coder = _random_bits(q, family) if coder is None else coder
        index = coder.decode(family, q)
        p = _rows(_likelihood(model, given, _codes(index, size, block)), size, block)
        coder.encode_reverse(x[own].reshape(-1).astype(np.int32), family, p)
        coder.encode_reverse(index, prior)
        progress(size)
    assert coder is not None
    return coder.get_compressed()


def decode(
    model: LatentVariableDensity,
    learned: Learned,
    words: np.ndarray,
    num: int,
    block: int,
    progress: Progress,
) -> np.ndarray:
    """Decodes `[num, *shape]` examples; the arguments are those of `encode`."""
    coder, family, prior = entropy_coders().stack.AnsCoder(words), *_entropy_models()
    spec, width = model.preprocess.describe(model.spec), _latent_dim(model, learned)
    x = np.zeros((num, *spec.shape), data_dtype(spec))
    for own in blocks(num, block):
        given, size = learned.rows(own, block), own.stop - own.start
        index = coder.decode(prior, size * width)
        p = _rows(_likelihood(model, given, _codes(index, size, block)), size, block)
        x[own] = coder.decode(family, p).reshape(size, *spec.shape)
        q = _rows(_posterior(model, given, padded(x[own], block)), size, block)
        coder.encode_reverse(index, family, q)
        progress(size)
    return x


def _entropy_models() -> tuple[Any, Any]:
    """Constriction's models of weights one by one, and of a code's buckets under the prior."""
    models = entropy_coders().model
    return models.Categorical(perfect=False), models.Uniform(BUCKETS)


def _random_bits(q: np.ndarray, family: Any) -> Any:
    """A coder that holds random words, as few as popping by the weights `q` takes off."""
    stack = entropy_coders().stack
    enough = len(q) * PRECISION // 32 + 4
    words = np.random.default_rng(SEED).integers(0, 2**32, enough, np.uint32)
    trial = stack.AnsCoder(words, seal=True)
    trial.decode(family, q)
    untouched = max(trial.num_words() - 3, 0)  # the last words are within the coder's own state
    return stack.AnsCoder(words[untouched:], seal=True)


def _rows(weights: Array, size: int, block: int) -> np.ndarray:
    """The weights of the examples that there are, without those that fill up the block."""
    return in_double(weights)[: len(weights) // block * size]


def _codes(index: np.ndarray, size: int, block: int) -> np.ndarray:
    return padded(index.reshape(size, -1), block)


def _latent_dim(model: LatentVariableDensity, learned: Learned) -> int:
    prior = jax.eval_shape(lambda params: model.prior_of(params, 1), learned.params)
    return jax.tree.leaves(prior)[0].shape[-1]


@functools.partial(jax.jit, static_argnums=0, compiler_options=COMPILER)
def _posterior(model: LatentVariableDensity, learned: Learned, x: Array) -> Array:
    """The weights `[B * d, K]` of q(z | x) over buckets, for prepared examples `[B, *shape]`."""
    q = model.posterior_of(
        learned.params,
        model.preprocess.restore(x, model.spec),
        jax.random.key(0),  # unused: restored examples are prepared without noise
        label=learned.label,
        state=learned.state,
    )
    return bucket_weights(q, model.prior_of(learned.params, x.shape[0]), BUCKETS)


@functools.partial(jax.jit, static_argnums=0, compiler_options=COMPILER)
def _likelihood(model: LatentVariableDensity, learned: Learned, index: Array) -> Array:
    """The weights `[B * D, L]` of p(x | z) over levels, for codes by their buckets `[B, d]`."""
    prior = model.prior_of(learned.params, index.shape[0])
    z = bucket_centres(prior, index, BUCKETS)
    likelihood = model.likelihood_of(learned.params, z, label=learned.label, state=learned.state)
    spec = model.preprocess.describe(model.spec)
    return level_weights(likelihood, spec.shape, spec.num_levels or 0)
