"""A folder of images: which files belong to which split and class.

    FOLDER/cat/1.png                    subfolders are classes
    FOLDER/train/cat/1.png              subfolders are splits, and theirs are classes
    FOLDER/1.png, FOLDER/train/1.png    no classes

Splits that are not there are split off `train`, always the same files: a tenth of every class for
`validation` and a tenth for `test`, which the hash of a file's name decides.
"""

from __future__ import annotations

import collections
import hashlib
import os
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from genjax_models.data.images import ENDINGS

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
"""Split -> the names, in any case, of the folder that holds it."""

_HELD_BACK = ("test", "validation")
_PARTS = 10
"""One part in so many is held back for each split that is not there."""


class Layout(NamedTuple):
    """Splits and classes of a folder of images.

    Attributes:
        splits: Split -> its files with their labels, sorted by path; labels are 0 where there are
            no classes.
        class_names: The classes in order; empty where there are none.
        notes: Warnings for the user about how the folder was read.
    """

    splits: Mapping[str, Sequence[tuple[Path, int]]]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def everything(self) -> Sequence[tuple[Path, int]]:
        """The files of all splits, sorted by path."""
        return sorted(file for part in self.splits.values() for file in part)


def read(folder: Path) -> Layout:
    """The splits and classes of a folder.

    The classes are those with images in `train`, sorted by name. Links to folders are
    followed, each folder once. Hidden files (`.name`) are left out.

    Raises:
        ValueError: There are no images; images lie beside subfolders of images; a folder might be
            a split or a class; two folders are of one split, or share images; or a split has
            classes where another has none, or one that `train` lacks.
    """
    files = _image_files(folder)
    if not files:
        raise ValueError(
            f"{folder} holds no images; put images ({', '.join(ENDINGS[:3])}, ...) in it, or in"
            " one subfolder a class"
        )
    named, notes = _split_folders(folder, files)
    if not named:
        groups, empty = {"train": _by_class(folder, files)}, _without_images(folder, files)
    else:
        parts = {split: _image_files(sub) for split, sub in named.items()}
        _check_apart(named)
        groups = {split: _by_class(named[split], part) for split, part in parts.items() if part}
        empty = [
            f"{sub.name}/{name}"
            for split, sub in named.items()
            for name in _without_images(sub, parts[split])
        ]
        if "train" not in groups:
            there = ", ".join(sub.name for sub in named.values())
            raise ValueError(
                f"{folder} has {there} but no images to train on; put those in {folder / 'train'}"
            )
    class_names = tuple(sorted(name for name in groups["train"] if name))
    _check_classes(groups, class_names, named)
    if empty:
        notes += (f"left out: {', '.join(empty[:5])}, which hold no images that are not elsewhere",)
    lacking = [split for split in _HELD_BACK if split not in groups]
    groups, held_back = _hold_back(groups, lacking, named.get("train", folder))
    splits = {
        split: sorted(
            (file, class_names.index(name) if name else 0)
            for name, part in groups[split].items()
            for file in part
        )
        for split in SPLITS
        if split in groups
    }
    return Layout(splits, class_names, (*notes, *held_back))


def tell(layout: Layout | Pairs, name: str) -> None:
    """Issues the notes as warnings, worded alike for every split, so that each is shown once."""
    for note in layout.notes:
        warnings.warn(f"{name}: {note}", stacklevel=2)


class Pairs(NamedTuple):
    """Splits of a folder of pairs of images.

    Attributes:
        splits: Split -> the two files of each pair, sorted by the first one's path; the second is
            None where both images lie side by side in the first.
        notes: Warnings for the user about how the folder was read.
    """

    splits: Mapping[str, Sequence[tuple[Path, Path | None]]]
    notes: tuple[str, ...]


