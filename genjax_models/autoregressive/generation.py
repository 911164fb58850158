"""Text of any length from a prompt, in chunks: what has been drawn is there before the rest."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.autoregressive import sampling
from genjax_models.autoregressive.filters import Filter
from genjax_models.autoregressive.sampling import Sampled
from genjax_models.core.conditions import check_values, label_context, labels_to_sample
from genjax_models.core.types import Array, Key, Params, State


class _Drawing(NamedTuple):
    """Where a text has come to.

    Attributes:
        cache: The network's cache of the window.
        t: Position of the next token in the window, int32 `[]`.
        last: The token before it `[B]`.
        number: Number of the next token, the prompt's counted too, int32 `[]`.
        done: Which texts have come to their stop token, bool `[B]`.
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
    """Tokens that go on from a prompt, as they are drawn.

    Token n is drawn given the tokens before it in a window of the model's length. When the window
    is full, its last half begins the next one. (Training windows begin anywhere in a text, so a
    window that does is nothing new to the model.) The tokens are a function of the key, not of the
    size of the chunks.

    Args:
        model: An `Autoregressive` model of texts.
        params: Its parameters.
        key: What the draws are a function of.
        prompt: Tokens `[P]`, or `[B, P]` for B texts; P may be 0.
        num_tokens: How many to draw.
        label: Of a conditional model: `[B]` labels or one for all; uniform ones where None.
        temperature: As in `Autoregressive.sample`, as are `top_k`, `top_p` and `min_p`.
        top_k: Draw among this many likeliest tokens.
        top_p: Draw among the likeliest tokens that together have this probability.
        min_p: Draw among tokens at least this fraction as likely as the likeliest.
        stop: A token that ends a text; of several texts, those that have ended repeat it.
        chunk: Most tokens to draw before they are handed out.
        state: The model's state.

    Returns:
        An iterator of tokens int32 `[n]` (`[B, n]`, if the prompt was), n at most `chunk`; the stop
        token is the last of them.

    Raises:
        ValueError: A number that is not allowed, or a prompt that is not of the model's tokens.
    """
    spec, keep = model.prepared, Filter(temperature, top_k, top_p, min_p)
    if len(spec.shape) != 1 or spec.num_levels is None:
        raise ValueError(
            f"{spec.name} has examples of shape {spec.shape}: generate goes on with texts; sample "
            "draws whole examples"
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
            f"the prompt has {tokens.shape[1]} tokens and the model a window of {window}: it sees "
            f"the last {window // 2} of them, and the window slides on",
            stacklevel=2,
        )
    key_label = jax.random.fold_in(key, 0xFFFFFFFF)  # no token has that number
    label = labels_to_sample(label, model.num_classes, len(tokens), key_label)
    given = (params, state or {}, label)
    texts = _texts(model, keep, stop, given, key, tokens, num_tokens, chunk)
    return (text[0] for text in texts) if one else texts


def _tokens(prompt: Any) -> np.ndarray:
    """A prompt as int32.

    Raises:
        TypeError: It is no array of whole numbers.
        ValueError: The texts' lengths differ.
    """
    try:
        tokens = np.asarray(prompt)
    except ValueError:
        lengths = sorted({len(text) for text in prompt})
        raise ValueError(
            f"the prompts have lengths {', '.join(map(str, lengths))}: give texts of one length, "
            "or one call each"
        ) from None
    if tokens.size and tokens.dtype.kind not in "iu":
        raise TypeError(
            f"the prompt holds {tokens.dtype}: give tokens, whole numbers; a text becomes "
            "tokens by data.tokenizers.of(spec).encode(text)"
        )
    return tokens.astype(np.int32)


def _texts(
    model: Sampled,
    keep: Filter,
    stop: int | None,
    given: tuple[Params, State, Array | None],
    key: Key,
    prompt: np.ndarray,
    num_tokens: int,
    chunk: int,
) -> Iterator[np.ndarray]:
    """Chunks `[B, n]`: from window to window, and in each from chunk to chunk."""
    (window,) = model.prepared.shape
    tail, number, total = prompt, prompt.shape[1], prompt.shape[1] + num_tokens
    done = jnp.zeros(len(prompt), bool)
    while number < total:
        if tail.shape[1] >= window:
            tail = tail[:, tail.shape[1] - window // 2 :]
        at = _start(model, given, *_filled(tail, window), number, done)
        while number < total and tail.shape[1] < window:
            num = min(chunk, total - number, window - tail.shape[1])
            at, drawn = _draw(model, keep, stop, chunk, given, key, at, num)
            x, done = np.asarray(drawn)[:, :num], at.done
            tail, number = np.concatenate([tail, x], axis=1), number + num
            if stop is not None and np.all(done):
                ends = np.argmax(x == stop, axis=1)
                yield x[:, : int(np.max(ends)) + 1]
                return
            yield x


def _filled(tokens: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """The tokens `[B, size]`, filled up with zeros, and how many there are."""
    return np.pad(tokens, [(0, 0), (0, size - tokens.shape[1])]), tokens.shape[1]


@functools.partial(jax.jit, static_argnames=("model",))
def _start(
    model: Sampled,
    given: tuple[Params, State, Array | None],
    tokens: Array,
    length: Array,
    number: Array,
    done: Array,
) -> _Drawing:
    """A window whose first `length` tokens are known: by one pass where the network can."""
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
    return _Drawing(cache, length, last, jnp.asarray(number, jnp.int32), done)


@functools.partial(jax.jit, static_argnames=("model", "keep", "stop", "chunk"), donate_argnums=6)
def _draw(
    model: Sampled,
    keep: Filter,
    stop: int | None,
    chunk: int,
    given: tuple[Params, State, Array | None],
    key: Key,
    at: _Drawing,
    num: Array,
) -> tuple[_Drawing, Array]:
    """`num` more tokens, in `[B, chunk]`: the number is no part of the compiled program."""
    variables, context = _variables(model, given)
    batch = at.last.shape[0]
    _, step = sampling.cached(model, variables, batch, context)

    def body(i: Array, carry: tuple[_Drawing, Array]) -> tuple[_Drawing, Array]:
        at, drawn = carry
        outputs, cache = step(at.cache, at.t, sampling.network_input(model, at.last))
        likelihood = keep.of(sampling.likelihood_at(model, given[0], outputs, at.t))
        x = likelihood.sample(jax.random.fold_in(key, at.number)).reshape(batch)
        x = x.astype(at.last.dtype)
        done = at.done
        if stop is not None:
            x = jnp.where(done, stop, x)
            done = done | (x == stop)
        return _Drawing(cache, at.t + 1, x, at.number + 1, done), drawn.at[i].set(x)

    empty = jnp.zeros((chunk, batch), at.last.dtype)
    at, drawn = jax.lax.fori_loop(0, num, body, (at, empty))
    return at, drawn.T


def _variables(
    model: Sampled, given: tuple[Params, State, Array | None]
) -> tuple[dict[str, Any], Array | None]:
    params, state, label = given
    variables = {"params": params["network"], **state.get("network", {})}
    return variables, label_context(label, model.num_classes)
