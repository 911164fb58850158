"""Images scaled and cropped with their aspect kept; parts and mirrors by chance, the same again."""

import collections
import dataclasses
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import genjax_models as gm
from genjax_models.core import Loss, Player
from genjax_models.data import Dataset, augment, images
from genjax_models.training.feed import batch_at

RANDOM = np.random.default_rng(0)
SIZES = [(9, 14), (20, 8), (8, 8), (30, 31), (5, 6), (12, 40)]


def folder(path: Path, sizes=SIZES, num: int = 2) -> Path:
    """Colour images of several sizes, of two classes."""
    for label in ("cat", "dog"):
        (path / label).mkdir(parents=True)
        for i in range(num * len(sizes)):
            pixels = RANDOM.integers(0, 256, (*sizes[i % len(sizes)], 3)).astype(np.uint8)
            Image.fromarray(pixels).save(path / label / f"{i}.png")
    return path


def load(*args, **options) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gm.load(*args, **options)


def disc(height: int, width: int, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width] + 0.5
    inside = np.hypot(rows - height / 2, columns - width / 2) < radius
    return np.where(inside, 255, 0).astype(np.uint8)[..., None]


@pytest.mark.parametrize("shape", [(120, 180), (180, 120), (120, 120)])
@pytest.mark.parametrize("size", [(40, 40), (40, 60), (240, 200)])
def test_a_disc_stays_a_disc_in_the_middle(shape, size):
    found = images.scaled(disc(*shape, 50.0), *size)[..., 0] / 255.0
    assert found.shape == size
    scale = max(size[0] / shape[0], size[1] / shape[1])
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    for middle, at in ((size[0] / 2, rows), (size[1] / 2, columns)):
        assert abs(np.sum(found * at) / found.sum() - middle) < 0.1
    inside = np.hypot(rows - size[0] / 2, columns - size[1] / 2) < 50.0 * scale
    assert np.abs(found - inside).mean() < 0.02 and found.min() < 0.01


def test_what_fits_stays_as_it_is_and_a_flat_image_flat():
    pixels = RANDOM.integers(0, 256, (6, 9, 3)).astype(np.uint8)
    np.testing.assert_array_equal(images.scaled(pixels, 6, 9), pixels)
    for height, width in ((3, 50), (50, 3), (7, 7), (1, 1)):
        flat = images.scaled(np.full((11, 4, 3), 77, np.uint8), height, width)
        assert flat.shape == (height, width, 3) and (flat == 77).all()


def test_fine_stripes_do_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
    assert np.abs(images.scaled(stripes, 16, 16)[2:-2, 2:-2].astype(int) - 127).max() <= 2


def test_a_strip_does_not_take_a_folder_s_memory():
    strip = np.zeros((1, 100_000, 1), np.uint8)
    assert images.scaled(strip, 64, 64, reach=32).shape == (64, 64 * 32, 1)


@pytest.mark.parametrize(("size", "shape"), [(8, (8, 8)), ((6, 10), (6, 10)), ([4], (4, 4))])
def test_folders_of_any_sizes_come_to_one(size, shape, tmp_path: Path):
    for split in ("train", "validation", "test", "all"):
        for crop in ("center", "random"):
            data = load(folder(tmp_path) if not any(tmp_path.iterdir()) else tmp_path, split,
                        size=size, crop=crop)  # fmt: skip
            assert data.spec.shape == (*shape, 3) and data.spec.class_names == ("cat", "dog")
            batch = data.rows(np.arange(len(data)))
            assert batch["x"].shape == (len(data), *shape, 3) and batch["x"].dtype == np.uint8
            assert data.in_memory == (crop == "center" or split in ("validation", "test"))


