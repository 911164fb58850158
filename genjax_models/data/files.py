"""Data sets on disk: a folder of images, an `.npz` file of arrays, a text file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data import augment, folders, images, text
from genjax_models.data.array_files import npz_names, read_npz
from genjax_models.data.dataset import Dataset
from genjax_models.data.music import is_chorales_file, read_chorales

TEXT_ENDINGS = (".txt", ".md", ".text", ".csv", ".json", ".py")
TEXT_SPLITS = MappingProxyType({"train": "train", "validation": "train[90%:]"})
"""The splits of a text file: its last tenth is held back."""
EVERYTHING = "all"
"""Name of the union of all splits of a folder of images."""
TRAINED_ON = ("train", EVERYTHING)
"""Splits of a folder that are learned from, and so may be augmented."""
EXAMPLES, LABELS, CLASS_NAMES = ("x", "images"), ("label", "labels", "y"), "class_names"
"""The arrays of an `.npz` file that are read; of each kind, the first that is there."""


def is_path(name: str | os.PathLike[str]) -> bool:
    """Whether a name is meant as a path: it is there, or it is written like one."""
    path = Path(name).expanduser()
    written = str(name)
    looks = os.sep in written or "/" in written or path.suffix.lower() in (".npz", *TEXT_ENDINGS)
    return not isinstance(name, str) or looks or path.exists()


def splits_of(path: Path) -> Mapping[str, str]:
    """The splits that a path has, and what each is of those that can be read.

    A folder of images has all three unless it holds too few (`data.folders`), an `.npz` file
    `train` alone; a text's end is its `validation`.
    """
    path = path.expanduser()
    if is_chorales_file(path):
        return {split: split for split in read_chorales(path).splits}
    if is_text(path):
        return TEXT_SPLITS
    found = tuple(folders.read(path).splits) if path.is_dir() else ("train",)
    return {split: split for split in found}


def is_text(path: Path) -> bool:
    """Whether what lies there is taken for a text."""
    return path.is_file() and path.suffix.lower() != ".npz" and not is_chorales_file(path)


def load(
    path: Path,
    split: str = "train",
    reading: images.Reading = images.AS_THEY_ARE,
) -> Dataset:
    """The images or arrays that lie at a path, as a data set; `texts` reads a text.

    Args:
        path: A folder of images or an `.npz` file.
        split: `train`, or another one of `splits_of(path)`, or of a folder all of them, `all`.
        reading: How the images of a folder are read.

    Raises:
        FileNotFoundError: There is nothing at that path.
        ValueError: What is there is no data set.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is nothing at {path}: give the path of a folder of images, an .npz file or a"
            " text file"
        )
    name = path.name or str(path)
    if path.is_dir():
        return _load_folder(path, name, split, reading)
    if not path.is_file():
        raise ValueError(
            f"{path} is no file or folder but a device, a pipe or a socket: give the path of a"
            " folder of images, an .npz file or a text file"
        )
    return load_npz(path, name)


def _load_folder(path: Path, name: str, split: str, reading: images.Reading) -> Dataset:
    """Images uint8 `[N, H, W, C]`: C = 1 if all of the folder's are grey, of all splits, else 3."""
    layout = folders.read(path)
    files = layout.everything if split == EVERYTHING else layout.splits[split]
    if split != EVERYTHING:  # which is of one kind, whatever is held back
        folders.tell(layout, name)
    if split not in TRAINED_ON:  # chance is for what is learned from
        reading = dataclasses.replace(reading, crop="center")
    if reading.color is None:
        every = (file for part in layout.splits.values() for file, _ in part)
        is_grey = all(images.is_grey(file, reading.background) for file in every)
        reading = dataclasses.replace(reading, color="gray" if is_grey else "rgb")
    paths, classes, notes = [file for file, _ in files], layout.class_names, []
    # One of `train` beside another split's, so that they are refused where their sizes differ.
    beside = [layout.splits["train"][0][0]] if split not in TRAINED_ON else []
    pictures = []
    for file in (*beside, *paths):
        picture = reading(file)
        pictures.append(picture.pixels)
        notes.extend((note, file) for note in picture.notes)
    images.tell(notes, name)
    if reading.shape is None:
        images.check_sizes([p.shape[:2] for p in pictures], (*beside, *paths))
    labels = np.array([label for _, label in files], np.int32) if classes else None
    num_classes = len(classes) or None
    if reading.crop == "random":
        assert reading.shape is not None
        shape = (*reading.shape, pictures[0].shape[-1])
        spec = DataSpec(shape, 256, num_classes, name=name, class_names=classes)
        crop = augment.RandomCrop(*reading.shape)
        return Dataset(spec, split, source=Pictures(pictures, labels), augment=crop)
    return Dataset.from_arrays(
        np.stack(pictures[len(beside) :]),
        labels,
        num_classes=num_classes,
        class_names=classes,
        name=name,
        split=split,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """Images of several sizes in memory: a `data.Source`.

    Attributes:
        pixels: Each uint8 `[H, W, C]`.
        labels: int32 `[N]`, or None.
    """

    pixels: Sequence[np.ndarray]
    labels: np.ndarray | None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pixels)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        """The images of those numbers, with their labels."""
        labels = {} if self.labels is None else {"label": self.labels}
        return [
            {"x": self.pixels[i], **{name: a[i] for name, a in labels.items()}} for i in record_keys
        ]


def load_npz(path: Path, name: str) -> Dataset:
    """Arrays `x` or `images`, with `label`, `labels` or `y` and `class_names` if there are any.

    Other arrays of the file are not looked at.

    Raises:
        ValueError: The file is broken, or holds no such array, or labels that differ.
    """
    there = npz_names(path)
    examples = next((key for key in EXAMPLES if key in there), None)
    if examples is None:
        raise ValueError(
            f"{path} holds {', '.join(there) or 'nothing'}; save the examples in it as 'x' (or"
            f" 'images'), and labels, one a row, as {' or '.join(map(repr, LABELS))}"
        )
    labels = [key for key in LABELS if key in there]
    names = [key for key in (CLASS_NAMES,) if key in there]
    arrays = read_npz(path, (examples, *labels, *names))
    for key in labels[1:]:
        if not np.array_equal(arrays[key], arrays[labels[0]]):
            raise ValueError(f"{path} holds {labels[0]} and {key}, which differ: keep the labels")
    return Dataset.from_arrays(
        arrays[examples],
        arrays[labels[0]] if labels else None,
        class_names=[str(value) for value in np.ravel(arrays[names[0]])] if names else (),
        name=name,
    )


def texts(path: Path) -> text.Texts | None:
    """The splits of a text file; None if what lies there is none.

    Raises:
        ValueError: The file is empty, or no UTF-8.
    """
    if not is_text(path):
        return None
    try:
        content = path.read_text(encoding="utf-8-sig")  # with or without a mark at its start
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no UTF-8 text ({error.reason} at byte {error.start}); give a text file, an"
            " .npz file or a folder of images"
        ) from error
    if not content:
        raise ValueError(f"{path} is empty: it needs text to learn from")
    return text.Texts(
        path.name,
        TEXT_SPLITS,
        lambda whole: content,
        training="train[:90%]",
        may_be_short=True,  # a short text is one example rather than none of the usual length
    )
