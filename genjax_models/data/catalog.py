"""The sets that TFDS prepares: what one example is, its splits, and the builder that knows how."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from genjax_models.core.types import DIGITS, DataSpec
from genjax_models.data.builders import originals, raw

Record = Mapping[str, Any]
Example = dict[str, Any]


def image_and_label(record: Record) -> Example:
    """The usual record of a labelled image."""
    return {"x": record["image"], "label": np.int32(record["label"])}


def photo_and_map(record: Record) -> Example:
    """A pair side by side: the photo on the left is what is modelled, given the map of parts."""
    pair = record["pair"]  # [256, 512, 3]
    return {"x": pair[:, :256], "condition": pair[:, 256:]}


def waveform(record: Record) -> Example:
    """A recording, the digit that is said, and who says it."""
    label, speaker = np.int32(record["label"]), np.int32(record["speaker"])
    return {"x": record["audio"], "label": label, "speaker": speaker}


def characters(record: Record) -> Example:
    """A text as the numbers of its characters in Unicode."""
    text = record["text"]
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    return {"x": np.frombuffer(text.encode("utf-32-le"), "<u4")}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one set is had.

    Attributes:
        spec: What one example is. For a text, the levels and the vocabulary are read off the
            training split.
        builder: `module:Class` in `genjax_models.data.builders`.
        version: The builder's version, so that a decoded set is found without importing TFDS.
        splits: Split -> what it is of the prepared set, as TFDS writes slices.
        sources: The original files, in the folder `spec.name` of the files at hand.
        example: One record as one example.
    """

    spec: DataSpec
    builder: str
    version: str
    splits: Mapping[str, str]
    sources: tuple[raw.Source, ...] = ()
    example: Callable[[Record], Example] = image_and_label

    @property
    def is_text(self) -> bool:
        """Whether the set is one long text."""
        return self.example is characters

    def builder_class(self) -> type:
        """The TFDS builder; importing it imports TFDS."""
        module, name = self.builder.split(":")
        return getattr(importlib.import_module(f"genjax_models.data.builders.{module}"), name)


_OWN = MappingProxyType({"train": "train", "validation": "validation", "test": "test"})
# No validation split of their own: the end of the training split serves. TFDS shuffles what it
# writes, so that the end is a fair sample.
_MNIST = MappingProxyType({"train": "train", "validation": "train[50000:]", "test": "test"})
_LAST_TENTH = MappingProxyType({"train": "train", "validation": "train[90%:]", "test": "test"})

_RECIPES = (
    Recipe(DIGITS, "digits:Digits", "1.0.0", _OWN),
    Recipe(
        DataSpec((28, 28, 1), 256, 10, name="mnist"),
        "mnist:Mnist",
        "3.0.1",
        _MNIST,
        originals.MNIST,
    ),
    Recipe(
        DataSpec((28, 28, 1), 256, 1_623, name="omniglot"),
        "omniglot:Omniglot28",
        "1.0.0",
        _LAST_TENTH,
        originals.OMNIGLOT,
    ),
    Recipe(
        DataSpec((16, 16, 1), 256, 10, name="usps"),
        "usps:Usps",
        "1.0.0",
        _LAST_TENTH,
        originals.USPS,
    ),
    Recipe(
        DataSpec((256,), name="tiny_shakespeare"),
        "tiny_shakespeare:TinyShakespeare",
        "1.0.0",
        _OWN,
        originals.TINY_SHAKESPEARE,
        example=characters,
    ),
    Recipe(
        DataSpec((8_192, 1), 65_536, 10, name="spoken_digit"),
        "spoken_digit:SpokenDigit",
        "1.0.0",
        _OWN,
        originals.SPOKEN_DIGIT,
        example=waveform,
    ),
    Recipe(
        DataSpec((256, 256, 3), 256, name="facades"),
        "facades:FacadesPaired",
        "1.0.0",
        _OWN,
        originals.FACADES,
        example=photo_and_map,
    ),
    Recipe(
        DataSpec((32, 32, 3), 256, 10, name="cifar10", class_names=originals.CIFAR10_CLASSES),
        "cifar10:Cifar10",
        "3.0.2",
        _LAST_TENTH,
        originals.CIFAR10,
    ),
    Recipe(
        DataSpec((32, 32, 3), 256, 10, name="cifar10_jpg", class_names=originals.CIFAR10_CLASSES),
        "cifar10:Cifar10Jpg",
        "1.0.0",
        _LAST_TENTH,
        originals.CIFAR10_JPG,
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.spec.name: recipe for recipe in _RECIPES})
"""The sets by name."""

SUBSTITUTES: Mapping[str, str] = MappingProxyType({"cifar10": "cifar10_jpg"})
"""Set -> the one that stands in, with a warning, where only its files are at hand."""
