"""Examples to a file and back, by whichever code the model allows."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.applications.compression import bits_back, container, sequential
from genjax_models.applications.compression.container import Header
from genjax_models.applications.compression.passes import (
    Learned,
    Progress,
    entropy_coders,
    on_host,
    pinned,
)
from genjax_models.applications.compression.protocols import (
    Discrete,
    LatentVariableDensity,
    SequentialDensity,
)
from genjax_models.core.conditions import check_data, check_labels
from genjax_models.core.types import Array, Key, Params, State

CODERS = {1: sequential, 2: bits_back}
"""What the file's number of a coder stands for."""
MOST_IN_BLOCK = 4096
"""Examples that one pass may see: what a pass takes of memory is of this many."""


def compress(
    model: Discrete,
    params: Params,
    x: Array | np.ndarray,
    *,
    label: Array | np.ndarray | None = None,
    state: State | None = None,
    block: int | None = None,
    progress: Progress = lambda num: None,
) -> bytes:
    """Examples as a file, in about -log2 p(x) bits each.

    Of an autoregressive model that is the code length, and two words of 32 bits at most for all
    examples together. Of a latent variable model it is the negative ELBO on average, and the random
    bits that the first codes take. To both the file adds about 100 bytes, and labels take
    log2(number of classes) bits each. Probabilities below 2^-24 count as that.

    Args:
        model: A `SequentialDensity` or a `LatentVariableDensity`.
        params: Its parameters.
        x: Examples `[N, *spec.shape]` of levels, such as the preprocessing leaves as they are
            (`as_modelled` makes them).
        label: Of a conditional model, the labels `[N]`, which the file holds as well.
        state: The model's state.
        block: Examples that one pass of the networks sees; None takes the coder's usual number. The
            file says it, so that whoever reads need not know.
        progress: Told the number of examples whenever some are done.

    Returns:
        The file's content.

    Raises:
        TypeError: The model allows no exact code.
        ValueError: Examples or labels that are not the model's, or none.
    """
    coder = _coder_of(model)
    size: int = CODERS[coder].BLOCK if block is None else block
    if not 1 <= size <= MOST_IN_BLOCK:
        raise ValueError(f"block must be at least 1 and at most {MOST_IN_BLOCK}, got {size}")
    with pinned():
        symbols = _symbols(model, np.asarray(x))
        labels = _labels(model, label, len(symbols))
        learned = _learned(params, state, None if model.num_classes is None else labels)
        words = CODERS[coder].encode(model, learned, symbols, size, progress)
        label_words = _encode_labels(labels, model.num_classes)
        header = Header(
            coder,
            len(symbols),
            size,
            len(label_words),
            len(words),
            int(model.preprocess.describe(model.spec).levels or 0),
            model.spec.shape,
            container.fingerprint(model, learned.params, learned.state),
            container.digest(symbols, labels),
            version("jaxlib"),
        )
    return container.write(header, label_words, words)


def decompress(
    model: Discrete,
    params: Params,
    file: bytes,
    *,
    state: State | None = None,
    progress: Progress = lambda num: None,
) -> dict[str, np.ndarray]:
    """The examples of a file: exactly those that were compressed, or an error.

    Args:
        model: The model that they were compressed by.
        params: Its parameters.
        file: The file's content.
        state: The model's state.
        progress: Told the number of examples whenever some are done.

    Returns:
        `x` `[N, *spec.shape]`, and `label` `[N]` of a conditional model.

    Raises:
        TypeError: The model allows no exact code.
        ValueError: The file is no such file, truncated, corrupt or of another model; or this
            machine's arithmetic is not that of the one that wrote it.
    """
    _coder_of(model)
    header, label_words, words = container.read(file)
    with pinned():
        learned = _learned(params, state, None)
        own = container.fingerprint(model, learned.params, learned.state)
        if own != header.fingerprint:
            raise ValueError(
                f"the file was written with another model (fingerprint {header.fingerprint.hex()},"
                f" this one's is {own.hex()}): decompress it with the run that compressed it"
            )
        _check_header(header, model)
        labels = _decode_labels(label_words, header.num, model.num_classes)
        if model.num_classes is not None:
            learned = learned._replace(label=labels)
        try:
            decode = CODERS[header.coder].decode
            symbols = decode(model, learned, words, header.num, header.block, progress)
        except AssertionError:  # a range coder's word for words that its probabilities rule out
            symbols = np.zeros(0, np.int32)
        if container.digest(symbols, labels) != header.digest:
            raise ValueError(
                "the file is whole and of this model, but other examples come out of it: it was"
                f" written with jaxlib {header.jaxlib} and this is {version('jaxlib')}, whose"
                " arithmetic here differs; decompress it where it was written"
            )
        x = np.asarray(model.preprocess.restore(jnp.asarray(symbols), model.spec))
    return {"x": x} if model.num_classes is None else {"x": x, "label": labels}