def test_colour_is_as_asked(tmp_path: Path):
    colour = RANDOM.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    Image.fromarray(colour).save(tmp_path / "a.png")
    Image.fromarray(colour[..., 0]).save(tmp_path / "b.png")
    red, green, blue = np.moveaxis(colour.astype(float), -1, 0)
    gray = load(tmp_path, color="gray").arrays["x"]
    assert gray.shape == (2, 6, 6, 1)
    assert np.abs(gray[0, ..., 0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1
    (tmp_path / "a.png").unlink()
    assert load(tmp_path).spec.shape == (6, 6, 1)
    rgb = load(tmp_path, color="rgb").arrays["x"]
    np.testing.assert_array_equal(rgb[0], np.repeat(colour[..., :1], 3, -1))


BAD = {
    "no pixels": ({"size": 0}, "size is 0: it must be a whole number of at least 1"),
    "half a pixel": ({"size": 8.5}, "size is 8.5"),
    "three sides": ({"size": (8, 8, 3)}, "give one number, or height and width"),
    "another part": ({"size": 8, "crop": "left"}, "crop is 'left': give 'center' or 'random'"),
    "a part of nothing": ({"crop": "random"}, "give size= too"),
    "a colour": ({"color": "red"}, "color is 'red': give 'gray', 'rgb' or None"),
}


@pytest.mark.parametrize("case", BAD)
def test_options_that_cannot_be_are_refused_in_one_line(case: str, tmp_path: Path):
    options, message = BAD[case]
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path, **options)
    assert "\n" not in str(error.value)


def test_options_of_folders_are_refused_of_other_data(tmp_path: Path):
    (tmp_path / "a.txt").write_text("a text")
    for name, options in (("digits", {"size": 4}), (tmp_path / "a.txt", {"color": "gray"})):
        with pytest.raises(ValueError, match="= is for a folder of images, and .* is none"):
            gm.load(name, **options)
    with pytest.raises(ValueError, match=r"ring has examples of shape \(2,\), and flip="):
        gm.load("ring", flip=True)


def random_data(path: Path) -> Dataset:
    return load(folder(path), "all", size=8, crop="random", flip=True)


def windows(data: Dataset, index: int) -> set[bytes]:
    """Every part of an image, and its mirror image."""
    (record,) = data.source.__getitems__([index])
    (high, wide), (height, width) = record["x"].shape[:2], data.spec.shape[:2]
    parts = [
        record["x"][i : i + height, j : j + width]
        for i in range(high - height + 1)
        for j in range(wide - width + 1)
    ]
    return {part.tobytes() for p in parts for part in (p, p[:, ::-1])}


def test_what_chance_gives_is_a_function_of_seed_step_and_example(tmp_path: Path):
    data = random_data(tmp_path)
    order = RANDOM.permutation(len(data))
    one = data.training_rows(order, 3, 7)
    for i, index in enumerate(order):  # of no other example, nor of where in the batch it stands
        alone = data.training_rows([index], 3, 7)["x"][0]
        np.testing.assert_array_equal(one["x"][i], alone)
    assert not np.array_equal(one["x"], data.training_rows(order, 3, 8)["x"])
    assert not np.array_equal(one["x"], data.training_rows(order, 4, 7)["x"])
    np.testing.assert_array_equal(data.rows(order)["x"], data.rows(order)["x"])  # in evaluation
    np.testing.assert_array_equal(one["label"], data.rows(order)["label"])


def test_every_part_comes_and_is_as_likely(tmp_path: Path):
    data = random_data(tmp_path)
    for index in range(4):
        seen = collections.Counter(
            data.training_rows([index], 0, step)["x"].tobytes() for step in range(1200)
        )
        there = windows(data, index)
        assert set(seen) == there
        expected = 1200 / len(there)
        chi_square = sum((n - expected) ** 2 / expected for n in seen.values())
        # Its mean, and six of its standard deviations.
        assert chi_square < len(there) + 6 * np.sqrt(2 * len(there))


def test_pairs_are_mirrored_together():
    x = RANDOM.integers(0, 256, (4, 3, 5, 3)).astype(np.uint8)
    pairs = Dataset.from_arrays(x, np.arange(4), extra={"condition": 255 - x})
    data = pairs.augmented(augment.RandomFlip())
    batches = [data.training_rows(np.arange(4), 0, step) for step in range(8)]
    for batch in batches:
        np.testing.assert_array_equal(batch["condition"], 255 - batch["x"])
        np.testing.assert_array_equal(batch["label"], np.arange(4))
    mirrored = np.mean([[(a == b).all() for a, b in zip(batch["x"], x, strict=True)]
                        for batch in batches])  # fmt: skip
    assert 0.2 < mirrored < 0.8
    np.testing.assert_array_equal(data.rows(np.arange(4))["x"], x)


def test_any_function_augments_any_data():
    def louder(example, random):
        return example if random is None else {**example, "x": example["x"] + random.normal()}

    data = Dataset.from_arrays(np.zeros((6, 2), np.float32)).augmented(louder)
    first, second = (batch_at(data, 0, step, 3)["x"] for step in (0, 1))
    assert first.shape == (3, 2) and len(np.unique(first)) == 3
    assert not np.isin(first, second).any() and (data.rows([0, 1])["x"] == 0).all()
    assert "louder" in repr(data)


@dataclasses.dataclass(frozen=True)
class Mean:
    """One number a pixel: the mean of what it is shown, weighted by the rate."""

    spec: object

    def init(self, key, batch):
        return {"mean": {"at": jnp.zeros(self.spec.shape)}}, {}

    def forward(self, params, batch, key, *, state, train):
        return jnp.mean((batch["x"] - params["mean"]["at"]) ** 2, (1, 2, 3)), state

    @property
    def players(self):
        return {"mean": Player(Loss(self.forward, {"squared": lambda out: out}), owns=("mean",))}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on random parts of photos, by any means."""
    data = random_data(tmp_path_factory.mktemp("photos"))

    def train(steps: int = 12, **options):
        state = gm.fit(
            Mean(data.spec), data, optax.sgd(0.1), steps=steps, batch_size=4, seed=5,
            **{"devices": 1, **options},
        )  # fmt: skip
        return jax.device_get(state.params["mean"]["at"])

    return train


def test_a_resumed_run_is_the_same_bits_and_any_number_of_workers(run, tmp_path: Path):
    whole = run()
    for workers in (0, 1):
        np.testing.assert_array_equal(run(workers=workers), whole)
    run(steps=5, checkpoint_dir=tmp_path)
    np.testing.assert_array_equal(run(checkpoint_dir=tmp_path, workers=0), whole)
    with pytest.raises(ValueError, match="workers is -1"):
        run(workers=-1)


@pytest.mark.parametrize("mapping", ["mesh", "pmap"])
def test_any_number_of_devices_sees_the_same(run, mapping: str):
    np.testing.assert_allclose(run(devices=4, mapping=mapping), run(), rtol=1e-5, atol=1e-3)


def test_data_in_memory_give_the_run_that_a_stream_gives():
    x = RANDOM.integers(0, 256, (24, 4, 4, 1)).astype(np.uint8)
    flipped = Dataset.from_arrays(x).augmented(augment.RandomFlip())

    class Stream:
        def __len__(self):
            return 24

        def __getitems__(self, record_keys):
            return [{"x": x[i]} for i in record_keys]

    stream = dataclasses.replace(flipped, arrays=None, source=Stream())
    for step in range(6):
        batches = [batch_at(data, 1, step, 5)["x"] for data in (flipped, stream)]
        np.testing.assert_array_equal(*batches)


def test_another_augmentation_is_another_run(tmp_path: Path):
    data = Dataset.from_arrays(RANDOM.integers(0, 256, (24, 4, 4, 1)).astype(np.uint8))
    options = {"steps": 2, "batch_size": 4, "checkpoint_dir": tmp_path, "devices": 1}
    gm.fit(Mean(data.spec), data, optax.sgd(0.1), **options)
    flipped = data.augmented(augment.RandomFlip())
    with pytest.raises(ValueError, match=r"augmentation of the data none -> RandomFlip\(\)"):
        gm.fit(Mean(data.spec), flipped, optax.sgd(0.1), **options)
