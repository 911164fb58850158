"""Tokenizers: a text as tokens and back, by characters, by bytes, or by byte-pair encoding.

A tokenizer is a frozen value that is made from the training text by a function of the kind `Fit`:

    load("my.txt", tokenizer=tokenizers.characters)  one character, one token: what a text has
    load("my.txt", tokenizer=tokenizers.utf8)        one byte of UTF-8, one token: 256, any text
    load("my.txt", tokenizer=tokenizers.bpe(1024))   frequent runs of bytes, learned: any text

Every token stands for some bytes of UTF-8, so that texts are put together, streamed and counted in
one way. What a tokenizer is goes with the data's description, and `of` reads it there.
"""

from __future__ import annotations

import codecs
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data.arrays import positive_int

NUM_BYTES = 256
_BYTES = tuple(bytes([value]) for value in range(NUM_BYTES))


@functools.lru_cache(maxsize=8)
def _readable(pieces: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(piece.decode("utf-8", "backslashreplace") for piece in pieces)


class Tokenizer(Protocol):
    """Turns a text into tokens and back."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Readable text of each token; parts of a character are escaped."""
        ...

    @property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes of UTF-8 that each token stands for."""
        ...

    @property
    def description(self) -> str:
        """Value of `DataSpec.tokenizer`: with the vocabulary, all that `of` needs."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """The tokens int32 `[N]` of a text."""
        ...

    def decode(self, tokens: Any) -> str:
        """The text that tokens `[N]` stand for; bytes that are not UTF-8 become U+FFFD."""
        ...


Fit: TypeAlias = Callable[[str, str], Tokenizer]
"""`(training text, characters that the other splits may hold) -> tokenizer`."""


@dataclasses.dataclass(frozen=True)
class Characters:
    """One character, one token.

    Attributes:
        vocabulary: The characters, sorted: token i stands for the i-th.
    """

    vocabulary: tuple[str, ...]
    description = ""  # the vocabulary says it all

    @property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes of UTF-8 that each token stands for."""
        return _in_utf8(self.vocabulary)

    @functools.cached_property
    def _token_of(self) -> np.ndarray:
        """Code point -> token, -1 for those that the vocabulary lacks."""
        known = _code_points("".join(self.vocabulary))
        table = np.full(int(known.max(initial=0)) + 2, -1, np.int32)
        table[known] = np.arange(len(known))
        return table

    def encode(self, text: str) -> np.ndarray:
        """The tokens int32 `[len(text)]` of a text.

        Raises:
            ValueError: The text has a character that the vocabulary lacks.
        """
        points = _code_points(text)
        tokens = self._token_of[np.minimum(points, len(self._token_of) - 1)]
        if len(tokens) and tokens.min() < 0:
            which = "".join(chr(point) for point in np.unique(points[tokens < 0])[:10])
            raise ValueError(
                f"the text holds characters that the vocabulary lacks: {which!r}; the vocabulary is"
                " that of the training text, so add them there or remove them here"
            )
        return tokens

    def decode(self, tokens: Any) -> str:
        """The text that tokens `[N]` stand for."""
        return _decode(self, tokens)


@dataclasses.dataclass(frozen=True)
class Bytes:
    """One byte of UTF-8, one token: 256 tokens, and no text that they cannot write."""

    description = json.dumps({"kind": "bytes"})
    pieces = _BYTES
    vocabulary = _readable(_BYTES)  # ASCII characters, and escapes for the other bytes

    def encode(self, text: str) -> np.ndarray:
        """The tokens int32 `[N]` of a text: its bytes in UTF-8."""
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32)

    def decode(self, tokens: Any) -> str:
        """The text that tokens `[N]` stand for; bytes that are not UTF-8 become U+FFFD."""
        return _decode(self, tokens)


