"""Sets prepared from their original files hold what the files hold.

Large sets are prepared from a few of their own examples, packed like the whole.
"""

import bz2
import gzip
import io
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genjax_models import data
from genjax_models.data.builders.originals import ChecksumError, RawFile, verify
from genjax_models.data.prepare import RECIPES


def read_gzip(path: Path, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes())[header:], np.uint8)


def test_mnist(original_files: Path, data_dir: Path):
    for split, prefix, num in (("train", "train", 60_000), ("test", "t10k", 10_000)):
        images = read_gzip(original_files / "mnist" / f"{prefix}-images-idx3-ubyte.gz", 16)
        labels = read_gzip(original_files / "mnist" / f"{prefix}-labels-idx1-ubyte.gz", 8)
        dataset = data.load("mnist", split, data_dir)
        assert len(dataset) == num and dataset.spec.shape == (28, 28, 1)
        batch = dataset.rows(np.arange(num))
        rows = np.concatenate([images.reshape(num, 784), labels[:, None]], 1)
        prepared = np.concatenate([batch["x"].reshape(num, 784), batch["label"][:, None]], 1)
        as_bytes = partial(np.ndarray.tobytes)
        assert sorted(map(as_bytes, rows)) == sorted(map(as_bytes, prepared.astype(np.uint8)))
    # The order is that of the set as TensorFlow prepares it, known from TFDS's own pages.
    first = data.load("mnist", "train[:10]", data_dir).rows(range(10))["label"]
    np.testing.assert_array_equal(first, [4, 1, 0, 7, 8, 1, 2, 7, 1, 6])
    validation = data.load("mnist", "validation", data_dir).rows([0, 9_999])["x"]
    train = data.load("mnist", "train", data_dir).rows([50_000, 59_999])["x"]
    np.testing.assert_array_equal(validation, train)


def test_a_wrong_checksum_names_file_expected_and_found(
    original_files: Path, tmp_path, monkeypatch
):
    folder = tmp_path / "files" / "tiny_shakespeare"
    folder.mkdir(parents=True)
    content = (original_files / "tiny_shakespeare" / "input.txt").read_bytes()
    (folder / "input.txt").write_bytes(content[:-1] + b"!")
    monkeypatch.setenv("GENJAX_DATA", str(tmp_path / "files"))
    with pytest.raises(
        ChecksumError, match=r"input.txt .*expected sha256 86c4e6.*, found"
    ) as error:
        data.load("tiny_shakespeare", data_dir=tmp_path / "data")
    assert "\n" not in str(error.value)
    (folder / "input.txt").write_bytes(content)  # the mend
    assert len(data.load("tiny_shakespeare", data_dir=tmp_path / "data")) > 1_000_000


