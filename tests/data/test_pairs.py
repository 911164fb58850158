"""Pairs of images in folders: partners by name or side by side, in splits, changed alike."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_models.data import Dataset, folders, load_pairs, swapped

RANDOM = np.random.default_rng(0)
NUM = 20


def picture(size=(6, 8), channels=3) -> np.ndarray:
    shape = size if channels == 1 else (*size, channels)
    return RANDOM.integers(0, 256, shape).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def load(path: Path, split: str = "all", **options) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_pairs(path, split, **options)


LAYOUTS = {
    "a and b": "{side}/{i:02}",
    "splits above": "{split}/{side}/{i:02}",
    "splits below": "{side}/{split}/{i:02}",
    "capitals, deeper": "{SIDE}/x/{i:02}",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_partners_have_one_name(layout: str, tmp_path: Path):
    for i in range(NUM):
        a = picture()
        split = ("train", "val", "test")[i % 3]
        for side, pixels, ending in (("a", a, "png"), ("b", 255 - a, "bmp")):
            name = LAYOUTS[layout].format(side=side, SIDE=side.upper(), i=i, split=split)
            save(tmp_path / f"{name}.{ending}", pixels)
    parts = [load(tmp_path, split) for split in ("train", "validation", "test", "all")]
    for part in parts:
        np.testing.assert_array_equal(part.arrays["condition"], 255 - part.arrays["x"])
        assert part.spec.shape == (6, 8, 3) and part.spec.num_classes is None
    rows = [{x.tobytes() for x in part.arrays["x"]} for part in parts]
    assert set.union(*rows[:3]) == rows[3] and sum(map(len, rows[:3])) == len(rows[3]) == NUM
    assert [len(part) for part in parts[:3]] == ([7, 7, 6] if "splits" in layout else [16, 2, 2])


def test_two_images_side_by_side_are_a_pair(tmp_path: Path):
    for i in range(3):
        a = picture()
        save(tmp_path / f"{i}.png", np.concatenate([a, 255 - a], 1))
    with pytest.warns(UserWarning, match="its left half is a, its right half b"):
        data = load_pairs(tmp_path, "train")
    assert data.spec.shape == (6, 8, 3)
    np.testing.assert_array_equal(data.arrays["condition"], 255 - data.arrays["x"])
    assert len(load(tmp_path, "all[:2]")) == 2


def test_both_images_are_scaled_cropped_and_mirrored_alike(tmp_path: Path):
    for i in range(6):
        a = picture((12 + i, 20))
        save(tmp_path / "a" / f"{i}.png", a)
        save(tmp_path / "b" / f"{i}.png", a)
    for crop in ("center", "random"):
        data = load(tmp_path, size=(9, 7), crop=crop, flip=True)
        seen = set()
        for step in range(8):
            batch = data.training_rows(np.arange(6), 0, step)
            assert batch["x"].shape == (6, 9, 7, 3)
            np.testing.assert_array_equal(batch["x"], batch["condition"])
            seen.add(batch["x"].tobytes())
        assert len(seen) > 4
        batch = data.rows(np.arange(6))
        np.testing.assert_array_equal(batch["x"], batch["condition"])
    assert load(tmp_path, "validation", size=9, crop="random", flip=True).augment is None


def test_one_colour_and_a_way_round(tmp_path: Path):
    save(tmp_path / "a" / "0.png", picture(channels=1))
    save(tmp_path / "b" / "0.png", picture(channels=1))
    assert load(tmp_path).spec.shape == (6, 8, 1)
    assert load(tmp_path, color="rgb").spec.shape == (6, 8, 3)
    save(tmp_path / "b" / "0.png", picture())
    data = load(tmp_path)
    assert data.arrays["condition"].shape == data.arrays["x"].shape == (1, 6, 8, 3)
    turned = swapped(data, "condition")
    np.testing.assert_array_equal(turned.arrays["x"], data.arrays["condition"])
    stream = load(tmp_path, size=4, crop="random")
    there, back = (d.training_rows([0], 0, 1) for d in (stream, swapped(stream, "condition")))
    np.testing.assert_array_equal(there["x"], back["condition"])
    np.testing.assert_array_equal(there["condition"], back["x"])
    with pytest.raises(ValueError, match="has x, condition and no 'y'"):
        swapped(stream, "y")


def files(*paths, size=(6, 8)):
    def make(root: Path):
        for path in paths:
            save(root / path, picture(size))

    return make


def others(root: Path):
    files("a/0.png", "b/0.png")(root)
    files("a/1.png", "b/1.png", size=(4, 4))(root)


def two_sizes(root: Path):
    save(root / "a" / "0.png", picture((6, 8)))
    save(root / "b" / "0.png", picture((6, 9)))


REFUSED = {
    "nothing": (lambda root: None, "holds no images; put pairs in it"),
    "no b": (files("a/0.png"), "has a and no b"),
    "no partner in b": (files("a/0.png", "a/1.png", "b/0.png"), "1.png has no partner in .*b"),
    "no partner in a": (files("a/0.png", "b/0.png", "b/1.png"), "1.png has no partner in .*a, as"),
    "two of a name": (files("a/0.png", "a/0.bmp", "b/0.png"), "differ in their endings alone"),
    "other splits": (files("a/train/0.png", "b/0.png"), "has the splits train and .*b none"),
    "no train": (files("val/a/0.png", "val/b/0.png"), "no pairs to train on"),
    "two sizes": (two_sizes, r"0.png is 8x6 and .*0.png 9x6: give both images one size"),
    "sizes that differ": (others, "images differ in size"),
    "an odd width": (files("0.png", size=(4, 5)), "is 5x4: two images side by side have an even"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_are_no_pairs_is_refused_in_one_line(case: str, tmp_path: Path):
    make, message = REFUSED[case]
    make(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load(tmp_path / "nowhere")


def test_what_is_held_back_depends_on_names_alone(tmp_path: Path):
    for i in range(NUM):
        files(f"a/{i}.png", f"b/{i}.png")(tmp_path)
    before = folders.read_pairs(tmp_path).splits
    files("a/0.png", "b/0.png")(tmp_path)  # with other pixels
    assert folders.read_pairs(tmp_path).splits == before