def read_pairs(folder: Path) -> Pairs:
    """The pairs of a folder.

        FOLDER/a/1.png, FOLDER/b/1.png      pairs have one name
        FOLDER/train/a/1.png, ...           in splits
        FOLDER/a/train/1.png, ...           the same
        FOLDER/1.png, FOLDER/train/1.png    side by side in one file

    Splits that are not there are split off `train` as `read` does.

    Raises:
        ValueError: There are no images, or none to train on; or an image has no partner.
    """
    files = _image_files(folder)
    if not files:
        raise ValueError(
            f"{folder} holds no images; put pairs in it, in {folder / 'a'} and {folder / 'b'} under"
            " the same names, or side by side in one file"
        )
    named, notes = _split_folders(folder, files)
    sides = None if named else _sides(folder)
    if sides is None:
        roots = {s: _sides(sub) or (sub, None) for s, sub in (named or {"train": folder}).items()}
    else:
        (a, _), (b, _) = (_split_folders(side, _image_files(side)) for side in sides)
        if a.keys() != b.keys():
            raise ValueError(
                f"{sides[0]} has the splits {', '.join(a) or 'none'} and {sides[1]}"
                f" {', '.join(b) or 'none'}: give both the same"
            )
        roots = {split: (a[split], b[split]) for split in a} or {"train": sides}
    _check_apart(named)
    partners = {split: _partners(*root) for split, root in roots.items()}
    if not partners.get("train"):
        raise ValueError(f"{folder} has {', '.join(partners)} but no pairs to train on: give train")
    lacking = [split for split in _HELD_BACK if not partners.get(split)]
    groups = {split: {"": list(found)} for split, found in partners.items() if found}
    groups, held_back = _hold_back(groups, lacking, folder)
    if any(b is None for _, b in roots.values()):
        notes += ("each image is taken for a pair: its left half is a, its right half b",)
    partner = {a: b for found in partners.values() for a, b in found.items()}
    splits = {
        split: [(a, partner[a]) for a in sorted(a for part in groups[split].values() for a in part)]
        for split in SPLITS
        if split in groups
    }
    return Pairs(splits, (*notes, *held_back))


def _sides(folder: Path) -> tuple[Path, Path] | None:
    """The subfolders `a` and `b`, in any case; None where there is neither."""
    found = {name.lower(): folder / name for name in _subfolders(folder)}
    if ("a" in found) != ("b" in found):
        there, lacking = ("a", "b") if "a" in found else ("b", "a")
        raise ValueError(
            f"{folder} has {found[there].name} and no {lacking}: put the partners in it"
        )
    return (found["a"], found["b"]) if "a" in found else None


def _partners(a: Path, b: Path | None) -> dict[Path, Path | None]:
    """The images of one side, each with that of the other which has the same name but the ending.

    Raises:
        ValueError: An image has no partner, or two of a side have one name.
    """
    if b is None:
        return dict.fromkeys(_image_files(a))
    sides = []
    for side in (a, b):
        names: dict[Path, Path] = {}
        for file in _image_files(side):
            name = file.relative_to(side).with_suffix("")
            if name in names:
                raise ValueError(
                    f"{names[name]} and {file} differ in their endings alone: keep one"
                )
            names[name] = file
        sides.append(names)
    for names, others, other in ((*sides, b), (*sides[::-1], a)):
        alone = sorted(names.keys() - others.keys())
        if alone:
            raise ValueError(
                f"{names[alone[0]]} has no partner in {other}, as {len(alone):,} of {len(names):,}"
                " there: give each pair one name in a and b"
            )
    return {file: sides[1][name] for name, file in sides[0].items()}


def _image_files(root: Path) -> list[Path]:
    """The image files of a folder and its subfolders, sorted.

    A linked folder is followed unless it lies in the tree anyway or was reached by another link.
    """
    found: list[Path] = []
    links: list[Path] = []
    seen: set[tuple[int, int]] = set()

    def walk(top: Path) -> None:
        for where, folders, files in os.walk(top, onerror=_refuse):  # enters no linked folders
            here, status = Path(where), os.stat(where)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links.extend(here / name for name in folders if (here / name).is_symlink())
            found.extend(
                here / name
                for name in files
                if not name.startswith(".") and Path(name).suffix.lower() in ENDINGS
            )

    walk(root)
    while links:
        link = links.pop(0)
        if not root.resolve().is_relative_to(link.resolve()):  # one that leads out and in again
            walk(link)
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise ValueError(f"{error.filename} cannot be read: {error.strerror}") from error


def _subfolders(folder: Path) -> list[str]:
    return sorted(
        sub.name for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith(".")
    )


