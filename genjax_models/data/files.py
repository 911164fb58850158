"""Data sets on disk: a folder of images, an `.npz` file of arrays, a text file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from genjax_models.data import chorales, text
from genjax_models.data.dataset import Dataset

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
TEXT_ENDINGS = (".txt", ".md", ".text", ".csv", ".json", ".py")
TEXT_SPLITS = MappingProxyType({"train": "train", "validation": "train[90%:]"})
"""The splits of a text file: its last tenth is held back."""
_SPLIT_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}


def is_path(name: str | os.PathLike[str]) -> bool:
    """Whether a name is meant as a path: it is there, or it is written like one."""
    path = Path(name).expanduser()
    written = str(name)
    looks = os.sep in written or "/" in written or path.suffix.lower() in (".npz", *TEXT_ENDINGS)
    return not isinstance(name, str) or looks or path.exists()


def splits_of(path: Path) -> Mapping[str, str]:
    """The splits that a path has, and what each is of those that can be read.

    There is `train`, and what else a folder has subfolders for; a text's end is its `validation`.
    """
    path = path.expanduser()
    if chorales.is_file(path):
        return chorales.splits_of(path)
    if is_text(path):
        return TEXT_SPLITS
    found = tuple(split for split in _SPLIT_FOLDERS if _split_folder(path, split) is not None)
    return {split: split for split in (found if "train" in found else ("train",))}


def is_text(path: Path) -> bool:
    """Whether what lies there is taken for a text."""
    return path.is_file() and path.suffix.lower() != ".npz" and not chorales.is_file(path)


def _split_folder(path: Path, split: str) -> Path | None:
    return next((path / f for f in _SPLIT_FOLDERS[split] if (path / f).is_dir()), None)


def load(path: Path, split: str = "train", size: int | None = None) -> Dataset:
    """The images or arrays that lie at a path, as a data set; `texts` reads a text.

    Args:
        path: A folder of images or an `.npz` file.
        split: `train`, or another one of `splits_of(path)`.
        size: Images in a folder are scaled to `size` x `size`; others stay as they are.

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
        return _load_folder(path, name, split, size)
    return load_npz(path, name)


def _load_folder(path: Path, name: str, split: str, size: int | None) -> Dataset:
    train = _split_folder(path, "train")
    if train is None:
        return load_images(path, name, split, size=size)
    # The training split says which classes there are and in which order.
    classes = class_folders(train)
    folder = _split_folder(path, split)
    assert folder is not None
    return load_images(folder, name, split, size=size, classes=classes)


def class_folders(folder: Path) -> tuple[str, ...]:
    """The subfolders that hold images, sorted: class i is the i-th."""
    return tuple(
        sub.name
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and not sub.name.startswith(".") and next(_images(sub), None)
    )


def _images(folder: Path) -> Iterator[Path]:
    """The image files of a folder and its subfolders, hidden ones left out."""
    return (
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in IMAGE_ENDINGS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def load_images(
    folder: Path,
    name: str,
    split: str = "train",
    *,
    size: int | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """A folder of images, in the sorted order of their paths; its subfolders are the classes.

    Args:
        folder: The folder. Images lie in it, or all in subfolders.
        name: The data set's name, for messages.
        split: The split's name, for messages.
        size: Scale images to `size` x `size`; without it they must all be of one size.
        classes: The classes' names in order, where another folder (the training split) says them.

    Returns:
        Images uint8 `[N, H, W, C]`, C = 1 if all are grey and 3 if all are in colour.

    Raises:
        ValueError: No image, a broken one, sizes or colours that differ, images both in the folder
            and in subfolders, or a class that `classes` lacks.
    """
    found = class_folders(folder)
    loose = [file for file in _images(folder) if file.parent == folder]
    if found and loose:
        raise ValueError(
            f"{folder} holds images ({loose[0].name}, ...) and also subfolders of images"
            f" ({found[0]}, ...); move all images into subfolders, one a class, or all out of them"
        )
    classes = found if classes is None else tuple(classes)
    strange = [label for label in found if label not in classes]
    if strange:
        raise ValueError(f"{folder} has a class {strange[0]!r} that train lacks: {list(classes)}")
    groups = [(label, list(_images(folder / label))) for label in found] or [("", loose)]
    paths = [path for _, group in groups for path in group]
    if not paths:
        raise ValueError(
            f"{folder} holds no images; put images ({', '.join(IMAGE_ENDINGS[:3])}, ...) in it, or"
            " in one subfolder a class"
        )
    labels = [classes.index(label) for label, group in groups for _ in group] if found else None
    images = _stack([_read_image(path, size) for path in paths], paths)
    return Dataset.from_arrays(
        images, labels, num_classes=len(classes) or None, name=name, split=split
    )


def _read_image(path: Path, size: int | None) -> np.ndarray:
    """One image, uint8 `[H, W, 1]` if it is grey and `[H, W, 3]` if in colour."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image = image.convert("L" if image.mode in ("1", "L", "LA", "I", "I;16") else "RGB")
            if size is not None:
                image = image.resize((size, size), Image.Resampling.LANCZOS)
            pixels = np.asarray(image, np.uint8)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on broken files
        raise ValueError(f"{path} is no readable image ({error}); repair or remove it") from error
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _stack(images: Sequence[np.ndarray], paths: Sequence[Path]) -> np.ndarray:
    first = images[0].shape
    for image, path in zip(images, paths, strict=True):
        if image.shape[:2] != first[:2]:
            raise ValueError(
                f"images differ in size: {paths[0]} is {first[1]}x{first[0]} and {path} is"
                f" {image.shape[1]}x{image.shape[0]}; give size= to scale them to one"
            )
        if image.shape != first:
            kind = {1: "grey", 3: "in colour"}
            raise ValueError(
                f"images are mixed: {paths[0]} is {kind[first[2]]} and {path} is"
                f" {kind[image.shape[2]]}; convert them to one kind"
            )
    return np.stack(images)


def load_npz(path: Path, name: str) -> Dataset:
    """Arrays `x` or `images`, with `y` or `labels` if there are any.

    Raises:
        ValueError: The file is broken, or holds no such array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no readable .npz file; write it anew") from error
    images = next((arrays[key] for key in ("x", "images") if key in arrays), None)
    labels = next((arrays[key] for key in ("y", "labels") if key in arrays), None)
    if images is None:
        raise ValueError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; save the examples in it as 'x' (or"
            " 'images'), and labels as 'y' (or 'labels')"
        )
    return Dataset.from_arrays(images, labels, name=name)


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
