"""`load`: a data set by its name, or from a path on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genjax_models.data import (
    densities,
    files,
    markov,
    moving_digits,
    music,
    prepare,
    shapes2d,
    stacked_mnist,
    text,
)
from genjax_models.data.array_files import read_cache, write_cache
from genjax_models.data.augment import RandomFlip
from genjax_models.data.dataset import Dataset, parse_split, split_bounds
from genjax_models.data.images import Background, Color, Crop, Reading, Size
from genjax_models.data.prepare import RECIPES, SUBSTITUTES, Recipe
from genjax_models.data.tokenizers import Fit

_ARRAYS_VERSION = 2
"""Part of the cached arrays' path: another layout of theirs gets another number."""

_IMAGES_VERSION = 1
"""The same of scaled images: another way to scale them gets another number."""

_MADE = {
    **densities.LOADERS,
    "markov": markov.dataset,
    "progressions": music.progressions_dataset,
    "shapes2d": shapes2d.dataset,
}
_MADE_OF = {
    "moving_digits": ("digits", moving_digits.dataset),
    "stacked_mnist": ("mnist", stacked_mnist.dataset),
}
"""Set -> the prepared set that it is made of, and how: `(dataset, split, in_memory=)`."""


def names() -> tuple[str, ...]:
    """Every data set that `load` knows by name."""
    return (*RECIPES, *_MADE, *_MADE_OF)


def split_names(name: str | os.PathLike[str]) -> tuple[str, ...]:
    """The splits of a named set, or of a path (see `load`)."""
    return tuple(_splits(name))


def training_split(name: str | os.PathLike[str]) -> str:
    """All of `train` that is not also `validation`: some sets have none of their own."""
    shared = re.fullmatch(r"train\[(.+):\]", _splits(name).get("validation", ""))
    return f"train[:{shared[1]}]" if shared else "train"


def _splits(name: str | os.PathLike[str]) -> Mapping[str, str]:
    """Split -> what it is of those that can be read."""
    if str(name) in RECIPES:
        return RECIPES[str(name)].splits
    if str(name) in (*_MADE, *_MADE_OF):
        return {split: split for split in ("train", "validation", "test")}
    return files.splits_of(Path(name))


