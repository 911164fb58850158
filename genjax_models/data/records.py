"""Sources of examples: records of one's own that hold an image each, and examples in memory."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genjax_models.data import images
from genjax_models.data.arrays import read_labels


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """Examples in memory with images of different sizes: a `data.Source`.

    Attributes:
        examples: Each a mapping, as `{"x": ...}`.
    """

    examples: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.examples)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        """The examples of those numbers."""
        return [self.examples[i] for i in record_keys]


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """Records of images, read when they are asked for: a `data.Source`.

    Attributes:
        records: Anything with `records[i]` and `len(records)`.
        image: The entry that is the image.
        labels: int32 `[N]`, or None.
        reading: Options for reading images, with the colour resolved.
        shape: Target shape of an image, `(H, W, C)`.
        num_classes: Number of labels, or None.
        class_names: Their names, or empty.
        name: The data set's name, for messages.
        is_gray_as_first: If True, images are gray because the first one is, not by request.
    """

    records: Any
    image: str
    labels: np.ndarray | None
    reading: images.Reading
    shape: tuple[int, ...]
    num_classes: int | None
    class_names: tuple[str, ...]
    name: str
    is_gray_as_first: bool = False

    @classmethod
    def of(
        cls,
        records: Any,
        image: str,
        label: str | None,
        reading: images.Reading,
        class_names: tuple[str, ...],
        name: str,
    ) -> Records:
        """Builds the records of a source; the first one determines the format of all.

        Raises:
            TypeError: The source gives no records by number.
            ValueError: An entry is not there, or is not an image or label.
        """
        if not hasattr(records, "__getitem__") or not hasattr(records, "__len__"):
            raise TypeError(
                f"{name}: the source is a {type(records).__name__}, which gives no records by"
                " number: give one with source[i] and len(source), as a list of dicts"
            )
        if len(records) == 0:
            raise ValueError(f"{name}: the source has no records: it needs one")
        first = records[0]
        if not isinstance(first, Mapping):
            raise TypeError(
                f"{name}: a record is a {type(first).__name__}: give mappings, as"
                " {'image': ..., 'label': ...}"
            )
        there = ", ".join(map(str, first))
        if image not in first:
            raise ValueError(f"{name}: records have {there} and no {image!r}: name one by image=")
        has_labels = label is not None and label in first
        if label not in first and label not in (None, "label"):
            raise ValueError(f"{name}: records have {there} and no {label!r}: name one by label=")
        labels, num_classes = None, None
        if has_labels:
            class_names = class_names or _names(records, str(label))
            labels, num_classes, class_names = read_labels(
                _column(records, str(label)), len(records), names=class_names, name=name
            )
        pixels = reading.fit(_picture(first[image], reading, f"{name}: record 0")).pixels
        is_gray_as_first = reading.color is None and pixels.shape[-1] == 1
        if reading.color is None:
            color = "gray" if pixels.shape[-1] == 1 else "rgb"
            reading = dataclasses.replace(reading, color=color)
        shape = (*(reading.shape or pixels.shape[:2]), pixels.shape[-1])
        return cls(
            *(records, image, labels, reading, shape, num_classes, class_names, name),
            is_gray_as_first=is_gray_as_first,
        )

    def __len__(self) -> int:
        """Number of records."""
        return len(self.records)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        """The examples of those numbers: `x`, and `label` if there are labels."""
        return [
            {"x": self._pixels(i)} | ({} if self.labels is None else {"label": self.labels[i]})
            for i in map(int, record_keys)
        ]

    def _pixels(self, i: int) -> np.ndarray:
        where = f"{self.name}: record {i}"
        picture = _picture(self.records[i][self.image], self.reading, where)
        notes = picture.notes
        if self.is_gray_as_first and picture.pixels.shape[-1] == 3:
            notes += ("colours, which are left out as the first is gray: give color='rgb'",)
        for note in notes:
            warnings.warn(f"{self.name}: some images have {note}", stacklevel=2)
        picture = self.reading.fit(picture)
        high, wide = picture.pixels.shape[:2]
        if self.reading.shape is None and (high, wide) != self.shape[:2]:
            raise ValueError(
                f"images differ in size: {where} is {wide}x{high}, and record 0 is"
                f" {self.shape[1]}x{self.shape[0]}; give size=64 (or another) to have them scaled"
                " and cropped to one size"
            )
        return picture.pixels


def _picture(given: Any, reading: images.Reading, where: str) -> images.Picture:
    """An image as a viewer shows it, Pillow's or an array."""
    from PIL import Image

    try:
        read = images.shown if isinstance(given, Image.Image) else images.of_array
        return read(given, reading.background)
    except Exception as error:  # of a damaged file Pillow gives nearly any
        raise ValueError(f"{where} is not a readable image: {images.reason(error)}") from error


def _names(records: Any, label: str) -> tuple[str, ...]:
    """Class names of a Hugging Face feature."""
    features = getattr(records, "features", None)
    feature = features.get(label) if isinstance(features, Mapping) else None
    return tuple(getattr(feature, "names", None) or ())


def _column(records: Any, label: str) -> list[Any]:
    """An entry of all records."""
    if hasattr(records, "select_columns"):  # Hugging Face's, which then decodes no image
        records = records.select_columns([label])
    return [records[i][label] for i in range(len(records))]
