"""`load`: what it gives, what it keeps, and how it fails. `digits` stands for all."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from genjax_models import data
from genjax_models.data import prepare
from genjax_models.data.array_files import read_cache
from genjax_models.data.prepare import RECIPES


def run(code: str, *args: str) -> str:
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_digits_are_scikit_learns_in_file_order(data_dir: Path):
    bundle = load_digits()
    parts = {s: data.load("digits", s, data_dir) for s in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [1_000, 350, 447]
    batches = [part.rows(np.arange(len(part))) for part in parts.values()]
    images = np.concatenate([batch["x"] for batch in batches])
    assert images.dtype == np.uint8 and images.max() == 16
    np.testing.assert_array_equal(images[..., 0], bundle.images)
    np.testing.assert_array_equal(np.concatenate([b["label"] for b in batches]), bundle.target)
    assert parts["test"].spec == RECIPES["digits"].spec


def test_the_prepared_set_is_one_that_tfds_reads(data_dir: Path):
    import tensorflow_datasets as tfds

    data.load("digits", data_dir=data_dir)
    builder = tfds.builder_from_directory(data_dir / "digits" / "1.0.0")
    source = builder.as_data_source(split="test")
    np.testing.assert_array_equal(source[0]["image"], load_digits().images[1_350][..., None])


def test_the_second_load_reads_the_cache_and_no_tfds(data_dir: Path, monkeypatch):
    first = data.load("digits", data_dir=data_dir)

    def fail(*args):
        raise AssertionError("TFDS was asked again")

    monkeypatch.setattr(prepare, "prepared", fail)
    start = time.perf_counter()
    again = data.load("digits", data_dir=data_dir)
    assert time.perf_counter() - start < 0.5
    np.testing.assert_array_equal(first.arrays["x"], again.arrays["x"])  # type: ignore[index]


def test_a_cache_cut_short_is_decoded_anew(tmp_path: Path):
    whole = data.load("digits", data_dir=tmp_path)
    (file,) = tmp_path.rglob("train/x.npy")
    file.write_bytes(file.read_bytes()[:1_000])
    again = data.load("digits", data_dir=tmp_path)
    np.testing.assert_array_equal(whole.arrays["x"], again.arrays["x"])  # type: ignore[index]
    assert file.stat().st_size > 64_000


@pytest.mark.parametrize("case", ["one bit", "another split's file", "another split", "a head"])
def test_a_damaged_or_exchanged_cache_is_never_used(case: str, data_dir: Path, tmp_path: Path):
    train = data.load("digits", "train", data_dir)
    data.load("digits", "test", data_dir)
    shutil.copytree(data_dir, tmp_path / "data")
    (home,) = (tmp_path / "data" / "genjax_models").glob("digits-*-arrays*")
    file = home / "train" / "x.npy"
    content = bytearray(file.read_bytes())
    if case == "one bit":
        content[-7] ^= 1
        file.write_bytes(content)
    elif case == "another split's file":
        shutil.copy(home / "test" / "x.npy", file)
    elif case == "another split":
        shutil.rmtree(home / "train")
        shutil.copytree(home / "test", home / "train")
    else:
        file.write_bytes(content.replace(b"(1000, 8, 8, 1)", b"(9999, 9, 9, 9)", 1))
    again = data.load("digits", "train", tmp_path / "data")
    np.testing.assert_array_equal(again.arrays["x"], train.arrays["x"])  # type: ignore[index]
    np.testing.assert_array_equal(again.arrays["label"], train.arrays["label"])  # type: ignore[index]
    assert read_cache(home / "train") is not None  # written anew


def test_streaming_gives_the_same_examples(data_dir: Path):
    memory = data.load("digits", "train[100:200]", data_dir)
    stream = data.load("digits", "train[100:200]", data_dir, in_memory=False)
    assert stream.arrays is None and len(stream) == len(memory) == 100
    indices = np.array([99, 0, 42])
    for name, value in memory.rows(indices).items():
        streamed = stream.rows(indices)[name]
        np.testing.assert_array_equal(streamed, value)
        assert streamed.dtype == value.dtype


def test_an_interrupted_preparation_leaves_nothing_to_believe(tmp_path: Path, monkeypatch):
    builder = RECIPES["digits"].builder_class()
    whole = builder._generate_examples

    def broken(self, images, labels):
        for i, example in enumerate(whole(self, images, labels)):
            if i == 10:
                raise KeyboardInterrupt
            yield example

    with monkeypatch.context() as patch:
        patch.setattr(builder, "_generate_examples", broken)
        with pytest.raises(KeyboardInterrupt):
            data.load("digits", data_dir=tmp_path)
    # What a kill in the middle would leave lying about must not be taken for the set either.
    (tmp_path / "digits" / "incomplete.ABCDEF_1.0.0").mkdir()
    assert len(data.load("digits", data_dir=tmp_path)) == 1_000


def test_two_processes_may_prepare_at_once(tmp_path: Path):
    code = (
        "import sys; from genjax_models import data;"
        "print(int(data.load('digits', 'test', sys.argv[1]).rows(range(447))['x'].sum()))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert {int(said) for said in sums} == {int(load_digits().images[1_350:].sum())}


def test_a_set_in_another_format_is_left_alone(tmp_path: Path):
    """A user may hold the same set as TensorFlow wrote it, which cannot be read without it."""
    data.load("digits", data_dir=tmp_path)
    shutil.rmtree(tmp_path / "genjax_models")
    info = tmp_path / "digits" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    before = info.read_text()
    assert len(data.load("digits", data_dir=tmp_path)) == 1_000
    assert info.read_text() == before


def test_importing_the_package_is_light():
    heavy = "tensorflow_datasets", "sklearn", "grain", "matplotlib", "PIL", "h5py"
    said = run(f"import sys, genjax_models.data; print([m for m in {heavy} if m in sys.modules])")
    assert said.strip() == "[]"


def test_a_slice_of_a_split(data_dir: Path):
    whole = data.load("digits", "train", data_dir)
    part = data.load("digits", "train[90%:]", data_dir)
    assert len(part) == 100 and part.split == "train[90%:]"
    np.testing.assert_array_equal(part.rows([0])["x"], whole.rows([900])["x"])
    with pytest.raises(ValueError, match="is empty: the slice holds none of the 1000"):
        data.load("digits", "train[:0]", data_dir)


@pytest.mark.parametrize(
    ("name", "message"),
    [("mnits", "did you mean mnist?"), ("zzz", "known: digits, mnist"), ("DIGITS", "no data set")],
)
def test_an_unknown_name_names_the_nearest(name, message, data_dir: Path):
    with pytest.raises(ValueError, match=message) as error:
        data.load(name, data_dir=data_dir)
    assert "\n" not in str(error.value)


def test_an_unknown_split_lists_the_splits(data_dir: Path):
    with pytest.raises(ValueError, match="digits has no split 'trian'; it has train, validation"):
        data.load("digits", "trian", data_dir)
    with pytest.raises(ValueError, match="ring has no split 'dev'"):
        data.load("ring", "dev", data_dir)


def test_a_data_folder_that_cannot_be_written(tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(PermissionError, match="cannot be written .*; give another data_dir"):
        data.load("digits", data_dir=file / "below")


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.sources])
def test_files_missing_without_network_fail_at_once(name, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GENJAX_DATA", str(tmp_path / "nothing"))
    for scheme in ("http", "https"):  # nobody listens there
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    start = time.perf_counter()
    with pytest.raises(FileNotFoundError, match=f"{name}/.*") as error:
        data.load(name, data_dir=tmp_path)
    assert time.perf_counter() - start < 10
    assert "is not prepared yet" in str(error.value) and "\n" not in str(error.value)


def test_a_host_that_does_not_answer_is_not_waited_for(monkeypatch):
    import socket

    with socket.socket() as silent:  # takes connections, says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.perf_counter()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        assert prepare.unreachable(url, seconds=0.3) == "127.0.0.1 cannot be reached"
        assert time.perf_counter() - start < 2


def test_every_name_says_its_splits():
    for name in data.names():
        assert data.split_names(name) == ("train", "validation", "test")
