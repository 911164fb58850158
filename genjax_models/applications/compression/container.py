"""The file: what it says of itself, and how it is known to be whole and of this model.

All numbers little-endian: the magic, the version, the coder's number, the examples' number, the
block, the number of words of the labels and of the examples, the levels, the shape, the model's
fingerprint, the examples' digest, the version of jaxlib that wrote it; then the words; then the
CRC-32 of everything before it. That is about 100 bytes beside the words.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import struct
import types
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

MAGIC = b"\x93GJX\r\n\x1a\n"  # no text; changed by whatever changes the ends of lines
VERSION = 1
SUFFIX = ".gjx"
_FIXED = struct.Struct("<8sBBQIQQIB")
_DIGEST = 16
_CRC = struct.Struct("<I")


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        coder: Number of the coder: 1 sequential, 2 bits-back.
        num: Number of examples.
        block: Examples that one pass sees.
        label_words: Words of 32 bits that hold the labels.
        words: Words of 32 bits that hold the examples.
        levels: Levels of an entry, as the model's preprocessing leaves it.
        shape: Shape of an example.
        fingerprint: Of the model and its parameters, 16 bytes.
        digest: Of the examples and their labels, 16 bytes.
        jaxlib: The version that the file was written with.
    """

    coder: int
    num: int
    block: int
    label_words: int
    words: int
    levels: int
    shape: tuple[int, ...]
    fingerprint: bytes
    digest: bytes
    jaxlib: str

    def pack(self) -> bytes:
        """The bytes before the words."""
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
                    self.levels,
                    len(self.shape),
                ),
                struct.pack(f"<{len(self.shape)}I", *self.shape),
                self.fingerprint,
                self.digest,
                struct.pack("<B", len(jaxlib)),
                jaxlib,
            ]
        )


def write(header: Header, label_words: np.ndarray, words: np.ndarray) -> bytes:
    """A whole file."""
    parts = [header.pack(), *(a.astype("<u4").tobytes() for a in (label_words, words))]
    content = b"".join(parts)
    return content + _CRC.pack(zlib.crc32(content))


def read(file: bytes) -> tuple[Header, np.ndarray, np.ndarray]:
    """What a file says of itself, its labels' words and its examples' words uint32.

    Raises:
        ValueError: It is no such file, of a later version, truncated or corrupt.
    """
    if not file.startswith(MAGIC):
        raise ValueError(
            "this is no file of compressed examples: it does not begin as one that compress wrote"
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
    """The header, and where the words begin."""
    _, _, coder, num, block, label_words, words, levels, axes = _FIXED.unpack_from(file)
    at = _FIXED.size
    shape = struct.unpack_from(f"<{axes}I", file, at)
    at += 4 * axes
    fingerprint, digest = file[at : at + _DIGEST], file[at + _DIGEST : at + 2 * _DIGEST]
    at += 2 * _DIGEST
    size = file[at]
    jaxlib = file[at + 1 : at + 1 + size].decode("ascii")
    numbers = (coder, num, block, label_words, words, levels)
    return Header(*numbers, shape, fingerprint, digest, jaxlib), at + 1 + size


def _truncated(size: int, why: str) -> str:
    return f"the file is truncated, it has {size:,} bytes and {why}: fetch or write it anew"


def digest(*arrays: np.ndarray) -> bytes:
    """16 bytes that say whether arrays of whole numbers are the same, whatever their types."""
    sha = hashlib.sha256()
    for a in arrays:
        sha.update(repr(a.shape).encode())
        sha.update(np.ascontiguousarray(a, "<i4").tobytes())
    return sha.digest()[:_DIGEST]


def fingerprint(model: Any, params: Any, state: Any) -> bytes:
    """16 bytes that say whether a model, its parameters and its state are the same.

    Of the model count its settings and the names of its classes and functions, not where they are
    defined.
    """
    sha = hashlib.sha256(_description(model).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path((params, state)):
        leaf = np.asarray(leaf)
        sha.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        sha.update(leaf.tobytes())
    return sha.digest()[:_DIGEST]


def _description(value: Any) -> str:
    """A value in words that are the same in every process."""
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
