"""Images that do not fit in memory: read when they are needed, scaled once, the same batches."""

import dataclasses
import os
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import genjax_models as gm
from genjax_models.data import images
from genjax_models.training import feed

RANDOM = np.random.default_rng(0)
NUM = 60


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Photos of two classes and of several sizes."""
    root = tmp_path_factory.mktemp("photos")
    for label in ("cat", "dog"):
        (root / label).mkdir()
        for i in range(NUM // 2):
            size = (20 + i, 30, 3) if i % 2 else (20, 24 + i, 3)
            pixels = RANDOM.integers(0, 256, size).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    return root


def load(path: Path, split: str = "all", *args, **options) -> gm.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gm.load(path, split, *args, **options)


OPTIONS = {
    "center": {"size": 16},
    "random": {"size": (16, 12), "crop": "random", "flip": True},
    "gray": {"size": 9, "color": "gray"},
}


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("split", ["all", "validation"])
def test_a_stream_has_the_same_examples(case: str, split: str, photos: Path, tmp_path: Path):
    options = OPTIONS[case]
    memory = load(photos, split, **options)
    for _ in range(2):  # the second one reads what the first kept
        stream = load(photos, split, tmp_path, in_memory=False, **options)
        assert stream.spec == memory.spec and stream.spec.class_names == ("cat", "dog")
        assert not stream.in_memory
        order = RANDOM.permutation(len(memory))
        for name, values in memory.rows(order).items():
            np.testing.assert_array_equal(stream.rows(order)[name], values)
            np.testing.assert_array_equal(
                stream.training_rows(order, 1, 2)[name], memory.training_rows(order, 1, 2)[name]
            )


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_the_batch_of_a_step_is_the_same_for_any_number_of_workers(workers, photos, tmp_path):
    memory = load(photos, **OPTIONS["random"])
    stream = load(photos, "all", tmp_path, in_memory=False, **OPTIONS["random"])
    found = list(feed._read_ahead(stream, 3, 7, 4, 30, workers))
    assert len(found) == 26
    for step, batch in enumerate(found, start=4):
        expected = feed.batch_at(memory, 3, step, 7)
        for name in ("x", "label"):
            np.testing.assert_array_equal(batch[name], expected[name])


def test_each_file_is_decoded_and_scaled_once(photos: Path, tmp_path: Path, monkeypatch):
    read, decoded = images.read, []
    monkeypatch.setattr(
        images, "read", lambda path, *rest: decoded.append(path) or read(path, *rest)
    )
    stream = load(photos, "all", tmp_path, in_memory=False, size=8, color="rgb")
    assert not decoded  # their heads alone were looked at
    for _ in range(3):
        for batch in stream.batches(7):
            assert batch["x"].shape[1:] == (8, 8, 3)
    assert len(decoded) == len(set(decoded)) == NUM
    load(photos, "all", tmp_path, in_memory=False, size=9, color="rgb").rows([0])
    assert len(decoded) == NUM + 1  # another size is another image


def test_a_changed_or_damaged_file_is_not_taken_for_what_was_kept(tmp_path: Path):
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()

    def red() -> int:
        stream = load(path.parent, "all", tmp_path / "kept", in_memory=False, size=4, color="rgb")
        return int(stream.rows([0])["x"][0, 0, 0, 0])

    for value in (10, 200):
        Image.new("RGB", (5, 5), (value, 0, 0)).save(path)
        os.utime(path, ns=(value, value))
        assert red() == value == red()
    for kept in (tmp_path / "kept").rglob("*.npy"):
        kept.write_bytes(kept.read_bytes()[:-1])
    assert red() == 200


def test_nothing_is_kept_where_there_is_no_room(photos: Path, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    stream = load(photos, "all", tmp_path / "file", in_memory=False, size=8)
    np.testing.assert_array_equal(stream.rows([3])["x"], load(photos, size=8).rows([3])["x"])


def test_memory_is_bounded(tmp_path: Path):
    root, num, side = tmp_path / "many", 400, 48
    root.mkdir()
    for i in range(num):
        Image.new("RGB", (side, side), (i % 256, 0, 0)).save(root / f"{i:04}.png")
    stream = load(root, "all", in_memory=False, color="rgb")
    tracemalloc.start()
    seen = np.concatenate([batch["x"][:, 0, 0, 0].copy() for batch in stream.batches(10)])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(seen, np.arange(num) % 256)
    assert most < num * side * side * 3 / 8


def test_a_folder_too_large_for_memory_streams_and_says_so(photos: Path, monkeypatch):
    needed = NUM * 16 * 16 * 3
    monkeypatch.setattr("genjax_models.data.array_files.total_memory", lambda: 4 * needed)
    assert load(photos, size=16).in_memory
    monkeypatch.setattr("genjax_models.data.array_files.total_memory", lambda: 4 * needed - 1)
    with pytest.warns(UserWarning, match="are too many for memory"):
        assert not gm.load(photos, "all", size=16).in_memory
    assert load(photos, size=16, in_memory=True).in_memory


def test_sizes_are_refused_before_anything_is_read(photos: Path, monkeypatch):
    monkeypatch.setattr(images, "read", None)
    with pytest.raises(ValueError, match="images differ in size: .*; give size=64") as error:
        load(photos, in_memory=False, color="rgb")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_a_head_says_the_size_that_is_read(orientation: int, ending: str, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.new("RGB", (20, 12)).save(path, exif=exif)
    for reading in (images.Reading(), images.Reading(5), images.Reading((4, 9), "random")):
        assert reading.size_of(path) == reading(path).pixels.shape[:2]


def test_a_stream_trains_as_memory_does(photos: Path, tmp_path: Path):
    import jax
    import optax

    model = gm.VAE(
        gm.networks.MLP((2,)), gm.networks.MLP((8 * 8 * 3,)), latent_dim=1,
        spec=load(photos, size=8).spec,
    )  # fmt: skip

    def train(data: gm.Dataset, workers: int):
        options = {"steps": 5, "batch_size": 8, "devices": 1, "workers": workers}
        return jax.device_get(gm.fit(model, data, optax.adam(1e-2), **options).params)

    memory = train(load(photos, size=8), 0)
    stream = load(photos, "all", tmp_path, in_memory=False, size=8)
    for workers in (0, 4):
        jax.tree.map(np.testing.assert_array_equal, train(stream, workers), memory)


def test_prepared_sets_obey_too():
    data = gm.load("digits", in_memory=False)
    assert not data.in_memory and gm.load("digits").in_memory
    assert dataclasses.replace(data, split="x").rows([0])["x"].shape == (1, 8, 8, 1)
