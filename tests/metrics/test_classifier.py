"""The classifier learns, is kept, and is trained again where what was kept is of no use."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_models.core.preprocess import to_unit_range
from genjax_models.core.types import DIGITS, DataSpec
from genjax_models.data.dataset import Dataset
from genjax_models.metrics import classifier, frechet_distance, frechet_floor
from genjax_models.metrics.classifier import (
    Classifier,
    default_classifier,
    distorted,
    load_classifier,
    read,
)

SMALL = Classifier(channels=(8,), blocks=0, num_features=16)
STEPS = 400


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def small(cache_dir):
    return load_classifier("digits", cache_dir=cache_dir, model=SMALL, steps=STEPS)


@pytest.fixture(scope="module")
def test_images():
    import genjax_models as gm

    return gm.load("digits", "test").arrays


@pytest.fixture
def no_training(monkeypatch):
    def fit(*args, **kwargs):
        raise AssertionError("it is trained")

    monkeypatch.setattr(classifier, "fit", fit)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    return (a.name, a.fingerprint, a.accuracy) == (b.name, b.fingerprint, b.accuracy)


def test_it_learns_and_says_how_well(small, test_images):
    right = small.predict(test_images["x"]) == test_images["label"]
    assert small.accuracy == right.mean() > 0.8
    assert small.name == f"digits classifier, {100 * right.mean():.1f} % on test, 16 features"


def test_its_functions_are_pure_and_read_any_number(small, test_images):
    x = test_images["x"]
    features, logits = small.features(x), small.logits(x)
    assert features.shape == (447, 16) and logits.shape == (447, 10)
    np.testing.assert_allclose(small.features(x[5:6]), features[5:6], rtol=1e-5, atol=1e-5)
    pure = jax.jit(SMALL.features)(small.params, x[:7])
    np.testing.assert_allclose(pure, features[:7], rtol=1e-5, atol=1e-5)
    pure = SMALL.logits(small.params, x[:7].astype(np.float32))
    np.testing.assert_allclose(pure, logits[:7], rtol=1e-4, atol=1e-4)
    many = np.concatenate([x, x])  # more than are read at a time
    np.testing.assert_array_equal(small.predict(many), np.tile(small.predict(x), 2))


def test_images_of_real_values_are_read_as_they_are(small, test_images):
    spec = DataSpec((8, 8, 1), None, 10, name="reals")
    model = dataclasses.replace(SMALL, spec=spec)
    x = to_unit_range(test_images["x"], DIGITS)  # what the one of levels makes of them itself
    _, logits = read(model, small.params, x)
    np.testing.assert_allclose(logits, small.logits(test_images["x"]), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="images of reals hold values that are not finite"):
        read(model, small.params, np.full((1, 8, 8, 1), np.nan))


def test_it_is_trained_once(small, cache_dir, no_training, monkeypatch):
    again = load_classifier("digits", cache_dir=cache_dir, model=SMALL, steps=STEPS)
    assert equal(again, small)
    monkeypatch.setenv("GENJAX_CACHE", str(cache_dir))
    assert equal(load_classifier("digits", model=SMALL, steps=STEPS), small)
    for other in ({"seed": 1}, {"steps": STEPS + 1}, {"model": Classifier(dropout=0.1)}):
        with pytest.raises(AssertionError, match="it is trained"):
            load_classifier("digits", **{"model": SMALL, "steps": STEPS, **other})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's, of it
def test_a_damaged_one_is_trained_again(small, cache_dir, monkeypatch, recwarn):
    folder = next((cache_dir / "classifiers").glob("digits-*[0-9a-f]"))
    largest = max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    again = load_classifier("digits", cache_dir=cache_dir, model=SMALL, steps=STEPS)
    said = [str(w.message) for w in recwarn if "classifier" in str(w.message)]
    assert len(said) == 1 and "damaged: it is trained again" in said[0]
    assert equal(again, small)
    assert sorted(p.name for p in folder.iterdir()) == [str(STEPS)]
    monkeypatch.setattr(classifier, "fit", None)
    assert equal(load_classifier("digits", cache_dir=cache_dir, model=SMALL, steps=STEPS), small)


def test_without_a_place_to_keep_it_it_serves_once(small, tmp_path, monkeypatch, digits):
    (tmp_path / "file").write_text("")
    state = type("State", (), {"ema": small.params})
    monkeypatch.setattr(classifier, "fit", lambda *a, **k: state)
    with pytest.warns(UserWarning, match="could not be stored"):
        found = load_classifier(digits, cache_dir=tmp_path / "file", model=SMALL, steps=STEPS)
    assert found.held_out == "a tenth held out" and found.accuracy > 0.8


@pytest.mark.parametrize("named", [False, True])
def test_a_tenth_is_held_out_without_a_test_split_of_the_same_classes(
    named, monkeypatch, tmp_path, digits
):
    seen = []

    def fit(model, train, *args, **kwargs):
        seen.append(train)
        raise InterruptedError

    def load(name, split="train"):
        if split != "test":
            return digits[:200] if split == "train" else digits[200:300]
        x, labels = np.zeros((9, 8, 8), np.uint8), np.full(9, 50)
        return Dataset.from_arrays(x, labels, num_levels=17, num_classes=51)

    monkeypatch.setattr(classifier, "fit", fit)
    monkeypatch.setattr(classifier, "load", load)
    with pytest.raises(InterruptedError):
        load_classifier("digits" if named else digits[:200], cache_dir=tmp_path, model=SMALL)
    num = 300 if named else 200  # the validation split of a name is learned too
    assert len(seen[0]) == 0.9 * num
    whole = {row.tobytes() for row in digits.arrays["x"][:num]}
    assert {row.tobytes() for row in seen[0].arrays["x"]} < whole


def test_distortions():
    row, column = np.meshgrid(np.arange(7.0), np.arange(5.0), indexing="ij")
    plane = np.stack([row, 10 * column], -1)  # interpolated exactly, but for the edges
    x = jnp.asarray(np.broadcast_to(plane, (300, 7, 5, 2)))
    np.testing.assert_allclose(distorted(x, jax.random.key(0), 0.0, 0.0), x, rtol=1e-6)
    moved = np.asarray(distorted(x, jax.random.key(0), 1.0, 0.0))[:, 3, 2] - plane[3, 2]
    moved /= [1, 10]
    assert np.abs(moved).max() <= 1 and np.abs(moved.mean(0)).max() < 4 / np.sqrt(3 * 300)
    np.testing.assert_allclose(moved.var(0), 1 / 3, rtol=0.25)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.2
    turned = np.asarray(distorted(x, jax.random.key(0), 0.0, 0.2)) / [1, 10]
    np.testing.assert_allclose(turned[:, 3, 2], [[3, 2]] * 300, atol=1e-5)  # the centre stays
    along = turned[:, 4, 2] - turned[:, 3, 2] - [1, 0]
    assert 0.15 < np.abs(along).max() <= 0.2 + 1e-5
    np.testing.assert_allclose(turned[:, 3, 2] * 2 - turned[:, 2, 2], turned[:, 4, 2], atol=1e-4)


@pytest.mark.parametrize(
    ("size", "channels"),
    [((8, 8), (64,)), ((28, 28), (32, 64)), ((64, 96), (16, 16, 32, 64))],
)
def test_the_network_fits_the_images(size, channels):
    model = default_classifier(DataSpec((*size, 1), 256, 10))
    assert model.channels == channels and model.shift == size[0] / 12


def test_images_of_any_size():
    spec = DataSpec((5, 7, 3), 4, 6)
    model = default_classifier(spec)
    x = jnp.zeros((2, 5, 7, 3), jnp.uint8)
    params, state = jax.eval_shape(model.init, jax.random.key(0), {"x": x})
    assert state == {} and jax.eval_shape(model.logits, params, x).shape == (2, 6)


def test_the_frechet_distance_of_samples(small, digits, test_images):
    real = small.features(test_images["x"])
    good = frechet_distance(small.features(digits.arrays["x"][:500]), real, extractor=small.name)
    assert good[2:5] == (500, small.name, 447)
    low, high = good.interval
    floor = frechet_floor(real, 500, jax.random.key(0))
    assert 0 <= low < good.value < high and 0 < floor < low
    noise = np.random.default_rng(0).integers(0, 17, (500, 8, 8, 1), np.uint8)
    assert frechet_distance(small.features(noise), real).value > 10 * high
    with pytest.raises(ValueError, match="10 samples of 16 features.*at least"):
        frechet_distance(real[:10], real)


def test_bad_input(small, test_images, tmp_path):
    x = test_images["x"]
    with pytest.raises(ValueError, match=r"digits, images \[N, 8, 8, 1\], but it was given"):
        small.features(x[:, :7])
    with pytest.raises(ValueError, match=r"lie in 0 .. 255, and digits in 0 .. 16"):
        small.logits(np.where(x == 16, 255, x))
    with pytest.raises(ValueError, match="give them in the data's own range"):
        small.predict(x / 8.0 - 1.0)
    with pytest.raises(ValueError, match="lie in nan"):
        small.features(np.full((1, 8, 8, 1), np.nan))
    with pytest.raises(ValueError, match="ring.train. has no 'label': .* images with labels"):
        load_classifier("ring", cache_dir=tmp_path)
    unlabelled = Dataset.from_arrays(np.zeros((20, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="with labels"):
        load_classifier(unlabelled, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="a part of the same data"):
        load_classifier("digits", Dataset.from_arrays(np.zeros((9, 4, 4), np.uint8), np.arange(9)))
