"""The commands `compress` and `decompress`, and the table of code lengths."""

import json

import numpy as np
import pytest

import genjax_models as gm
from experiments.benchmarks import compression as compression_table
from experiments.commands import compress, decompress
from experiments.runner import loading


@pytest.fixture
def digits_test():
    return gm.load("digits", split="test").rows(np.arange(12))["x"]


def test_there_and_back(finished, tmp_path, monkeypatch, capsys, digits_test):
    monkeypatch.chdir(tmp_path)
    assert compress.main([str(finished), "out.gjx", "--num", "12"]) == 0
    assert "12 examples in" in capsys.readouterr().out
    assert decompress.main([str(finished), "out.gjx", "back.npz"]) == 0
    with np.load("back.npz") as file:
        np.testing.assert_array_equal(file["x"], digits_test)
    again = [str(finished), "again.gjx", "--input", "back.npz", "--no-verify"]
    assert compress.main(again) == 0
    assert (tmp_path / "again.gjx").read_bytes() == (tmp_path / "out.gjx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.gjx", "back.npz", "out.gjx"]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        ((compress.main, "RUN", "out.zip"), "ends in .gjx"),
        ((compress.main, "RUN", "nowhere/out.gjx"), "no folder nowhere"),
        ((compress.main, "RUN", "out.gjx", "--input", "small.npz"), "shape"),
        ((decompress.main, "RUN", "text.gjx", "out.npz"), "not a file of compressed examples"),
        ((decompress.main, "RUN", "text.gjx", "out.png"), "ends in .npz"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(finished, tmp_path, monkeypatch, call, match):
    monkeypatch.chdir(tmp_path)
    np.savez("small.npz", x=np.zeros((2, 4, 4, 1), np.uint8))
    (tmp_path / "text.gjx").write_text("hello, I am a text")
    before = sorted(tmp_path.iterdir())
    command, *argv = call
    with pytest.raises(ValueError, match=match):
        command([str(finished) if word == "RUN" else word for word in argv])
    assert sorted(tmp_path.iterdir()) == before


def test_a_table_names_the_model_its_file_and_the_usual_formats(finished):
    row = compression_table.measure(loading.load_run(finished), 12, 0)
    words = 8 * (row["bytes"] - row["bytes_beside_the_code"])
    assert words == pytest.approx(row["code_bits_per_dim"] * 12 * 64)
    assert set(row["others"]) == {"gzip -9", "bz2 -9", "xz -9e", "PNG", "WebP"}
    assert "-ELBO" in compression_table.in_words(json.loads(json.dumps(row)))


def test_pictures_side_by_side_hold_every_image():
    x = np.zeros((5, 4, 4, 1), np.uint8)
    flat = compression_table.picture_sizes(x, 256)
    x[4, 1, 2] = 200
    assert all(size > flat[name] for name, size in compression_table.picture_sizes(x, 256).items())
    noise = np.random.default_rng(0).integers(0, 2, (64, 8, 8, 1)).astype(np.uint8)
    sizes = compression_table.usual_formats(noise, 2)
    assert all(size >= 64 * 8 for size in sizes.values())  # a bit an entry, and no format beats it
