"""Translation of one's own images: pairs in a folder, and two folders without any."""

import dataclasses
import warnings

import numpy as np
import pytest
from PIL import Image

from experiments import recipes
from experiments.commands.arguments import parse_experiment
from experiments.commands.train import TrainArguments
from experiments.runner.datasets import load_splits, with_absolute_paths

NUM = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pairs of an image and its negative, of several sizes."""
    root = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(0)
    for i in range(NUM):
        pixels = random.integers(0, 256, (20 + i, 30, 3)).astype(np.uint8)
        for side, x in (("a", pixels), ("b", 255 - pixels)):
            (root / side).mkdir(exist_ok=True)
            Image.fromarray(x).save(root / side / f"{i:02}.png")
    return root


def configured(*argv: str):
    """The configuration that `train` makes of its arguments."""
    return with_absolute_paths(parse_experiment(TrainArguments, "train", argv)[1].configuration)


def splits(config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_splits(config)


@pytest.mark.parametrize("way", ["to_photo", "to_map"])
def test_pix2pix_learns_from_a_folder_of_pairs(way: str, folder):
    options = ("--dataset", str(folder), "--model.size", "16", "--model.way", way)
    found = splits(configured("pix2pix", *options))
    assert [len(part) for part in found] == [16, 2, 2]
    for part in found:
        assert part.spec.shape == (16, 16, 3)
        target, source = (part.arrays[name].astype(int) for name in ("x", "condition"))
        assert np.abs(target + source - 255).max() <= 2  # negatives, of one part of an image
    first = splits(configured("pix2pix", *options, "--split", "all[:1]")).train.arrays
    side = "b" if way == "to_photo" else "a"
    pixels = np.asarray(Image.open(folder / side / "00.png"))  # 20 x 30: its middle is kept
    assert abs(first["x"].mean() - pixels[:, 5:25].mean()) < 2


def test_options_of_images_are_those_of_any_folder(folder):
    options = ("--dataset", str(folder), "--size", "8", "12", "--crop", "random", "--flip")
    train, validation, test = splits(configured("pix2pix", *options, "--color", "gray"))
    assert {part.spec.shape for part in (train, validation, test)} == {(8, 12, 1)}
    assert train.augment is not None and validation.augment is test.augment is None


def test_cyclegan_learns_from_two_folders_by_either_spelling(folder, monkeypatch):
    monkeypatch.chdir(folder)
    config = configured("cyclegan", "--domain-a", "a", "--domain-b=b", "--size", "16", "--flip")
    assert config.dataset == str(folder / "a") and config.model.other == str(folder / "b")
    same = ("--dataset", "a", "--model.other", "b", "--size", "16", "--flip")
    assert config == configured("cyclegan_facades", *same)
    found = splits(config)
    assert [len(part) for part in found] == [16, 2, 2]
    for part in found:
        x, y = part.arrays["x"], part.arrays["y"]
        assert part.spec.shape == x.shape[1:] == y.shape[1:] == (16, 16, 3)
        assert "label" not in part.arrays
    partners = np.abs(found.train.arrays["x"].astype(int) + found.train.arrays["y"] - 255)
    assert (partners.max((1, 2, 3)) > 2).mean() > 0.7  # but for chance
    assert found.train.augment is not None and found.test.augment is None
    with pytest.raises(ValueError, match="--crop random is for one set"):
        splits(dataclasses.replace(config, crop="random"))


def test_a_folder_of_pairs_serves_a_cyclegan_too(folder):
    found = splits(configured("cyclegan", "--dataset", str(folder), "--model.size", "8"))
    assert set(found.train.arrays) == {"x", "y"} and len(found.train) == 16


def test_an_experiment_s_short_name_is_none_of_another():
    for short, name in recipes.SHORT.items():
        assert short not in recipes.experiments() and recipes.find(short).name == name