def _split_folders(folder: Path, files: Sequence[Path]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Split -> its folder; empty where the folder's subfolders are no splits."""
    of_name = {name: split for split, names in SPLITS.items() for name in names}
    named: dict[str, Path] = {}
    for name in _subfolders(folder):
        split = of_name.get(name.lower())
        if split in named:
            raise ValueError(
                f"{folder} has {named[split].name} and {name}, both for {split}: keep one"
            )
        if split is not None:
            named[split] = folder / name
    parts = {file.relative_to(folder).parts[0] for file in files}
    others = sorted(parts - {sub.name for sub in named.values()})
    if not any(sub.name in parts or sub.is_symlink() for sub in named.values()):
        return {}, ()
    if not others:
        return named, ()
    classes = [name for name in others if (folder / name).is_dir()]
    if len(named) == 1 and classes:
        (sub,) = named.values()
        raise ValueError(
            f"{folder} has {sub.name}, which is a split or a class, beside {', '.join(classes[:3])}"
            f": move the classes into {folder / 'train'}, or rename {sub.name}"
        )
    return named, (f"left out: images beside the splits ({', '.join(others[:3])})",)


def _by_class(folder: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Class -> its files; the class is "" where the images lie in the folder itself."""
    groups: dict[str, list[Path]] = collections.defaultdict(list)
    for file in files:
        inside = file.relative_to(folder).parts
        groups[inside[0] if len(inside) > 1 else ""].append(file)
    if "" in groups and len(groups) > 1:
        raise ValueError(
            f"{folder} holds images ({groups[''][0].name}, ...) and also subfolders of images"
            f" ({sorted(groups)[1]}, ...); move all images into subfolders, one a class, or all out"
            " of them"
        )
    return dict(groups)


def _without_images(folder: Path, files: Sequence[Path]) -> list[str]:
    """Lists the subfolders without images, if others are classes."""
    taken = {file.relative_to(folder).parts[0] for file in files}
    subfolders = _subfolders(folder)
    has_classes = bool(taken & set(subfolders))
    return [name for name in subfolders if has_classes and name not in taken]


def _check_apart(named: Mapping[str, Path]) -> None:
    """Refuses splits that are, or link to, one folder: figures would be of training images."""
    real = {split: sub.resolve() for split, sub in named.items()}
    for split, sub in real.items():
        for other, place in real.items():
            if other != split and place.is_relative_to(sub):
                raise ValueError(
                    f"{named[other]} is {named[split]} or lies in it ({place}): {split} and {other}"
                    " must have no image in common"
                )


def _check_classes(
    groups: Mapping[str, Mapping[str, object]],
    class_names: Sequence[str],
    named: Mapping[str, Path],
) -> None:
    for split, of_class in groups.items():
        strange = sorted(name for name in of_class if name and name not in class_names)
        if strange and not class_names:
            raise ValueError(
                f"{named[split]} has classes ({strange[0]}, ...) and {named['train']} has none: put"
                " the images of both into one subfolder a class, or of neither"
            )
        if strange:
            raise ValueError(
                f"{named[split]} has a class {strange[0]!r} that train lacks: it has"
                f" {', '.join(class_names[:20])}"
            )
        if class_names and "" in of_class:
            raise ValueError(
                f"{named[split]} has images in no class, and {named['train']} has classes"
                f" ({class_names[0]}, ...): put them into one subfolder a class"
            )


def _hold_back(
    groups: Mapping[str, Mapping[str, list[Path]]], lacking: Sequence[str], folder: Path
) -> tuple[dict[str, Mapping[str, list[Path]]], tuple[str, ...]]:
    """The groups with the splits that are lacking taken from `train`, class by class.

    A class of three images or more gives one at least to each, and keeps one at least itself; a
    smaller one gives none, since a class must be learned from something.
    """
    if not lacking:
        return dict(groups), ()
    taken: dict[str, dict[str, list[Path]]] = {split: {} for split in ("train", *lacking)}
    for name, files in groups["train"].items():
        rest = sorted(files, key=lambda file: _rank(file.relative_to(folder)))
        num = max(1, round(len(files) / _PARTS)) if len(files) >= 3 else 0
        for split in lacking:
            part, rest = rest[:num], rest[num:]
            if part:
                taken[split][name] = part
        taken["train"][name] = rest
    held = [split for split in lacking if taken[split]]
    sizes = {split: sum(map(len, taken[split].values())) for split in ("train", *held)}
    if not held:
        note = f"no {' and no '.join(lacking)} split, and too few images to split one off train"
    else:
        note = (
            f"no {' and no '.join(lacking)} split, so a tenth of train, of every class alike and"
            " chosen by the hash of the names, is held back for each:"
            f" {', '.join(f'{n:,} {s}' for s, n in sizes.items())}"
        )
    return {**groups, "train": taken["train"], **{s: taken[s] for s in held}}, (note,)


def _rank(name: Path) -> bytes:
    """Sort key of a file within its class: a hash of its name, the same on every machine."""
    words = unicodedata.normalize("NFC", name.as_posix())
    return hashlib.sha256(words.encode("utf-8", "surrogateescape")).digest()
