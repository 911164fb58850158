"""Texts as tokens: one character, one token; the vocabulary is the training text's characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data import checks
from genjax_models.data.dataset import Dataset

WINDOW = 256
"""Tokens of one example, unless another number is asked for."""


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def vocabulary_of(text: str) -> tuple[str, ...]:
    """The distinct characters of a text, sorted: token i stands for the i-th."""
    return tuple(chr(point) for point in np.unique(_code_points(text)))


def encode(text: str, vocabulary: Sequence[str]) -> np.ndarray:
    """The tokens of a text.

    Args:
        text: The text.
        vocabulary: One character a token, sorted, as `vocabulary_of` gives it.

    Returns:
        Tokens int32 `[len(text)]`.

    Raises:
        ValueError: The text has a character that the vocabulary lacks.
    """
    known = _code_points("".join(vocabulary))
    points = _code_points(text)
    tokens = np.searchsorted(known, points)
    strange = known[np.minimum(tokens, len(known) - 1)] != points
    if strange.any():
        which = "".join(chr(point) for point in np.unique(points[strange])[:10])
        raise ValueError(
            f"the text holds characters that the vocabulary lacks: {which!r}; the vocabulary is"
            " that of the training text, so add them there or remove them here"
        )
    return tokens.astype(np.int32)


def decode(tokens: Any, vocabulary: Sequence[str]) -> str:
    """The text that tokens `[T]` stand for."""
    return "".join(vocabulary[int(token)] for token in np.asarray(tokens))


def from_text(
    text: str,
    *,
    window: int = WINDOW,
    vocabulary: Sequence[str] | None = None,
    name: str = "text",
    split: str = "train",
) -> Dataset:
    """A data set of all windows of a text.

    Args:
        text: The text.
        window: Number of characters of one example; `Dataset.with_window` changes it.
        vocabulary: The training text's, for a text that is not the training text.
        name: The data set's name, for messages.
        split: The split's name, for messages.

    Returns:
        A data set whose `x` is int32 `[B, window]`, with `spec.vocabulary`.

    Raises:
        ValueError: The text is shorter than the window or has characters that are not in the
            vocabulary.
    """
    checks.positive_int(window, "window")
    checks.text_window(len(text), window, name, split)
    vocabulary = vocabulary_of(text) if vocabulary is None else tuple(vocabulary)
    spec = DataSpec((window,), len(vocabulary), vocabulary=vocabulary, name=name)
    return Dataset(spec, split, {"x": encode(text, vocabulary)}, window=window)