def load(
    name: str | os.PathLike[str],
    split: str = "train",
    data_dir: str | os.PathLike[str] | None = None,
    *,
    in_memory: bool | None = None,
    size: Size | None = None,
    crop: Crop = "center",
    flip: bool = False,
    color: Color | None = None,
    background: Background = 255,
    window: int | None = None,
    tokenizer: Fit | None = None,
) -> Dataset:
    """A data set by its name, or from a path.

    =================  ==========================================================================
    digits             scikit-learn's 8x8 digits, 17 levels; 1000 / 350 / 447 in file order
    mnist              28x28; 60000 / (the last 10000 of train) / 10000
    omniglot           28x28, bright ink, 1623 characters (964 in train, the others in test)
    usps               16x16, rounded to 256 levels; 7291 / (the last tenth of train) / 2007
    cifar10            32x32x3; 50000 / (the last tenth of train) / 10000
    cifar10_jpg        the same, lossy: its bits/dim and FID are not CIFAR-10's
    facades            256x256x3 photos, `condition` = map of parts; 400 / 100 / 106
    spoken_digit       waveforms [8192, 1] at 8 kHz, 65536 levels (32768 = silence), `label`,
                       `speaker`; 2000 / 250 / 250
    tiny_shakespeare   65 characters; 90 / 5 / 5 % of the text
    markov             a text source of known entropy rate (`data.markov`)
    ring, grid, ...    points of 2-D densities that are known (`data.densities`)
    shapes2d           32x32 sprites with known `factors` (`data.shapes2d`)
    stacked_mnist      28x28x3, three digits of mnist as channels, `label` = which of 1000 modes
    moving_digits      films of 8 frames of 16x16 in which a digit bounces (`data.moving_digits`)
    progressions       four-part music of known entropy rate (`data.music`)
    =================  ==========================================================================

    Where a set has no validation split of its own, `validation` is the end of `train`: whoever
    chooses by it trains on the rest, `train[:50000]` of mnist or `train[:90%]` of the others, which
    `training_split` says.

    A set is prepared once, by TFDS in `data_dir`, from the files in the folder that the environment
    variable GENJAX_DATA names (one folder a set) or else from the network; it is also kept decoded,
    so that it then loads in an instant. `cifar10` falls back, with a warning, on `cifar10_jpg`
    where only that one's files are at hand; the data set's `spec.name` says which it is.

    A path is a folder of images (subfolders are classes), an `.npz` file (`x` or `images`, and
    `label`, `labels` or `y`, and `class_names`), a text file, or a JSON file of chorales
    (`data.music`), which has splits of its own. A folder's subfolders `train`, `validation` and
    `test` (or `training`, `val`, `valid`, `dev`, `testing`, in any case) are its splits; those that
    are lacking are split off `train`, a tenth of every class each, and a warning says so
    (`data.folders`). An `.npz` file has the split `train` alone, and the validation split of a text
    file is its last tenth. Images are read as a viewer shows them (`data.images`).

    A text is one long array of tokens, and its examples are windows of it. Slices of its splits
    count characters, so that two slices have none in common. Its tokenizer is made from the
    training text, `training_split(name)`, whichever split is asked for.

    Args:
        name: One of `names()`, or a path.
        split: `train`, `validation` or `test`, or a slice such as `train[:1000]`, `train[90%:]`;
            of a folder also `all`.
        data_dir: Folder of prepared sets; by default TFDS's own, `$TFDS_DATA_DIR` or
            `~/tensorflow_datasets`.
        in_memory: False reads examples when they are asked for, for a set too large for memory. By
            default everything is in memory but a folder of images that would take more than a
            quarter of it, which a warning says; True has that, too. Images that are read one by one
            and brought to a size are kept so, in `data_dir`: each is decoded and scaled once. A
            file and a text are in memory always.
        size: Pixels that the images of a folder are brought to, height and width, or one number for
            a square: each is scaled, up or down and antialiased, until its shorter side fits, and
            what is longer the other way is cropped. So a square of a photo is a part of it, and no
            longer, as in earlier versions, the whole of it squashed. Without it all files must be
            of one size.
        crop: `center`, or `random` for a random crop in each training step; outside of training,
            and in splits other than `train` and `all`, always the center.
        flip: If True, training mirrors images, left and right, with probability 1/2. As the random
            crop, this depends on the run's seed, the step and the example alone. Also for a
            set of images by name or in a file.
        color: `gray` or `rgb`, which the images of a folder are brought to; by default gray where
            all of them are.
        background: Colour behind the transparent pixels of images in a folder: a grey level
            0 .. 255, or red, green and blue.
        window: Tokens of one example of a text; 256 by default, fewer where a file is short. Of
            chorales, steps; 32 by default.
        tokenizer: Function that makes a text's tokenizer (`data.tokenizers`: `characters`, the
            default, `utf8`, `bpe(size)`).

    Returns:
        The split.

    Raises:
        ValueError: An unknown name or split, or data that is not what it should be.
        FileNotFoundError: A path that is not there, or original files that are neither at hand nor
            to be had.
    """
    root = prepare.default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    key = str(name)
    reading = Reading(size, crop, color, background)
    is_folder = key not in names() and Path(name).expanduser().is_dir()
    if not is_folder and _is_there(name) and (size is not None or color is not None):
        option = "color" if size is None else "size"
        raise ValueError(
            f"{option}= is for a folder of images, and {key} is none: leave it out, or change the"
            " set by gm.data.resized"
        )
    if (pieces := _chorales(name)) is not None and tokenizer is None:
        return pieces.dataset(split, window)
    texts = _texts(name, root, tokenizer)
    if texts is not None:
        return texts.dataset(split, window, tokenizer)
    if key not in names() and not files.is_path(name):
        raise ValueError(_unknown(key))
    if _is_there(name) and (tokenizer is not None or (window is not None and key != "markov")):
        option = "window" if tokenizer is None else "tokenizer"
        raise ValueError(
            f"{key} is not a text: only a text takes a {option}; give the path of a text file, a"
            f" text's name such as tiny_shakespeare, or no {option}"
        )
    if key in RECIPES:
        return _flipped(
            _load_prepared(_at_hand(RECIPES[key], root), split, root, in_memory is not False), flip
        )
    known = (*split_names(name), *((files.EVERYTHING,) if is_folder else ()))
    base, start, stop = parse_split(split, known, key)
    if key in _MADE:
        dataset = _MADE[key](split=base)
    elif key in _MADE_OF:
        dataset = _made_of(key, base, root, in_memory is not False)
    else:
        place = files.Place(in_memory, root / "genjax_models" / f"images{_IMAGES_VERSION}")
        dataset = files.load(Path(name).expanduser(), base, reading, place)
    dataset = dataset if window is None else dataset.with_window(window)
    return _flipped(_part(dataset, start, stop, split), flip)


def _flipped(data: Dataset, flip: bool) -> Dataset:
    """The data set, or where it is trained on, the same one that training mirrors."""
    if flip and len(data.spec.shape) != 3:
        raise ValueError(
            f"{data.spec.name} has examples of shape {data.spec.shape}, and flip= is for images"
            " [H, W, C]: leave it out"
        )
    is_trained_on = data.split.partition("[")[0] in files.TRAINED_ON
    return data.augmented(RandomFlip()) if flip and is_trained_on else data


def _chorales(name: str | os.PathLike[str]) -> music.Chorales | None:
    """The pieces of a name; None where it is no music."""
    if str(name) == "progressions":
        return music.usual_progressions().chorales()
    path = Path(name).expanduser()
    return (
        music.read_chorales(path)
        if str(name) not in names() and music.is_chorales_file(path)
        else None
    )


