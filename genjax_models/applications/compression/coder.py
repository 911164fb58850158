"""Coding of examples to a file and back, with the code that the model allows; the file's format.

All numbers in a file are little-endian: the magic, the version, the coder's number, the number of
examples, the block, the number of words of the labels and of the examples, the levels, the shape,
the model's fingerprint, the examples' digest, the version of jaxlib that wrote it; then the words;
then the CRC-32 of everything before it. That is about 100 bytes beside the words.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import struct
import types
import zlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.applications.compression import bits_back, sequential
from genjax_models.applications.compression.bits_back import LatentVariableDensity
from genjax_models.applications.compression.probabilities import (
    Discrete,
    Learned,
    Progress,
    entropy_coders,
    on_host,
    pinned,
)
from genjax_models.applications.compression.sequential import SequentialDensity
from genjax_models.core.conditions import check_data, check_labels
from genjax_models.core.types import Array, Key, Params, State

MAGIC = b"\x93GJX\r\n\x1a\n"  # not text; a change of line ends corrupts it
VERSION = 1
SUFFIX = ".gjx"
_FIXED = struct.Struct("<8sBBQIQQIB")
_DIGEST = 16
_CRC = struct.Struct("<I")


CODERS = {1: sequential, 2: bits_back}
"""Coders by their numbers in a file."""
MOST_IN_BLOCK = 4096
"""Largest number of examples in one pass, which bounds the memory that a pass takes."""


class Header(NamedTuple):
    """Header of a file.

    Attributes:
        coder: Number of the coder: 1 sequential, 2 bits-back.
        num: Number of examples.
        block: Number of examples in one pass.
        label_words: Number of words of 32 bits that hold the labels.
        words: Number of words of 32 bits that hold the examples.
        num_levels: Number of levels of a preprocessed entry.
        shape: Shape of an example.
        fingerprint: Fingerprint of the model and its parameters, 16 bytes.
        digest: Digest of the examples and their labels, 16 bytes.
        jaxlib: The version that the file was written with.
    """

    coder: int
    num: int
    block: int
    label_words: int
    words: int
    num_levels: int
    shape: tuple[int, ...]
    fingerprint: bytes
    digest: bytes
    jaxlib: str

    def pack(self) -> bytes:
        """Bytes of the header."""
        jaxlib = self.jaxlib.encode("ascii")
        return b"".join(
            [
                _FIXED.pack(
                    MAGIC,
                    VERSION,
                    self.coder,
                    self.num,
                    self.block,
                    self.label_words,
                    self.words,
                    self.num_levels,
                    len(self.shape),
                ),
                struct.pack(f"<{len(self.shape)}I", *self.shape),
                self.fingerprint,
                self.digest,
                struct.pack("<B", len(jaxlib)),
                jaxlib,
            ]
        )


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
    """Compresses examples to a file, in about -log2 p(x) bits each.

    For an autoregressive model that is exact, but for at most two words of 32 bits for all examples
    together. For a latent variable model it is the negative ELBO on average, and the random bits of
    the first codes. The file adds about 100 bytes, and labels take log2(number of classes) bits
    each. Probabilities below 2^-24 count as that.

    Args:
        model: A `SequentialDensity` or a `LatentVariableDensity`.
        params: Its parameters.
        x: Discrete examples `[N, *spec.shape]` that the preprocessing does not change
            (`as_modelled` makes such).
        label: Labels `[N]` for a conditional model; the file holds them too.
        state: The model's state.
        block: Number of examples in one pass of the networks; by default the coder's. The
            file says it.
        progress: Called with the number of examples whenever some are done.

    Returns:
        The content of the file.

    Raises:
        TypeError: The model allows no exact code.
        ValueError: There are no examples, or examples or labels do not fit the model.
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
            int(model.preprocess.describe(model.spec).num_levels or 0),
            model.spec.shape,
            fingerprint(model, learned.params, learned.state),
            digest(symbols, labels),
            version("jaxlib"),
        )
    return write(header, label_words, words)


def decompress(
    model: Discrete,
    params: Params,
    file: bytes,
    *,
    state: State | None = None,
    progress: Progress = lambda num: None,
) -> dict[str, np.ndarray]:
    """Decompresses a file to exactly the examples that were compressed.

    Args:
        model: The model that they were compressed by.
        params: Its parameters.
        file: The content of the file.
        state: The model's state.
        progress: Called with the number of examples whenever some are done.

    Returns:
        `x` `[N, *spec.shape]`, and `label` `[N]` of a conditional model.

    Raises:
        TypeError: The model allows no exact code.
        ValueError: The file is of another kind, truncated, corrupt or of another model; or this
            machine's arithmetic is not that of the one that wrote it.
    """
    _coder_of(model)
    header, label_words, words = read(file)
    with pinned():
        learned = _learned(params, state, None)
        own = fingerprint(model, learned.params, learned.state)
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
        if digest(symbols, labels) != header.digest:
            raise ValueError(
                "the file is whole and of this model, but other examples come out of it: it was"
                f" written with jaxlib {header.jaxlib} and this is {version('jaxlib')}, with"
                " different arithmetic here; decompress it where it was written"
            )
        x = np.asarray(model.preprocess.restore(jnp.asarray(symbols), model.spec))
    return {"x": x} if model.num_classes is None else {"x": x, "label": labels}


