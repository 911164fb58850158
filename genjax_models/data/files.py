"""Data sets on disk: a folder of images, an `.npz` file of arrays, a text file."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data import array_files, augment, folders, images, text
from genjax_models.data.array_files import npz_names, read_npz
from genjax_models.data.dataset import Dataset
from genjax_models.data.music import is_chorales_file, read_chorales
from genjax_models.data.records import Kept

TEXT_ENDINGS = (".txt", ".md", ".text", ".csv", ".json", ".py")
TEXT_SPLITS = MappingProxyType({"train": "train", "validation": "train[90%:]"})
"""The splits of a text file: its last tenth is held back."""
EVERYTHING = "all"
"""Name of the union of all splits of a folder of images."""
TRAINED_ON = ("train", EVERYTHING)
"""Splits of a folder that are learned from, and so may be augmented."""
EXAMPLES, LABELS = ("x", "images"), ("label", "labels", "y")
"""The arrays of an `.npz` file that are read; of each kind, the first that is there."""
NUM_LEVELS, CLASS_NAMES = "num_levels", "class_names"
"""Arrays that describe them, if they are there."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Storage of a folder's images.

    Attributes:
        in_memory: If True, reads all at once; None does so if they fit in a quarter of memory.
        cache: Folder for scaled images, if they are read one by one; None for no cache.
    """

    in_memory: bool | None = True
    cache: Path | None = None


IN_MEMORY = Place()


def is_path(name: str | os.PathLike[str]) -> bool:
    """Returns True if a name is a path: it exists, or it is written like one."""
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
    """Returns True if the file counts as a text."""
    return path.is_file() and path.suffix.lower() != ".npz" and not is_chorales_file(path)


def load(
    path: Path,
    split: str = "train",
    reading: images.Reading = images.AS_THEY_ARE,
    place: Place = IN_MEMORY,
) -> Dataset:
    """The images or arrays that lie at a path, as a data set; `texts` reads a text.

    Args:
        path: A folder of images or an `.npz` file.
        split: `train`, or another one of `splits_of(path)`, or of a folder all of them, `all`.
        reading: Options for the images of a folder.
        place: Their storage.

    Raises:
        FileNotFoundError: There is nothing at that path.
        ValueError: The path is not a data set.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is nothing at {path}: give the path of a folder of images, an .npz file or a"
            " text file"
        )
    name = path.name or str(path)
    if path.is_dir():
        return _load_folder(path, name, split, reading, place)
    if not path.is_file():
        raise ValueError(
            f"{path} is not a file or folder but a device, a pipe or a socket: give the path of a"
            " folder of images, an .npz file or a text file"
        )
    return load_npz(path, name)


def _load_folder(
    path: Path, name: str, split: str, reading: images.Reading, place: Place
) -> Dataset:
    """Images uint8 `[N, H, W, C]`: C = 1 if all of the folder's are grey, of all splits, else 3."""
    layout = folders.read(path)
    chosen = layout.everything if split == EVERYTHING else layout.splits[split]
    if split != EVERYTHING:  # which is of one kind, whatever is held back
        folders.tell(layout, name)
    if split not in TRAINED_ON:  # chance is for what is learned from
        reading = dataclasses.replace(reading, crop="center")
    if reading.color is None:
        every = (file for part in layout.splits.values() for file, _ in part)
        is_grey = all(images.is_grey(file, reading.background) for file in every)
        reading = dataclasses.replace(reading, color="gray" if is_grey else "rgb")
    classes = layout.class_names
    labels = np.array([label for _, label in chosen], np.int32) if classes else None
    # One of `train` beside another split's, so that they are refused where their sizes differ.
    beside = [layout.splits["train"][0][0]] if split not in TRAINED_ON else []
    paths, channels = [*beside, *(file for file, _ in chosen)], 1 if reading.color == "gray" else 3
    in_memory, sizes = place.in_memory, []
    if not in_memory:
        sizes = [reading.size_of(file) for file in paths]
        in_memory = in_memory is None and _fit(sizes, channels, name)
    if in_memory:
        pixels = _read_all(paths, name, reading)
        sizes = [p.shape[:2] for p in pixels]
        source = Kept([_record(p, labels, i) for i, p in enumerate(pixels[len(beside) :])])
    else:
        kept = None if reading.shape is None else place.cache
        source = Files(tuple(map(str, paths[len(beside) :])), labels, reading, name, kept)
    if reading.shape is None:
        images.check_sizes(sizes, paths)
    shape = (*(reading.shape or sizes[0]), channels)
    spec = DataSpec(shape, 256, len(classes) or None, name=name, class_names=classes)
    if reading.crop == "random":
        return Dataset(spec, split, source=source, augment=augment.RandomCrop(*shape[:2]))
    if not in_memory:
        return Dataset(spec, split, source=source)
    records = source.__getitems__(range(len(source)))
    return Dataset(spec, split, {key: np.stack([r[key] for r in records]) for key in records[0]})