@dataclasses.dataclass(frozen=True)
class BPE:
    """Byte-pair encoding over bytes: a token is a frequent run of bytes, or a single one.

    Attributes:
        description: JSON: a tag, and the tokenizer as Hugging Face's `tokenizers` writes it.

    References:
        Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units,
        arXiv:1508.07909. Radford et al. 2019, Language Models are Unsupervised Multitask Learners
        (section 2.2: over bytes).
    """

    description: str

    @functools.cached_property
    def _library(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(json.dumps(json.loads(self.description)["tokenizers"]))

    @functools.cached_property
    def _pieces(self) -> tuple[bytes, ...]:
        numbers = self._library.get_vocab()
        byte_of = {character: value for value, character in enumerate(_byte_alphabet())}
        ordered = sorted(numbers, key=lambda token: numbers[token])
        return tuple(bytes(byte_of[character] for character in token) for token in ordered)

    @property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that each token stands for."""
        return self._pieces

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Readable text of each token; parts of a character are escaped."""
        return _readable(self.pieces)

    def encode(self, text: str) -> np.ndarray:
        """The tokens int32 `[N]` of a text."""
        return np.array(self._library.encode_batch_fast([text])[0].ids, np.int32)

    def decode(self, tokens: Any) -> str:
        """The text that tokens `[N]` stand for; bytes that are not UTF-8 become U+FFFD."""
        return _decode(self, tokens)


def characters(text: str, others: str = "") -> Characters:
    """The distinct characters of a text, and of others that are to be written with them."""
    return Characters(tuple(sorted({*text, *others})))


def utf8(text: str = "", others: str = "") -> Bytes:
    """The 256 bytes, whatever the text."""
    return Bytes()


def bpe(size: int) -> Fit:
    """Byte-pair encoding that is learned from the training text.

    Args:
        size: Number of tokens, the 256 bytes among them; a short text may give fewer.

    Returns:
        A function that learns it.

    Raises:
        ValueError: The size is not above 256.
    """
    positive_int(size, "size")
    if size <= NUM_BYTES:
        raise ValueError(
            f"size is {size}: byte-pair encoding needs more tokens than the {NUM_BYTES} bytes"
        )
    return lambda text, others="": _learn_bpe(text, size)


@functools.lru_cache(maxsize=1)  # the splits of a text are loaded one after the other
def _learn_bpe(text: str, size: int) -> BPE:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=_byte_alphabet(), show_progress=False
    )
    library.train_from_iterator(text.splitlines(keepends=True), trainer)
    return BPE(json.dumps({"kind": "bpe", "tokenizers": json.loads(library.to_str())}))


@functools.lru_cache(maxsize=8)
def of(spec: DataSpec) -> Tokenizer:
    """The tokenizer of a text's tokens.

    Args:
        spec: Description of one example of the text.

    Raises:
        ValueError: The data are not a text.
    """
    if not spec.vocabulary:
        raise ValueError(f"{spec.name} is not a text: it has no vocabulary")
    kind = json.loads(spec.tokenizer)["kind"] if spec.tokenizer else "characters"
    if kind == "characters":
        return Characters(spec.vocabulary)
    return Bytes() if kind == "bytes" else BPE(spec.tokenizer)


def stream(tokenizer: Tokenizer, chunks: Iterable[Any]) -> Iterator[str]:
    """The text of tokens that come in chunks, piece by piece.

    A character split over two chunks is kept back until it is complete.

    Args:
        tokenizer: The tokenizer.
        chunks: Tokens `[N]`, and so on.

    Yields:
        Texts; put together they are `tokenizer.decode` of all tokens.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        if text := decoder.decode(_bytes(tokenizer, chunk)):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text


def num_characters(tokenizer: Tokenizer, tokens: Any) -> int:
    """Number of characters in tokens of any shape, each counted where its first byte lies."""
    return int(_first_bytes(tokenizer)[np.asarray(tokens)].sum())


@functools.lru_cache(maxsize=8)
def _first_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """Token -> number of characters that begin in it, `[V]`; their other bytes are 10xxxxxx."""
    return np.array([sum(b & 0xC0 != 0x80 for b in piece) for piece in tokenizer.pieces], np.int64)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _bytes(tokenizer: Tokenizer, tokens: Any) -> bytes:
    numbers, pieces = np.asarray(tokens), tokenizer.pieces
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(pieces):
        raise ValueError(
            f"tokens lie in {numbers.min()} .. {numbers.max()} but the vocabulary has"
            f" {len(pieces)}: give 0 .. {len(pieces) - 1}"
        )
    return b"".join([pieces[number] for number in numbers.tolist()])


def _decode(tokenizer: Tokenizer, tokens: Any) -> str:
    return _bytes(tokenizer, tokens).decode("utf-8", "replace")


@functools.lru_cache(maxsize=8)
def _in_utf8(vocabulary: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(character.encode("utf-8") for character in vocabulary)


def _byte_alphabet() -> list[str]:
    """The character that stands for each byte where the library writes tokens.

    Bytes that print stand for themselves (as Latin-1 has them); the others, in order, for the
    characters from U+0100 on.
    """
    prints = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in prints else next(others)) for byte in range(NUM_BYTES)]
