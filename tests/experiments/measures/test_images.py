"""Figures of images in folders of one's own: what is read of them, in memory or not."""

import warnings

import numpy as np
import pytest
from PIL import Image

import genjax_models as gm
from experiments.measures import images
from experiments.runner.config import Config
from genjax_models import metrics


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Photos of two classes and of several sizes."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "kept"))
    for i in range(40):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (10 + i, 12), i).save(path)
    return tmp_path / "photos"


def test_of_a_stream_some_are_read_from_all_over_it(photos, monkeypatch):
    monkeypatch.setattr(images, "NUM_AT_HAND", 9)
    whole, stream = (gm.load(photos, "all", size=4, in_memory=m) for m in (True, False))
    np.testing.assert_array_equal(images.at_hand(whole)["x"], whole.arrays["x"])
    some = images.at_hand(stream)
    assert set(some) == {"x", "label"} and len(some["x"]) == 9
    seen = whole.arrays["x"][:, 0, 0, 0].tolist()
    places = [seen.index(value) for value in some["x"][:, 0, 0, 0]]
    assert places[0] == 0 and places[-1] == 39 and set(np.diff(places)) <= {4, 5}


@pytest.mark.parametrize("fits", [True, False])
def test_a_classifier_reads_photos_as_the_run_sees_them(fits: bool, photos, monkeypatch):
    given = []
    monkeypatch.setattr(metrics, "load_classifier", lambda *data, **options: given.append(data))
    memory = 2**40 if fits else 0
    monkeypatch.setattr("genjax_models.data.array_files.total_memory", lambda: memory)
    options = {"size": 6, "crop": "random", "flip": True, "color": "rgb"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images.classifier(Config(None, dataset=str(photos), **options))
        images.classifier(Config(None, dataset="digits"))
    (train, test), named = given
    for part in (train, test):
        assert part.in_memory and part.augment is None and part.spec.shape == (6, 6, 3)
    assert (len(train), len(test)) == (32, 4) and named == ("digits",)