def _fit(sizes: Sequence[tuple[int, int]], channels: int, name: str) -> bool:
    """Returns True if images of these sizes fit in memory; warns if they do not."""
    needed = channels * sum(height * width for height, width in sizes)
    # What is stacked, and then copied to a device, is there three times for a while.
    if 4 * needed <= array_files.total_memory():
        return True
    warnings.warn(
        f"{name}: {needed / 2**30:.1f} GiB of images are too many for memory, and are read when"
        " they are needed",
        stacklevel=2,
    )
    return False


def _read_all(paths: Sequence[Path], name: str, reading: images.Reading) -> list[np.ndarray]:
    notes, pixels = [], []
    for file in paths:
        picture = reading(file)
        pixels.append(picture.pixels)
        notes.extend((note, file) for note in picture.notes)
    images.tell(notes, name)
    return pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """Image files that are read when they are asked for: a `data.Source`.

    Attributes:
        paths: The files.
        labels: int32 `[N]`, or None.
        reading: Options for reading them, with the colour resolved.
        name: The data set's name, for messages.
        cache: A folder in which scaled images are kept, so that each is decoded and scaled once;
            None decodes them each time.
    """

    paths: tuple[str, ...]
    labels: np.ndarray | None
    reading: images.Reading
    name: str
    cache: Path | None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        """The images of those numbers, with their labels."""
        return [_record(self._read(Path(self.paths[i])), self.labels, i) for i in record_keys]

    def _read(self, path: Path) -> np.ndarray:
        kept = self._kept(path)
        if kept is not None and (pixels := array_files.read_one(kept)) is not None:
            return pixels
        picture = self.reading(path)
        for note in picture.notes:
            warnings.warn(f"{self.name}: some files have {note}", stacklevel=2)
        if kept is not None:
            array_files.write_one(kept, picture.pixels)
        return picture.pixels

    def _kept(self, path: Path) -> Path | None:
        """Path of a file's cached image, which changes with the file and the reading options."""
        if self.cache is None:
            return None
        try:
            now = path.stat()
        except OSError:  # reading it says what is wrong
            return None
        words = f"{path.resolve()}\n{now.st_size} {now.st_mtime_ns}\n{self.reading}"
        digest = hashlib.sha256(words.encode("utf-8", "surrogateescape")).hexdigest()
        return self.cache / digest[:2] / f"{digest[2:]}.npy"


def _record(pixels: np.ndarray, labels: np.ndarray | None, i: int) -> dict[str, Any]:
    return {"x": pixels} if labels is None else {"x": pixels, "label": labels[i]}


def load_npz(path: Path, name: str) -> Dataset:
    """Arrays `x` or `images`, with `label`, `labels` or `y`, `num_levels` and `class_names` if any.

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
    more = [key for key in (NUM_LEVELS, CLASS_NAMES) if key in there]
    arrays = read_npz(path, (examples, *labels, *more))
    for key in labels[1:]:
        if not np.array_equal(arrays[key], arrays[labels[0]]):
            raise ValueError(f"{path} holds {labels[0]} and {key}, which differ: keep the labels")
    num_levels = arrays.get(NUM_LEVELS)
    if num_levels is not None and (num_levels.size != 1 or num_levels.dtype.kind not in "iu"):
        raise ValueError(f"{path} holds {NUM_LEVELS} that are no whole number: save one, or none")
    return Dataset.from_arrays(
        arrays[examples],
        arrays[labels[0]] if labels else None,
        num_levels=None if num_levels is None else int(num_levels.item()),
        class_names=[str(value) for value in np.ravel(arrays.get(CLASS_NAMES, ()))],
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
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); give a text file, an"
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