def _check_header(header: Header, model: Any) -> None:
    """Refuses a header that no file of this model has, before memory is taken for it."""
    coder, spec = _coder_of(model), model.spec
    num_levels = int(model.preprocess.describe(spec).num_levels or 0)
    own = {"coder": coder, "levels": num_levels, "shape": tuple(spec.shape)}
    said = {"coder": header.coder, "levels": header.num_levels, "shape": tuple(header.shape)}
    # Of every entry, each level but one has a probability of 2^-24 at least, which costs bits.
    bits = math.prod(spec.shape) * (num_levels - 1) * 2**-24 / math.log(2)
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
    """Preprocesses examples as the model does, in the data's units, for `compress`.

    A model that takes examples as they are leaves them unchanged. One that binarises them at random
    has a likelihood of black and white pixels, not of grey ones: one draw of those can be kept
    without a loss.

    Args:
        model: The model.
        x: Examples `[N, *spec.shape]`.
        key: PRNG key of the preprocessing.
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
    if model.preprocess.describe(model.spec).num_levels is None:
        raise TypeError(
            f"the model sees {model.spec.name} as real numbers, which have no exact code: give one"
            " with a likelihood over levels"
        )
    return coder


def _learned(params: Params, state: State | None, label: np.ndarray | None) -> Learned:
    """Copies parameters and state to the first CPU, from whatever devices hold them."""
    device = jax.local_devices(backend="cpu")[0]
    params, state = jax.device_put(on_host((params, state or {})), device)
    return Learned(params, state, label)


def _symbols(model: Discrete, x: np.ndarray) -> np.ndarray:
    """Preprocessed examples, from which `restore` gives the same examples again."""
    check_data(x, model.spec)
    seen = model.preprocess.apply(jnp.asarray(x), jax.random.key(0), model.spec)
    if not np.array_equal(model.preprocess.restore(seen, model.spec), x):
        raise ValueError(
            "the model's preprocessing changes these examples, and only its result can be"
            " restored: compress as_modelled(model, x, key)"
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


def write(header: Header, label_words: np.ndarray, words: np.ndarray) -> bytes:
    """Content of a file."""
    parts = [header.pack(), *(a.astype("<u4").tobytes() for a in (label_words, words))]
    content = b"".join(parts)
    return content + _CRC.pack(zlib.crc32(content))


def read(file: bytes) -> tuple[Header, np.ndarray, np.ndarray]:
    """Reads a file's header, the words of its labels and the words of its examples (uint32).

    Raises:
        ValueError: The file is of another kind or a later version, truncated or corrupt.
    """
    if not file.startswith(MAGIC):
        raise ValueError(
            "this is not a file of compressed examples: it does not begin as one from compress"
        )
    if len(file) > len(MAGIC) and file[len(MAGIC)] != VERSION:
        raise ValueError(
            f"the file has version {file[len(MAGIC)]} of the format and this reads version"
            f" {VERSION}: use the release that wrote it"
        )
    try:
        header, start = _header(file)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(_truncated(len(file), "its header is not whole")) from error
    middle = start + 4 * header.label_words
    end = middle + 4 * header.words
    if len(file) < end + _CRC.size:
        raise ValueError(_truncated(len(file), f"{end + _CRC.size:,} are expected"))
    if len(file) > end + _CRC.size or _CRC.unpack(file[end:])[0] != zlib.crc32(file[:end]):
        raise ValueError("the file is corrupt, its checksum is another: fetch or write it anew")
    labels, words = (np.frombuffer(part, "<u4") for part in (file[start:middle], file[middle:end]))
    return header, labels.astype(np.uint32), words.astype(np.uint32)


def _header(file: bytes) -> tuple[Header, int]:
    """Header, and the position at which the words begin."""
    _, _, coder, num, block, label_words, words, num_levels, axes = _FIXED.unpack_from(file)
    at = _FIXED.size
    shape = struct.unpack_from(f"<{axes}I", file, at)
    at += 4 * axes
    fingerprint, digest = file[at : at + _DIGEST], file[at + _DIGEST : at + 2 * _DIGEST]
    at += 2 * _DIGEST
    size = file[at]
    jaxlib = file[at + 1 : at + 1 + size].decode("ascii")
    numbers = (coder, num, block, label_words, words, num_levels)
    return Header(*numbers, shape, fingerprint, digest, jaxlib), at + 1 + size


def _truncated(size: int, why: str) -> str:
    return f"the file is truncated, it has {size:,} bytes and {why}: fetch or write it anew"


def digest(*arrays: np.ndarray) -> bytes:
    """Digest of integer arrays, 16 bytes, the same whatever their types."""
    sha = hashlib.sha256()
    for a in arrays:
        sha.update(repr(a.shape).encode())
        sha.update(np.ascontiguousarray(a, "<i4").tobytes())
    return sha.digest()[:_DIGEST]


def fingerprint(model: Any, params: Any, state: Any) -> bytes:
    """Fingerprint of a model, its parameters and its state, 16 bytes.

    The model counts by its settings and the names of its classes and functions, not by where those
    are defined.
    """
    sha = hashlib.sha256(_description(model).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path((params, state)):
        leaf = np.asarray(leaf)
        sha.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        sha.update(leaf.tobytes())
    return sha.digest()[:_DIGEST]


def _description(value: Any) -> str:
    """Describes a value in words that are the same in every process."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [
            f"{field.name}={_description(getattr(value, field.name, None))}"
            for field in dataclasses.fields(value)
            if field.name != "parent"  # a Flax module's
        ]
        return f"{type(value).__name__}({', '.join(parts)})"
    if isinstance(value, functools.partial):
        return _description((value.func, value.args, value.keywords))
    if isinstance(value, Mapping):
        return _description(sorted(value.items()))
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_description, value))})"
    if value is None or isinstance(value, (bool, int, float, str, types.EllipsisType)):
        return repr(value)
    return getattr(value, "__name__", type(value).__name__)
