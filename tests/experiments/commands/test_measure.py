"""`measure`: the figures of samples beside real examples."""

import json
import types

import numpy as np
import pytest
from PIL import Image

import genjax_models as gm
from genjax_models import metrics


class Pixels:
    """Reads images by their pixels, and counts how many it has read."""

    name, fingerprint = "pixels", "0"

    def __init__(self, spec):
        self.model, self.num = types.SimpleNamespace(spec=spec), 0

    def features(self, x):
        self.num += len(x)
        return np.asarray(x, np.float32).reshape(len(x), -1)[:, ::8]

    def read(self, x):
        return self.features(x), 100.0 * np.eye(4)[np.arange(len(x)) % 4]


@pytest.fixture
def pixels(monkeypatch):
    made = []

    def load(data):
        data = gm.load(data, "test") if isinstance(data, str) else data
        made.append(Pixels(data.spec))
        return made[-1]

    monkeypatch.setattr(metrics, "load_classifier", load)
    return made


def digits(num=60):
    return gm.load("digits", "test").arrays["x"][:num]


def test_it_is_what_compare_samples_gives(run, pixels, tmp_path):
    np.savez(tmp_path / "a.npz", x=digits(), num_levels=17)
    found = json.loads(run("measure", "a.npz", "digits", "--json").out)
    extractor, all_of_them = pixels[0], gm.load("digits", "test").arrays["x"]
    known = metrics.compare_samples(extractor, digits(), all_of_them)
    assert found["left_out"] == {} and set(found["figures"]) == set(known)
    for name, figure in known.items():
        assert found["figures"][name]["value"] == pytest.approx(figure.value), name
        assert found["figures"][name]["num"] == 60
    table = run("measure", "a.npz", "digits").out.splitlines()
    assert table[0].startswith("60 of a.npz beside 447 of digits")
    assert {line.split()[0] for line in table[3:]} == set(known)


def test_a_reference_is_read_once(run, pixels, tmp_path):
    np.savez(tmp_path / "a.npz", x=digits(), num_levels=17)
    np.savez(tmp_path / "b.npz", x=digits(90)[30:], num_levels=17)
    np.savez(tmp_path / "r.npz", x=digits()[::-1], num_levels=17, y=np.arange(60) % 2)
    run("measure", "a.npz", "r.npz")
    run("measure", "b.npz", "r.npz")
    assert [extractor.num for extractor in pixels] == [120, 60]


def test_too_few_are_said_and_the_rest_is_measured(run, pixels, tmp_path):
    np.savez(tmp_path / "a.npz", x=digits(8), num_levels=17)
    answer = run("measure", "a.npz", "digits")
    assert "precision" in answer.out and "inception_score" not in answer.out
    assert "inception_score is left out: there are 8 samples" in answer.err and answer.code == 0


def test_a_run_and_a_folder_are_measured(run, pixels, finished, tmp_path):
    for i, size in enumerate([(20, 11), (9, 30)] * 12):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.effect_noise(size, 90).convert("RGB").save(tmp_path / "photos" / f"{i}.png")
    assert run("measure", finished, "digits", "--num", "30").out.startswith("30 of")
    assert run("measure", "photos", "digits").out.startswith("24 of photos beside 447 of digits")
    # 16-pixel gray images of the folder are the reference, and a run's samples are scaled to them.
    for i in range(24):
        folder = tmp_path / "classes" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 16), 90).save(folder / f"{i}.png")
    run("measure", finished, "classes", "--num", "20", "--size", "16")
    assert pixels[-1].model.spec.shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere.npz", "digits"], "there is nothing at nowhere.npz"),
        (["a.npz", "digits"], "a.npz holds values up to 16, of 256 levels as it seems"),
        (["digits", "a.npz"], "a.npz has no labels that a classifier of its own could learn"),
        (["digits", "ring"], "ring holds no images"),
        (["c.npz", "digits"], "give images of as many channels"),
        (["digits", "digits", "--size", "8"], "size"),
        (["digits", "digits", "--classifier", "digits", "--inception", "i"], "leave one of them"),
        (["digits", "digits", "--inception", "i.pth"], "no weights at i.pth"),
        (["digits"], "measure needs REFERENCE"),
    ],
)
def test_bad_input(run, pixels, tmp_path, argv, words):
    np.savez(tmp_path / "a.npz", x=digits())
    np.savez(tmp_path / "c.npz", x=np.full((4, 8, 8, 3), 99, np.uint8))
    answer = run("measure", *argv)
    assert words in answer.line and answer.code == 2 and pixels == []