def _check_header(header: Header, model: Any) -> None:
    """Refuses what no file of this model says, before memory is taken for it."""
    coder, spec = _coder_of(model), model.spec
    levels = int(model.preprocess.describe(spec).levels or 0)
    own = {"coder": coder, "levels": levels, "shape": tuple(spec.shape)}
    said = {"coder": header.coder, "levels": header.levels, "shape": tuple(header.shape)}
    # Of every entry, each level but one has a probability of 2^-24 at least, which costs bits.
    bits = math.prod(spec.shape) * (levels - 1) * 2**-24 / math.log(2)
    most = [32 * (header.words + 2) / bits if bits else 0.0]
    if (model.num_classes or 0) > 1:
        most.append(32 * (header.label_words + 2) / math.log2(model.num_classes))
    if said != own:
        problem = ", ".join(f"{k} {said[k]} for {own[k]}" for k in own if said[k] != own[k])
    elif not 1 <= header.num <= min(most):
        problem = f"{header.num:,} examples in {header.words:,} words"
    elif not 1 <= header.block <= MOST_IN_BLOCK:
        problem = f"a block of {header.block:,} examples, at most {MOST_IN_BLOCK:,} are allowed"
    else:
        return
    raise ValueError(
        f"the file's header cannot be of this model ({problem}): fetch or write it anew"
    )


def as_modelled(model: Discrete, x: Array | np.ndarray, key: Key) -> np.ndarray:
    """Examples in their own units as the model sees them, which `compress` takes.

    Those of a model that takes them as they are stay so. One that binarises them at random has a
    likelihood of black and white pixels, not of grey ones: what can be kept without a loss is one
    draw of those.

    Args:
        model: The model.
        x: Examples `[N, *spec.shape]`.
        key: Decides the draw.
    """
    check_data(x, model.spec)
    seen = model.preprocess.apply(jnp.asarray(x), key, model.spec)
    return np.asarray(model.preprocess.restore(seen, model.spec))


def _coder_of(model: Any) -> int:
    if isinstance(model, SequentialDensity):
        coder = 1
    elif isinstance(model, LatentVariableDensity):
        coder = 2
    else:
        raise TypeError(
            f"{type(model).__name__} allows no exact code here: lossless compression takes an"
            " autoregressive model, or a VAE (a flow's density is of real numbers, not of levels)"
        )
    if model.preprocess.describe(model.spec).levels is None:
        raise TypeError(
            f"the model sees {model.spec.name} as real numbers, which have no exact code: give one"
            " whose likelihood is over levels"
        )
    return coder


def _learned(params: Params, state: State | None, label: np.ndarray | None) -> Learned:
    """Parameters and state on the first CPU, from whatever devices they are spread over."""
    device = jax.local_devices(backend="cpu")[0]
    params, state = jax.device_put(on_host((params, state or {})), device)
    return Learned(params, state, label)


def _symbols(model: Discrete, x: np.ndarray) -> np.ndarray:
    """The examples as the preprocessing leaves them, of which `restore` makes the same again."""
    check_data(x, model.spec)
    seen = model.preprocess.apply(jnp.asarray(x), jax.random.key(0), model.spec)
    if not np.array_equal(model.preprocess.restore(seen, model.spec), x):
        raise ValueError(
            "the model's preprocessing changes these examples, and what it makes of them is all"
            " that can be kept: compress as_modelled(model, x, key)"
        )
    return np.asarray(seen)


def _labels(model: Discrete, label: Any, num: int) -> np.ndarray:
    if model.num_classes is None:
        return np.zeros(0, np.int32)
    if label is None or np.shape(label) != (num,):
        given = "none" if label is None else f"an array of shape {np.shape(label)}"
        raise ValueError(
            f"the model is conditional on one of {model.num_classes} labels, and {num} examples"
            f" need label [{num}], but got {given}"
        )
    check_labels(label, model.num_classes)
    return np.asarray(label, np.int32)


def _encode_labels(labels: np.ndarray, num_classes: int | None) -> np.ndarray:
    if num_classes is None or num_classes < 2:
        return np.zeros(0, np.uint32)
    stream = entropy_coders()
    encoder = stream.queue.RangeEncoder()
    encoder.encode(labels, stream.model.Uniform(num_classes))
    return encoder.get_compressed()


def _decode_labels(words: np.ndarray, num: int, num_classes: int | None) -> np.ndarray:
    if num_classes is None:
        return np.zeros(0, np.int32)
    if num_classes < 2:
        return np.zeros(num, np.int32)
    stream = entropy_coders()
    return stream.queue.RangeDecoder(words).decode(stream.model.Uniform(num_classes), num)