def _is_there(name: str | os.PathLike[str]) -> bool:
    return str(name) in names() or Path(name).expanduser().exists()


def _texts(name: str | os.PathLike[str], root: Path, tokenizer: Fit | None) -> text.Texts | None:
    """The texts of a name; None where it is not a text, or one that is made as tokens."""
    key = str(name)
    if key in RECIPES:
        recipe = RECIPES[key]
        return _prepared_texts(recipe, root) if recipe.is_text else None
    if key in _MADE:
        made = key == "markov" and tokenizer is not None
        return text.of_dataset(key, markov.dataset) if made else None
    return files.texts(Path(name).expanduser()) if files.is_path(name) else None


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=3)
    hint = f"did you mean {' or '.join(near)}? Known" if near else "known"
    return (
        f"there is no data set {name!r}; {hint}: {', '.join(names())}; or give the path of a"
        " folder of images, an .npz file or a text file"
    )


def _at_hand(recipe: Recipe, root: Path) -> Recipe:
    """The set itself, or its stand-in where only that one can be had."""
    name = recipe.spec.name
    if name not in SUBSTITUTES or _arrays_home(recipe, root).exists():
        return recipe
    other = RECIPES[SUBSTITUTES[name]]
    if not prepare.available(recipe, root) and prepare.available(other, root):
        warnings.warn(
            f"{name} is neither prepared nor to be had; {other.spec.name} stands in for it, which"
            " is lossy: figures on it are not comparable",
            stacklevel=3,
        )
        return other
    return recipe


def _load_prepared(recipe: Recipe, split: str, root: Path, in_memory: bool) -> Dataset:
    name = recipe.spec.name
    base, start, stop = parse_split(split, tuple(recipe.splits), name)
    # A split may itself be a slice of a prepared one.
    whole, first, last = parse_split(recipe.splits[base], ("train", "validation", "test"), name)
    if in_memory:
        dataset = Dataset(recipe.spec, split, _arrays(recipe, whole, root))
    else:
        dataset = Dataset(recipe.spec, split, source=_Examples(recipe, whole, root))
    return _part(_part(dataset, first, last, split), start, stop, split)


def _made_of(name: str, split: str, root: Path, in_memory: bool) -> Dataset:
    """Makes a set from another one, with disjoint splits."""
    other, make = _MADE_OF[name]
    part = training_split(other) if split == "train" else split
    return make(_load_prepared(RECIPES[other], part, root, True), split, in_memory=in_memory)


def _part(dataset: Dataset, start: str, stop: str, split: str) -> Dataset:
    """The slice of a data set that two ends stand for, under the split's name."""
    if dataset.window is not None:  # a slice of a text is one of its tokens
        assert dataset.arrays is not None
        tokens = dataset.arrays["x"]
        part = tokens[split_bounds(start, stop, len(tokens))]
        return dataclasses.replace(dataset, arrays={"x": part}, split=split)
    part = split_bounds(start, stop, len(dataset))
    if part.start >= part.stop:
        raise ValueError(
            f"{dataset.spec.name}[{split}] is empty: the slice holds none of the {len(dataset)}"
            " examples; give one that does"
        )
    return dataclasses.replace(dataset[part], split=split)


def _prepared_texts(recipe: Recipe, root: Path) -> text.Texts:
    def read(part: str) -> str:
        return _arrays(recipe, part, root)["x"][0].tobytes().decode("utf-32-le")

    return text.Texts(recipe.spec.name, recipe.splits, read)


def _arrays_home(recipe: Recipe, root: Path) -> Path:
    folder = f"{recipe.spec.name}-{recipe.version}-arrays{_ARRAYS_VERSION}"
    return root / "genjax_models" / folder


def _arrays(recipe: Recipe, split: str, root: Path) -> Mapping[str, np.ndarray]:
    """A whole split of the prepared set as arrays, decoded now or read from the cache."""
    folder = _arrays_home(recipe, root) / split
    arrays = read_cache(folder)
    if arrays is None:
        examples = _Examples(recipe, split, root)
        records = examples.__getitems__(range(len(examples)))
        arrays = {k: np.stack([r[k] for r in records]) for k in records[0]}
        with contextlib.suppress(OSError):  # without room for the cache, the arrays still serve
            write_cache(folder, arrays)
    return arrays


class _Examples:
    """A TFDS data source with its records converted to examples."""

    def __init__(self, recipe: Recipe, split: str, root: Path) -> None:
        self._source = prepare.prepared(recipe, root).as_data_source(split=split)
        self._example = recipe.example

    def __len__(self) -> int:
        return len(self._source)

    def __getitems__(self, record_keys: Sequence[int], /) -> Sequence[Mapping[str, Any]]:
        return [self._example(r) for r in self._source.__getitems__(list(record_keys))]
