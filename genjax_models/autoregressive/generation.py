"""Generation of texts of any length from a prompt, in chunks, as they are sampled."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.autoregressive import sampling
from genjax_models.autoregressive.sampling import LogitFilter, Sampled
from genjax_models.core.conditions import check_values, label_context, labels_to_sample
from genjax_models.core.types import Array, Key, Params, State


class _Progress(NamedTuple):
    """The state of generation.

    Attributes:
        cache: The network's cache of the window.
        t: Position of the next token in the window, int32 `[]`.
        last: The token before it `[B]`.
        number: Index of the next token in the text, including the prompt, int32 `[]`.
        done: True for texts that have reached their stop token, bool `[B]`.
    """

    cache: Any
    t: Array
    last: Array
    number: Array
    done: Array


def generate(
    model: Sampled,
    params: Params,
    key: Key,
    prompt: Any,
    num_tokens: int,
    *,
    label: Array | int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    stop: int | None = None,
    chunk: int = 32,
    state: State | None = None,
) -> Iterator[np.ndarray]:
    """Generates tokens that continue a prompt, and yields them as they are sampled.

    Each token is drawn given the tokens before it in a window of the model's length. When the
    window is full, its last half begins the next one, as training windows begin anywhere in a
    text. The tokens do not depend on `chunk`.

    Args:
        model: An `Autoregressive` model of texts.
        params: The model's parameters.
        key: PRNG key.
        prompt: Tokens `[P]`, or `[B, P]` for B texts; P may be 0.
        num_tokens: Number of tokens to generate.
        label: Labels of a conditional model: `[B]`, one for all, or None for random ones.
        temperature: Divisor of the logits, at least 1e-6; 1 samples the model itself.
        top_k: Number of likeliest tokens to sample from.
        top_p: Probability of the likeliest tokens to sample from, in (0, 1].
        min_p: Least probability of a token to sample, relative to the likeliest, in [0, 1].
        stop: Token that ends a text. A text that has ended repeats it until all have.
        chunk: Largest number of tokens to yield at once.
        state: The model's state.

    Returns:
        An iterator of tokens, int32 `[n]`, or `[B, n]` for a prompt `[B, P]`, with n at most
        `chunk`; the stop token is the last of them.

    Raises:
        ValueError: A number is out of its range, or the prompt does not fit the model.
    """
    spec, logit_filter = model.prepared, LogitFilter(temperature, top_k, top_p, min_p)
    if len(spec.shape) != 1 or spec.num_levels is None:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}: generate continues texts; use sample "
            "for whole examples"
        )
    for name, value in {"num_tokens": num_tokens, "chunk": chunk}.items():
        if value < 1:
            raise ValueError(f"{name} must be positive, got {value}")
    if stop is not None and not 0 <= stop < spec.num_levels:
        raise ValueError(f"stop is {stop}, but {spec.name} has tokens 0 .. {spec.num_levels - 1}")
    tokens = _tokens(prompt)
    if tokens.ndim not in (1, 2):
        raise ValueError(f"the prompt has shape {tokens.shape}: give tokens [P] or [B, P]")
    check_values(tokens, spec, "the prompt")
    one, tokens = tokens.ndim == 1, np.atleast_2d(tokens)
    (window,) = spec.shape
    if tokens.shape[1] >= window:
        warnings.warn(
            f"the prompt has {tokens.shape[1]} tokens and the model a window of {window}: it is "
            f"given the last {window // 2} of them, and the window slides on",
            stacklevel=2,
        )
    key_label = jax.random.fold_in(key, 0xFFFFFFFF)  # no token has that number
    label = labels_to_sample(label, model.num_classes, len(tokens), key_label)
    given = (params, state or {}, label)
    texts = _texts(model, logit_filter, stop, given, key, tokens, num_tokens, chunk)
    return (text[0] for text in texts) if one else texts


def _tokens(prompt: Any) -> np.ndarray:
    """Converts a prompt to int32.

    Raises:
        TypeError: The prompt is not an array of integers.
        ValueError: The texts' lengths differ.
    """
    try:
        tokens = np.asarray(prompt)
    except ValueError:
        lengths = sorted({len(text) for text in prompt})
        raise ValueError(
            f"the prompts have lengths {', '.join(map(str, lengths))}: give texts of one length, "
            "or one call for each"
        ) from None
    if tokens.size and tokens.dtype.kind not in "iu":
        raise TypeError(
            f"the prompt holds {tokens.dtype}: give tokens, which are integers; "
            "data.tokenizers.of(spec).encode(text) gives a text's"
        )
    return tokens.astype(np.int32)


def _texts(
    model: Sampled,
    logit_filter: LogitFilter,
    stop: int | None,
    given: tuple[Params, State, Array | None],
    key: Key,
    prompt: np.ndarray,
    num_tokens: int,
    chunk: int,
) -> Iterator[np.ndarray]:
    """Yields chunks `[B, n]`, window by window."""
    (window,) = model.prepared.shape
    tail, number, total = prompt, prompt.shape[1], prompt.shape[1] + num_tokens
    done = jnp.zeros(len(prompt), bool)
    while number < total:
        if tail.shape[1] >= window:
            tail = tail[:, tail.shape[1] - window // 2 :]
        at = _start(model, given, *_filled(tail, window), number, done)
        while number < total and tail.shape[1] < window:
            num = min(chunk, total - number, window - tail.shape[1])
            at, drawn = _draw(model, logit_filter, stop, chunk, given, key, at, num)
            x, done = np.asarray(drawn)[:, :num], at.done
            tail, number = np.concatenate([tail, x], axis=1), number + num
            if stop is not None and np.all(done):
                ends = np.argmax(x == stop, axis=1)
                yield x[:, : int(np.max(ends)) + 1]
                return
            yield x


def _filled(tokens: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """The tokens padded with zeros `[B, size]`, and their number."""
    return np.pad(tokens, [(0, 0), (0, size - tokens.shape[1])]), tokens.shape[1]


@functools.partial(jax.jit, static_argnames=("model",))
def _start(
    model: Sampled,
    given: tuple[Params, State, Array | None],
    tokens: Array,
    length: Array,
    number: Array,
    done: Array,
) -> _Progress:
    """Fills the cache with the first `length` tokens, in one pass if the network has `prefill`."""
    variables, context = _variables(model, given)
    length, batch = jnp.asarray(length, jnp.int32), tokens.shape[0]
    if hasattr(model.network, "prefill"):
        cache = model.network.apply(variables, tokens, context, method="prefill")
    else:
        start, step = sampling.cached(model, variables, batch, context)

        def add(t: Array, cache: Any) -> Any:
            return step(cache, t, sampling.network_input(model, tokens[:, t - 1]))[1]

        cache = jax.lax.fori_loop(0, length, add, start)
    last = jax.lax.dynamic_index_in_dim(tokens, length - 1, axis=1, keepdims=False)
    return _Progress(cache, length, last, jnp.asarray(number, jnp.int32), done)


@functools.partial(
    jax.jit, static_argnames=("model", "logit_filter", "stop", "chunk"), donate_argnums=6
)
def _draw(
    model: Sampled,
    logit_filter: LogitFilter,
    stop: int | None,
    chunk: int,
    given: tuple[Params, State, Array | None],
    key: Key,
    at: _Progress,
    num: Array,
) -> tuple[_Progress, Array]:
    """Draws `num` more tokens, in `[B, chunk]`; the program is compiled for any number of them."""
    variables, context = _variables(model, given)
    batch = at.last.shape[0]
    _, step = sampling.cached(model, variables, batch, context)

    def body(i: Array, carry: tuple[_Progress, Array]) -> tuple[_Progress, Array]:
        at, drawn = carry
        outputs, cache = step(at.cache, at.t, sampling.network_input(model, at.last))
        likelihood = logit_filter.apply(sampling.likelihood_at(model, given[0], outputs, at.t))
        x = likelihood.sample(jax.random.fold_in(key, at.number)).reshape(batch)
        x = x.astype(at.last.dtype)
        done = at.done
        if stop is not None:
            x = jnp.where(done, stop, x)
            done = done | (x == stop)
        return _Progress(cache, at.t + 1, x, at.number + 1, done), drawn.at[i].set(x)

    empty = jnp.zeros((chunk, batch), at.last.dtype)
    at, drawn = jax.lax.fori_loop(0, num, body, (at, empty))
    return at, drawn.T


def _variables(
    model: Sampled, given: tuple[Params, State, Array | None]
) -> tuple[dict[str, Any], Array | None]:
    params, state, label = given
    variables = {"params": params["network"], **state.get("network", {})}
    return variables, label_context(label, model.num_classes)