def test_a_file_of_which_only_the_md5_is_published(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")
    verify(tmp_path / "abc", RawFile("abc", 3, md5="900150983cd24fb0d6963f7d28e17f72"))
    with pytest.raises(ChecksumError, match="expected md5 0, found 900150983cd24fb0"):
        verify(tmp_path / "abc", RawFile("abc", 3, md5="0"))
    verify(tmp_path / "abc", RawFile("abc", 3))  # none is published: nothing to hold it against


def test_tiny_shakespeare(original_files: Path, data_dir: Path):
    whole = (original_files / "tiny_shakespeare" / "input.txt").read_text()
    parts = [data.load("tiny_shakespeare", s, data_dir) for s in ("train", "validation", "test")]
    assert {part.spec.vocabulary for part in parts} == {tuple(sorted(set(whole)))}
    texts = [data.tokenizers.of(part.spec).decode(part.arrays["x"]) for part in parts]
    assert "".join(texts) == whole
    assert [round(len(t) / len(whole), 3) for t in texts] == [0.9, 0.05, 0.05]


def test_usps(original_files: Path, data_dir: Path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(original_files / "usps" / "usps.h5") as file:
        values, labels = np.asarray(file["test/data"]), np.asarray(file["test/target"])
    dataset = data.load("usps", "test", data_dir)
    batch = dataset.rows(np.arange(2_007))
    assert len(data.load("usps", "train", data_dir)) == 7_291
    # The prepared order is shuffled: compare the digits as sets of rows, the nearest level each.
    nearest = np.floor(values.astype(np.float64) * 255 + 0.5 + 1e-4).astype(np.uint8)
    expected = np.concatenate([nearest, labels[:, None]], 1)
    prepared = np.concatenate([batch["x"].reshape(-1, 256), batch["label"][:, None]], 1)
    np.testing.assert_array_equal(np.unique(prepared, axis=0), np.unique(expected, axis=0))


def test_both_published_forms_of_usps_agree(original_files: Path, tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    from genjax_models.data.builders import usps

    path = original_files / "usps" / "usps.h5"
    images, labels = usps.read_h5(path, "test")
    with h5py.File(path) as file:
        values = np.asarray(file["test/data"])[:50].astype(np.float64)
    lines = []
    for row, label in zip(2 * values - 1, labels, strict=False):
        entries = [f"{i + 1}:{v:.3f}" for i, v in enumerate(row) if f"{v:.3f}" != "0.000"]
        lines.append(f"{label + 1} {' '.join(entries)} ")
    (tmp_path / "usps.t.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    again, labels_again = usps.read_libsvm(tmp_path / "usps.t.bz2")
    np.testing.assert_array_equal(again, images[:50])
    np.testing.assert_array_equal(labels_again, labels[:50])


def first_rows(path: Path, num: int) -> np.ndarray:
    """The first rows of the array `images` of an .npz file: the whole takes seconds to unpack."""
    with zipfile.ZipFile(path) as archive, archive.open("images.npy") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        (_, *shape), _, dtype = np.lib.format.read_array_header_1_0(file)
        content = file.read(num * int(np.prod(shape)) * dtype.itemsize)
    return np.frombuffer(content, dtype).reshape(num, *shape)


@pytest.mark.parametrize("form", ["npz", "zip"])
def test_omniglot(form: str, original_files: Path, tmp_path: Path, small):
    names = [f"images_{part}.{form}" for part in ("background", "evaluation")]
    folder = small("omniglot", *(RawFile(name, 0) for name in names))
    drawings = {}
    for name in names:
        drawings[name] = first_rows(original_files / "omniglot" / name.replace("zip", "npz"), 3)
        if form == "npz":
            np.savez(folder / name, images=drawings[name])
            continue
        with zipfile.ZipFile(folder / name, "w") as archive:
            for character, row in reversed(list(enumerate(drawings[name]))):
                for drawer, paper in enumerate(row):
                    png = io.BytesIO()
                    Image.fromarray(paper).save(png, "png")
                    where = f"images/Alphabet/character{character + 1:02d}/07_{drawer + 1:02d}.png"
                    archive.writestr(where, png.getvalue())
    for split, name, first in (("train", names[0], 0), ("test", names[1], 964)):
        dataset = data.load("omniglot", split, tmp_path / "data")
        batch = dataset.rows(np.arange(60))
        assert dataset.spec.shape == (28, 28, 1)
        for label in range(3):
            mine = batch["x"][batch["label"] == first + label].astype(np.float64) / 255
            ink = 1.0 - drawings[name][label]  # [20, 105, 105]
            # Area is kept: the share of ink is the same, and so is each quarter's.
            for rows in (slice(0, 14), slice(14, 28)):
                big = slice(rows.start * 105 // 28, rows.stop * 105 // 28)
                shrunk, drawn = mine[:, rows].mean((1, 2, 3)), ink[:, big].mean((1, 2))
                np.testing.assert_allclose(np.sort(shrunk), np.sort(drawn), atol=0.012)


def test_spoken_digit(original_files: Path, tmp_path: Path, small):
    file = RawFile("free-spoken-digit-dataset-1.0.9.tar.gz", 0)
    folder = small("spoken_digit", file)
    wanted = ("3_theo_2.wav", "7_george_5.wav", "0_jackson_49.wav", "1_nicolas_0.wav")
    raw = {}
    with tarfile.open(original_files / "spoken_digit" / file.name) as archive:
        with tarfile.open(folder / file.name, "w:gz") as part:
            for member in archive:
                if member.name.endswith(wanted):
                    content = archive.extractfile(member).read()  # type: ignore[union-attr]
                    part.addfile(member, io.BytesIO(content))
                    raw[Path(member.name).name] = np.frombuffer(content[44:], "<i2")
    parts = {s: data.load("spoken_digit", s, tmp_path / "data") for s in RECIPES["digits"].splits}
    assert [len(part) for part in parts.values()] == [1, 1, 2]
    batch = parts["train"].rows([0])
    assert (batch["label"][0], batch["speaker"][0]) == (0, 1)
    wave = batch["x"][0, :, 0].astype(np.int64) - 32_768
    spoken = raw["0_jackson_49.wav"]
    np.testing.assert_array_equal(wave[: len(spoken)], spoken)
    assert len(wave) == 8_192 and not wave[len(spoken) :].any()
    assert sorted(parts["test"].rows([0, 1])["label"]) == [1, 3]


def test_a_long_recording_loses_its_end():
    from genjax_models.data.builders.spoken_digit import to_levels

    samples = np.linspace(-32_768, 32_767, 10_000).astype(np.int16)
    levels = to_levels(samples)
    assert levels.dtype == np.uint16 and levels[0, 0] == 0
    np.testing.assert_array_equal(levels[:, 0].astype(np.int64) - 32_768, samples[:8_192])


def test_facades(original_files: Path, data_dir: Path):
    dataset = data.load("facades", "validation", data_dir)
    assert len(dataset) == 100 and dataset.spec.shape == (256, 256, 3)
    batch = dataset.rows(np.arange(100))
    with tarfile.open(original_files / "facades" / "facades.tar") as archive:
        pair = np.asarray(Image.open(archive.extractfile("facades/val/7.jpg")))  # type: ignore
    photo, parts = pair[:, :256], pair[:, 256:]
    (where,) = np.nonzero((batch["x"] == photo).all((1, 2, 3)))[0]
    np.testing.assert_array_equal(batch["condition"][where], parts)


def jpeg_archive(original_files: Path, path: Path) -> dict[str, np.ndarray]:
    images, taken = {}, {}
    with tarfile.open(original_files / "cifar10_jpg" / "cifar10_jpg.tar.gz") as archive:
        with tarfile.open(path, "w:gz") as part:
            for member in archive:
                folder = member.name.rsplit("/", 1)[0]
                taken[folder] = taken.get(folder, 0) + 1
                if member.name.startswith("test/") and member.isfile() and taken[folder] < 4:
                    content = archive.extractfile(member).read()  # type: ignore[union-attr]
                    for split in ("test", "train"):
                        member.name = f"{split}/" + member.name.split("/", 1)[1]
                        part.addfile(member, io.BytesIO(content))
                    images[member.name] = np.asarray(Image.open(io.BytesIO(content)))
                if len(taken) > 12:
                    break
    return images


def test_cifar10_of_jpegs_stands_in_with_a_warning(original_files, tmp_path, small, monkeypatch):
    folder = small("cifar10_jpg", RawFile("cifar10_jpg.tar.gz", 0))
    monkeypatch.setattr("genjax_models.data.prepare.unreachable", lambda url: "no network")
    images = jpeg_archive(original_files, folder / "cifar10_jpg.tar.gz")
    with pytest.warns(UserWarning, match="cifar10_jpg stands in for it, which is lossy"):
        dataset = data.load("cifar10", "test", tmp_path / "data")
    assert dataset.spec.name == "cifar10_jpg"
    batch = dataset.rows(np.arange(len(images)))
    from genjax_models.data.builders.cifar10 import CLASSES

    prepared = {(int(y), x.tobytes()) for x, y in zip(batch["x"], batch["label"], strict=True)}
    assert prepared == {(CLASSES.index(n.split("/")[1]), x.tobytes()) for n, x in images.items()}


def test_cifar10_as_published(tmp_path: Path, small):
    file = RawFile("cifar-10-binary.tar.gz", 0)
    folder = small("cifar10", file)
    random = np.random.default_rng(0)
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    images = random.integers(0, 256, (6, 4, 3, 32, 32)).astype(np.uint8)
    labels = random.integers(0, 10, (6, 4)).astype(np.uint8)
    with tarfile.open(folder / file.name, "w:gz") as archive:
        for i, name in enumerate(names):
            flat = images[i].reshape(4, -1)
            content = np.concatenate([labels[i][:, None], flat], 1).tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    for split, batch_numbers in (("train", range(5)), ("test", [5])):
        dataset = data.load("cifar10", split, tmp_path / "data")
        assert dataset.spec.name == "cifar10"
        batch = dataset.rows(np.arange(len(dataset)))
        prepared = {(int(y), x.tobytes()) for x, y in zip(batch["x"], batch["label"], strict=True)}
        pixels = images.transpose(0, 1, 3, 4, 2)
        assert prepared == {
            (int(labels[i, j]), pixels[i, j].tobytes()) for i in batch_numbers for j in range(4)
        }
