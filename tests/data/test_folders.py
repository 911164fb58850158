"""Folders of images: which file is of which split and class, by any usual name, each once."""

import os
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_models import data
from genjax_models.data import folders

SPLITS = ("train", "validation", "test")


def draw(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 2), value).save(path)


def names(root: Path) -> dict[str, list[str]]:
    """Split -> its files, as written below the folder."""
    splits = folders.read(root).splits
    return {s: [f.relative_to(root).as_posix() for f, _ in part] for s, part in splits.items()}


def load(path: Path, split: str = "train"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return data.load(path, split)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Training", "valid", "Testing"),
        ("TRAIN", "Validation", "TEST"),
        ("training", "dev", "testing"),
    ],
)
def test_splits_go_by_any_usual_name(train, validation, test, tmp_path: Path):
    written = dict(zip(SPLITS, (train, validation, test), strict=True))
    for value, folder in enumerate(written.values()):
        for label in ("cat", "dog"):
            for i in range(4):
                draw(tmp_path / folder / label / f"{i}.png", value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is to be said of it
        assert data.split_names(tmp_path) == SPLITS
        for value, split in enumerate(SPLITS):
            dataset = data.load(tmp_path, split)
            assert (dataset.arrays["x"] == value).all() and len(dataset) == 8
            assert dataset.spec.class_names == ("cat", "dog")


def test_a_folder_without_splits_is_divided_class_by_class(tmp_path: Path):
    sizes = {"ant": 100, "bee": 47, "cow": 5, "dog": 3, "elk": 2, "fox": 1}
    for label, size in sizes.items():
        for i in range(size):
            draw(tmp_path / label / f"{i}.png")
    found = names(tmp_path)
    everything = sorted(name for part in found.values() for name in part)
    assert everything == sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png"))
    count = {
        split: [sum(name.startswith(label) for name in part) for label in sizes]
        for split, part in found.items()
    }
    assert count == {
        "train": [80, 37, 3, 1, 2, 1],
        "validation": [10, 5, 1, 1, 0, 0],
        "test": [10, 5, 1, 1, 0, 0],
    }
    with pytest.warns(UserWarning, match="no test and no validation split, so a tenth") as told:
        data.load(tmp_path)
    assert len(told) == 1 and "124 train, 17 test, 17 validation" in str(told[0].message)


def test_all_of_a_folder_is_there_for_who_asks(tmp_path: Path):
    for i in range(30):
        draw(tmp_path / f"{i:02d}.png", i)
    parts = [load(tmp_path, split).arrays["x"] for split in SPLITS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is held back
        whole = data.load(tmp_path, "all").arrays["x"]
        np.testing.assert_array_equal(whole[:, 0, 0, 0], range(30))
        assert len(data.load(tmp_path, "all[:10%]")) == 3
    assert sorted(np.concatenate(parts)[:, 0, 0, 0]) == list(range(30))
    with pytest.raises(ValueError, match="no split 'll'; it has train, validation, test, all"):
        load(tmp_path, "ll")


def test_the_division_depends_on_names_alone(tmp_path: Path):
    for root in ("one", "two"):
        order = range(30) if root == "one" else reversed(range(30))
        for i in order:
            draw(tmp_path / root / "cat" / f"{i}.png", i if root == "one" else 0)
    assert names(tmp_path / "one") == names(tmp_path / "two")
    before = set(names(tmp_path / "one")["train"])
    draw(tmp_path / "one" / "zoo" / "0.png")  # another class moves nothing
    assert set(names(tmp_path / "one")["train"]) == before | {"zoo/0.png"}


@pytest.mark.parametrize("there", [("train",), ("train", "test"), ("train", "val")])
def test_splits_that_are_lacking_are_split_off_train(there, tmp_path: Path):
    for split in there:
        for i in range(20):
            draw(tmp_path / split / "cat" / f"{i}.png")
    found = names(tmp_path)
    assert tuple(found) == SPLITS
    lacking = 3 - len(there)
    assert len(found["train"]) == 20 - 2 * lacking
    for split, folder in (("validation", "val"), ("test", "test")):
        own = f"{folder if folder in there else 'train'}/"
        assert all(name.startswith(own) for name in found[split])
        assert len(found[split]) == (20 if folder in there else 2)
    assert len({name for part in found.values() for name in part}) == 20 * len(there)


def test_linked_folders_are_followed_once(tmp_path: Path):
    for label in ("cat", "dog"):
        for i in range(2):
            draw(tmp_path / "store" / label / f"{i}.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "cat").symlink_to(tmp_path / "store" / "cat")
    (root / "dog").symlink_to(tmp_path / "store" / "dog")
    (root / "again").symlink_to(root / "dog")  # reaches the same files, and comes first
    (root / "dog" / "up").symlink_to(root)
    (root / "dog" / "out").symlink_to(tmp_path)
    layout = folders.read(root)
    real = [file.resolve() for part in layout.splits.values() for file, _ in part]
    assert len(real) == len(set(real)) == 4


def test_a_real_folder_comes_before_a_link_to_it(tmp_path: Path):
    draw(tmp_path / "dog" / "0.png")
    (tmp_path / "a link").symlink_to(tmp_path / "dog")
    layout = folders.read(tmp_path)
    assert layout.class_names == ("dog",) and "left out: a link" in layout.notes[0]


def test_empty_classes_are_left_out_and_said(tmp_path: Path):
    draw(tmp_path / "cat" / "0.png")
    draw(tmp_path / "dog" / "0.png")
    (tmp_path / "bird").mkdir()
    with pytest.warns(UserWarning, match="left out: bird, which hold no images"):
        dataset = data.load(tmp_path)
    assert dataset.spec.class_names == ("cat", "dog") and dataset.spec.num_classes == 2
    np.testing.assert_array_equal(dataset.arrays["label"], [0, 1])


def files(*paths):
    def make(root: Path):
        for path in paths:
            draw(root / path)

    return make


def linked(root: Path):
    draw(root / "train" / "0.png")
    (root / "test").symlink_to(root / "train")


def dangling(root: Path):
    (root / "0.png").symlink_to(root / "nowhere")


def pipe(root: Path):
    os.mkfifo(root / "0.png")


REFUSED = {
    "two of one split": (files("train/a.png", "Training/a.png"), "both for train"),
    "a split or a class": (files("test/a.png", "cat/a.png"), "test, which is a split or a class"),
    "no train": (files("val/a.png", "test/a.png"), "no images to train on"),
    "test is train": (linked, "must have no image in common"),
    "classes in test alone": (files("train/a.png", "test/cat/a.png"), "has classes .cat"),
    "classes in train alone": (files("train/cat/a.png", "test/a.png"), "has images in no class"),
    "another class": (files("train/cat/a.png", "test/dog/a.png"), "a class 'dog' that train"),
    "images beside classes": (files("a.png", "cat/a.png"), "also subfolders of images"),
    "a link to nothing": (dangling, "0.png is not a readable image: No such file"),
    "a pipe": (pipe, "0.png is not a readable image: it is not a regular file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_cannot_be_right_are_refused_in_one_line(case: str, tmp_path: Path):
    make, message = REFUSED[case]
    make(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", ["", ".npz", ".txt", ".json"])
def test_pipes_and_sockets_are_no_data(ending: str, tmp_path: Path):
    os.mkfifo(tmp_path / f"pipe{ending}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / f"socket{ending}"))
        for name in ("pipe", "socket"):
            with pytest.raises(ValueError, match="but a device, a pipe or a socket") as error:
                data.load(tmp_path / f"{name}{ending}")
            assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="but a device"):
        data.load("/dev/zero")


def test_more_beside_the_splits_is_left_out_and_said(tmp_path: Path):
    files("train/a.png", "test/a.png", "sample.png", "unlabelled/b.png")(tmp_path)
    with pytest.warns(UserWarning, match=r"left out: images beside the splits \(sample.png, unl"):
        assert len(data.load(tmp_path)) == 1
