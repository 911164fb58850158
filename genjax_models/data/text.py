"""Texts as data sets: windows of a fixed number of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from genjax_models.core.types import DataSpec
from genjax_models.data.arrays import check_window, positive_int
from genjax_models.data.dataset import Dataset, parse_split, split_bounds
from genjax_models.data.tokenizers import Characters, Fit, Tokenizer, characters

WINDOW = 256
"""Tokens of one example, unless another number is asked for."""

_SAMPLE = 64 * WINDOW  # characters of a text that tell whether it has a window's tokens


def vocabulary_of(text: str) -> tuple[str, ...]:
    """The distinct characters of a text, sorted: token i stands for the i-th."""
    return characters(text).vocabulary


def printable(text: str) -> str:
    """The text with U+FFFD for what does not print: fonts lack it, and it may steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def from_text(
    text: str,
    *,
    window: int = WINDOW,
    tokenizer: Tokenizer | None = None,
    name: str = "text",
    split: str = "train",
) -> Dataset:
    """A data set of all windows of a text.

    Args:
        text: The text.
        window: Number of tokens of one example; `Dataset.with_window` changes it.
        tokenizer: The training text's, for a text that is not the training text; by default the
            characters of this one.
        name: The data set's name, for messages.
        split: The split's name, for messages.

    Returns:
        A data set with `x` int32 `[B, window]`, with `spec.vocabulary` and `spec.tokenizer`.

    Raises:
        ValueError: The text is shorter than the window or has characters that are not in the
            vocabulary.
    """
    positive_int(window, "window")
    tokenizer = characters(text) if tokenizer is None else tokenizer
    tokens = tokenizer.encode(text)
    check_window(len(tokens), window, name, split)
    vocabulary = tokenizer.vocabulary
    spec = DataSpec(
        (window,),
        len(vocabulary),
        vocabulary=vocabulary,
        name=name,
        tokenizer=tokenizer.description,
    )
    return Dataset(spec, split, {"x": tokens}, window=window)


@dataclasses.dataclass(frozen=True)
class Texts:
    """The splits of a text, before it is tokens.

    Attributes:
        name: The data set's name.
        splits: Split -> what it is of the texts that can be read: `train`, `train[90%:]`.
        read: The whole text of a name without a slice.
        training: The split that a tokenizer learns from: what is in no other split.
        may_be_short: If True, a split may have fewer tokens than the default window.
    """

    name: str
    splits: Mapping[str, str]
    read: Callable[[str], str]
    training: str = "train"
    may_be_short: bool = False

    def part(self, split: str) -> str:
        """The text of a split, or of a slice of one: `train[:90%]` is counted in characters.

        Raises:
            ValueError: There is no such split, or it is empty.
        """
        base, start, stop = parse_split(split, tuple(self.splits), self.name)
        whole, first, last = parse_split(self.splits[base], tuple(self.splits), self.name)
        text = self.read(whole)
        text = text[split_bounds(first, last, len(text))]
        return text[split_bounds(start, stop, len(text))]

    def dataset(self, split: str, window: int | None, fit: Fit | None) -> Dataset:
        """A split as a data set, in the tokens of a tokenizer that the training text made.

        Args:
            split: The split, or a slice of one.
            window: Tokens of one example; by default 256, or all of the shortest split.
            fit: Makes the tokenizer; by default one of characters.

        Raises:
            ValueError: No such split, an empty one, or one that is shorter than the window.
        """
        text = self.part(split)
        if not text:
            raise ValueError(
                f"{self.name}[{split}] is empty: give a longer text, or a slice that holds some"
            )
        # The alphabet is that of all that lies in one file: a rare character that the held-out end
        # alone has must be written, though nothing is learned of it.
        alphabet = "".join(vocabulary_of(self.read("train")))
        tokenizer = (fit or characters)(self.part(self.training), alphabet)
        window = self._usual_window(tokenizer) if window is None else window
        return from_text(text, window=window, tokenizer=tokenizer, name=self.name, split=split)

    def _usual_window(self, tokenizer: Tokenizer) -> int:
        if not self.may_be_short:
            return WINDOW
        parts = (self.part(split)[:_SAMPLE] for split in self.splits)
        return min([WINDOW, *(len(tokenizer.encode(text)) for text in parts if text)])


def of_dataset(name: str, load: Callable[[str], Dataset]) -> Texts:
    """The texts of a data set of characters, to be written in other tokens.

    Args:
        name: The data set's name.
        load: The data set of a split.
    """

    def read(split: str) -> str:
        dataset = load(split)
        assert dataset.arrays is not None
        return Characters(dataset.spec.vocabulary).decode(dataset.arrays["x"])

    return Texts(name, {split: split for split in ("train", "validation", "test")}, read)
