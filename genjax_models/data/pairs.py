"""Pairs of images of one's own, to translate one into the other."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from genjax_models.core.types import DataSpec
from genjax_models.data import folders, images
from genjax_models.data.augment import RandomCrop, RandomFlip
from genjax_models.data.dataset import Dataset, parse_split, split_bounds
from genjax_models.data.files import EVERYTHING, TRAINED_ON
from genjax_models.data.records import Kept


def load_pairs(
    folder: str | os.PathLike[str],
    split: str = "train",
    *,
    size: images.Size | None = None,
    crop: images.Crop = "center",
    flip: bool = False,
    color: images.Color | None = None,
    background: images.Background = 255,
) -> Dataset:
    """Pairs of images in a folder: `x` is to be made, of `condition`.

    `FOLDER/a/1.png` is the condition and `FOLDER/b/1.png` the `x` that belongs to it, whatever
    their endings; or one file holds both side by side, the condition on the left. Splits are as of
    any folder of images, below `a` and `b` or above them. `data.swapped(data, "condition")` turns
    the pairs round. Both images of a pair are cropped and mirrored alike.

    Args:
        folder: The folder.
        split: `train`, `validation`, `test` or `all`, or a slice such as `train[:100]`.
        size: Pixels that both images are scaled and cropped to, as in `data.load`.
        crop: Crop: `center`, or in training `random`.
        flip: If True, training mirrors pairs with probability 1/2.
        color: `gray` or `rgb`; by default gray where all images are.
        background: Colour behind transparent pixels.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: An image has no partner, or one of another size.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}: give one of pairs of images")
    reading, name = images.Reading(size, crop, color, background), path.name or str(path)
    layout = folders.read_pairs(path)
    every = sorted(pair for part in layout.splits.values() for pair in part)
    base, start, stop = parse_split(split, (*layout.splits, EVERYTHING), name)
    if base != EVERYTHING:  # which is of one kind, whatever is held back
        folders.tell(layout, name)
    pairs = every if base == EVERYTHING else layout.splits[base]
    pairs = pairs[split_bounds(start, stop, len(pairs))]
    if not pairs:
        raise ValueError(f"{name}[{split}] is empty: give a slice that holds a pair")
    if base not in TRAINED_ON:  # chance is for what is learned from
        reading = dataclasses.replace(reading, crop="center")
    if color is None:
        of_all = (file for pair in every for file in pair if file is not None)
        is_grey = all(images.is_grey(file, background) for file in of_all)
        reading = dataclasses.replace(reading, color="gray" if is_grey else "rgb")
    examples, notes = [], []
    for pair in pairs:
        a, b = (reading.fit(side) for side in _sides(*pair, background))
        examples.append({"x": b.pixels, "condition": a.pixels})
        notes.extend((note, pair[0]) for note in (*a.notes, *b.notes))
    images.tell(notes, name)
    sizes = [example["x"].shape[:2] for example in examples]
    if reading.shape is None:
        images.check_sizes(sizes, [a for a, _ in pairs])
    shape = (*(reading.shape or sizes[0]), 1 if reading.color == "gray" else 3)
    spec = DataSpec(shape, name=name)
    if reading.crop == "random":
        data = Dataset(spec, split, source=Kept(examples)).augmented(RandomCrop(*shape[:2]))
    else:
        data = Dataset(spec, split, {k: np.stack([e[k] for e in examples]) for k in examples[0]})
    return data.augmented(RandomFlip()) if flip and base in TRAINED_ON else data


def _sides(
    a: Path, b: Path | None, background: images.Background
) -> tuple[images.Picture, images.Picture]:
    """The two images of a pair, of one size."""
    first = images.read(a, background)
    high, wide = first.pixels.shape[:2]
    if b is None:
        if wide % 2:
            raise ValueError(
                f"{a} is {wide}x{high}: two images side by side have an even width; or put pairs"
                " into two folders, a and b"
            )
        left, right = np.split(first.pixels, 2, axis=1)
        return images.Picture(left, first.notes), images.Picture(right)
    second = images.read(b, background)
    if second.pixels.shape[:2] != (high, wide):
        other = "x".join(map(str, second.pixels.shape[1::-1]))
        raise ValueError(f"{a} is {wide}x{high} and {b} {other}: give both images one size")
    return first, second
