"""Data sets on disk: what is read is what was written, and what cannot be read says why."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_models import data
from genjax_models.data.array_files import npz_names

RANDOM = np.random.default_rng(0)


def draw(path: Path, shape=(6, 5), mode: str = "L") -> np.ndarray:
    pixels = RANDOM.integers(0, 256, shape if mode == "L" else (*shape, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def test_a_folder_of_images(tmp_path: Path):
    drawn = [draw(tmp_path / "train" / name) for name in ("a.png", "b.bmp")]
    (tmp_path / "train" / "notes.txt").write_text("not an image")
    dataset = data.load(str(tmp_path))
    assert len(dataset) == 2 and dataset.spec.num_classes is None
    np.testing.assert_array_equal(dataset.rows(range(2))["x"][..., 0], np.stack(drawn))


def test_subfolders_are_classes_in_sorted_order(tmp_path: Path):
    dogs = [draw(tmp_path / "dog" / f"{i}.png", mode="RGB") for i in range(2)]
    cat = draw(tmp_path / "cat" / "0.png", mode="RGB")
    draw(tmp_path / ".hidden" / "0.png")
    dataset = data.load(tmp_path)
    batch = dataset.rows(range(3))
    assert dataset.spec.num_classes == 2 and dataset.spec.shape == (6, 5, 3)
    np.testing.assert_array_equal(batch["label"], [0, 1, 1])
    np.testing.assert_array_equal(batch["x"], np.stack([cat, *dogs]))


def test_folders_may_hold_splits(tmp_path: Path):
    draw(tmp_path / "train" / "cat" / "0.png")
    draw(tmp_path / "train" / "dog" / "0.png")
    dog = draw(tmp_path / "val" / "dog" / "0.png")
    assert data.split_names(tmp_path) == ("train", "validation")  # too few for a test split
    batch = data.load(tmp_path, "validation").rows([0])
    np.testing.assert_array_equal(batch["x"][0, ..., 0], dog)
    assert batch["label"][0] == 1  # as train counts them
    assert data.load(tmp_path, "validation").spec.num_classes == 2
    with pytest.raises(ValueError, match="has no split 'test'; it has train, validation"):
        data.load(tmp_path, "test")
    draw(tmp_path / "val" / "newt" / "0.png")
    with pytest.raises(ValueError, match="class 'newt' that train lacks"):
        data.load(tmp_path, "validation")


def test_images_of_different_sizes_are_refused_unless_scaled(tmp_path: Path):
    for name in ("train/a.png", "train/b.png", "val/a.png", "test/a.png"):
        draw(tmp_path / name, (6, 5))
    draw(tmp_path / "train/c.png", (7, 5))
    draw(tmp_path / "test/a.png", (7, 5))
    told = r"2 of 5x6 \(.*a.png, ...\), 1 of 5x7 \(.*c.png\); give size=64"
    with pytest.raises(ValueError, match=told):
        data.load(tmp_path)
    (tmp_path / "train/c.png").unlink()
    assert data.load(tmp_path).spec.shape == data.load(tmp_path, "validation").spec.shape
    with pytest.raises(ValueError, match=r"1 of 5x6 \(.*train/a.png\), 1 of 5x7 \(.*test/a.png\)"):
        data.load(tmp_path, "test")  # as a model of train's images cannot be held against it
    assert data.load(tmp_path, "test", size=4).spec.shape == (4, 4, 1)


def test_an_empty_folder(tmp_path: Path):
    with pytest.raises(ValueError, match=f"{tmp_path} holds no images; put images"):
        data.load(tmp_path)


def test_images_beside_class_folders(tmp_path: Path):
    draw(tmp_path / "a.png")
    draw(tmp_path / "cat" / "a.png")
    with pytest.raises(ValueError, match="also subfolders of images"):
        data.load(tmp_path)


@pytest.mark.parametrize("kept", [0, 60])
def test_a_corrupt_image_is_named(tmp_path: Path, kept: int):
    draw(tmp_path / "a.png", (40, 40))
    draw(tmp_path / "b.png", (40, 40))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:kept])
    with pytest.raises(ValueError, match="b.png is not a readable image") as error:
        data.load(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keys", [("x", "y"), ("images", "labels"), ("x", "label")])
def test_an_npz_file(tmp_path: Path, keys):
    images, labels = RANDOM.integers(0, 256, (9, 4, 4)).astype(np.uint8), np.arange(9) % 4
    np.savez(tmp_path / "mine.npz", **dict(zip(keys, (images, labels), strict=True)))
    dataset = data.load(tmp_path / "mine.npz", "train[:5]")
    batch = dataset.rows(range(5))
    np.testing.assert_array_equal(batch["x"][..., 0], images[:5])
    np.testing.assert_array_equal(batch["label"], labels[:5])
    assert dataset.spec.name == "mine.npz" and dataset.spec.num_classes == 4


def test_npz_files_that_will_not_do(tmp_path: Path):
    np.savez(tmp_path / "other.npz", pixels=np.zeros(3))
    with pytest.raises(ValueError, match="other.npz holds pixels; save the examples in it as 'x'"):
        data.load(tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:50])
    with pytest.raises(ValueError, match="broken.npz is not a readable .npz"):
        data.load(tmp_path / "broken.npz")
    np.savez(tmp_path / "float.npz", x=np.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match="float.npz: .* give images as uint8"):
        data.load(tmp_path / "float.npz")
    np.savez(tmp_path / "nan.npz", x=np.array([[0.0, 1.0], [np.nan, 0.0]]))
    with pytest.raises(ValueError, match="1 values are NaN or infinite, the first in row 1"):
        data.load(tmp_path / "nan.npz")


def test_other_arrays_of_an_npz_file_are_not_looked_at(tmp_path: Path):
    x, objects = np.arange(16, dtype=np.uint8).reshape(4, 2, 2), np.array(["a", None], object)
    np.savez(tmp_path / "a.npz", meta=objects, x=x, y=[0, 1, 0, 1], class_names=["cat", "dog"])
    dataset = data.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(dataset.arrays["x"][..., 0], x)
    assert dataset.spec.class_names == ("cat", "dog")
    for asked in ("x", "label"):
        np.savez(tmp_path / "b.npz", **{"x": x, "label": np.arange(4), asked: objects})
        with pytest.raises(ValueError, match=f"'{asked}' is an array of Python objects, which are"):
            data.load(tmp_path / "b.npz")


def test_labels_that_differ_are_refused(tmp_path: Path):
    x = np.zeros((3, 2, 2), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, label=[0, 1, 2], y=[0.0, 1.0, 2.0])
    assert data.load(tmp_path / "a.npz").spec.num_classes == 3
    np.savez(tmp_path / "a.npz", x=x, label=[0, 1, 2], y=[2, 1, 0])
    with pytest.raises(ValueError, match="holds label and y, which differ"):
        data.load(tmp_path / "a.npz")


def header(shape: str, dtype: str = "|u1", version: int = 1) -> bytes:
    words = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(words).to_bytes(2 * version, "little") + words


CRAFTED = {
    "huge": header("(1099511627776, 8, 8)"),
    "overflowing": header("(4294967296, 4294967296, 4294967296)"),
    "of no bytes": header("(1099511627776, 8)", "<U0"),
    "negative": header("(-4, -4)"),
    "cut short": header("(4, 4, 4)") + b"1",
    "of objects": header("(4,)", "|O") + b"cos\nsystem\n(S'echo'\ntR.",
    "a head of 4 GiB": b"\x93NUMPY\x02\x00" + b"\xff" * 4,
    "of a later version": header("(1,)", version=1).replace(b"\x01\x00", b"\x09\x00", 1),
    "no array": b"hello",
    "empty": b"",
}


@pytest.mark.parametrize("case", CRAFTED)
def test_crafted_arrays_are_refused_at_once(case: str, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", CRAFTED[case])
    tracemalloc.start()
    with pytest.raises(ValueError, match="a.npz is not a readable .npz file: .*") as error:
        data.load(tmp_path / "a.npz")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6 and "\n" not in str(error.value)


def test_more_than_this_machine_has_is_not_begun(tmp_path: Path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100, 8, 8), np.uint8))
    monkeypatch.setattr("genjax_models.data.array_files.total_memory", lambda: 6_399)
    with pytest.raises(ValueError, match="'x' takes 6,400 bytes, more than this machine has"):
        data.load(tmp_path / "a.npz")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "?", ">i4", "<i8"])
def test_arrays_of_every_type_and_order_come_back(order: str, dtype: str, tmp_path: Path):
    x = RANDOM.integers(0, 2, (5, 3, 4, 3)).astype(dtype)
    np.savez(tmp_path / "a.npz", x=np.asarray(x, order=order))
    np.testing.assert_array_equal(data.load(tmp_path / "a.npz").arrays["x"], x)
    assert npz_names(tmp_path / "a.npz") == ("x",)


def test_a_text_file(tmp_path: Path):
    path = tmp_path / "poem.txt"
    path.write_text("shall I compare thee to a summer's day?\n" * 70, encoding="utf-8")
    dataset = data.load(path)
    window = dataset.rows([40])["x"][0]
    assert data.tokenizers.of(dataset.spec).decode(window[:5]) == "shall"
    assert len(dataset) == 70 * 40 - 255
    path.write_text("short")
    assert data.load(path).spec.shape == (1,)  # so that its end, one letter, is an example too
    path.write_text("")
    with pytest.raises(ValueError, match="poem.txt is empty"):
        data.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="poem.txt is not UTF-8 text"):
        data.load(path)


@pytest.mark.parametrize("name", ["no/such/folder", "nothing.npz", Path("nowhere")])
def test_a_path_that_is_not_there(name):
    with pytest.raises(FileNotFoundError, match="there is nothing at"):
        data.load(name)
