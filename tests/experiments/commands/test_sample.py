"""`sample`: which options a run takes, what they change, and what is written where."""

from __future__ import annotations

import types
from typing import get_args

import jax
import numpy as np
import pytest
from PIL import Image

import genjax_models as gm
from experiments import recipes
from experiments.commands.sample import options_of
from experiments.recipes.diffusion import SAMPLERS
from experiments.runner import loading, samples
from experiments.runner.config import SamplerName
from experiments.runner.files import check_folder, check_output
from genjax_models.core import DIGITS, DataSpec
from tests.experiments.conftest import TINY

TEXT = DataSpec((8,), 27, vocabulary=tuple("abcdefghijklmnopqrstuvwxyz "))


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """The directory of a run of a conditional VAE."""
    from experiments.commands import cli

    directory = tmp_path_factory.mktemp("runs") / "conditional"
    argv = ["train", "cvae", *TINY, "--evaluation.none", "--run-dir", str(directory)]
    assert cli.main(argv) == 0
    return directory


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("vae", "mean"),
        ("cvae", "label mean"),
        ("ddpm", "label guidance sampler steps"),
        ("latent_diffusion", "label guidance sampler steps"),
        ("consistency", "label sampler steps"),
        ("masked_text", "steps temperature"),
        ("pixelcnn", "temperature"),
        ("glow", "temperature"),
        ("energy_digits", "steps"),
        ("jem_digits", "label steps"),
        ("progan_digits", ""),
    ],
)
def test_a_run_takes_what_its_models_sample_takes(name, takes):
    found = recipes.find(name)
    spec = DIGITS if found.config.dataset == "digits" else TEXT
    run = types.SimpleNamespace(setup=found.build(found.config, spec))
    assert " ".join(options_of(run)) == takes


def test_every_sampler_has_its_function():
    assert set(SAMPLERS) == set(get_args(SamplerName))


def test_an_option_that_the_model_does_not_take_is_refused_before_the_work(run, finished, tmp_path):
    for option in (["--label", "3"], ["--guidance", "0"], ["--steps", "5"], ["--sampler", "heun"]):
        line = run("sample", finished, *option).line
        assert f"{option[0]} is given" in line and line.endswith("whose samples take --mean")
    assert not list(tmp_path.iterdir())


def test_the_mean_in_place_of_a_draw(run, finished, tmp_path):
    assert run("sample", finished, "--mean", "--num", "5", "--out", "mean.npz").code == 0
    trained = loading.load_run(finished)
    mean = trained.setup.model.sample(trained.params, jax.random.key(0), 5, mean=True)
    kept = np.load(tmp_path / "mean.npz")
    np.testing.assert_allclose(kept["x"], mean, atol=1e-4)
    assert list(kept) == ["x"]  # they are between the levels


def test_a_label_is_that_of_all_samples(run, conditional, tmp_path):
    assert run("sample", conditional, "--label", "3", "--num", "5", "--out", "a.npz").code == 0
    drawn = np.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(drawn["label"], np.full(5, 3))
    trained = loading.load_run(conditional)
    x = trained.setup.model.sample(trained.params, jax.random.key(0), 5, label=3)
    np.testing.assert_array_equal(drawn["x"], x)
    assert "it has 0 .. 9" in run("sample", conditional, "--label", "cat").line


def test_a_folder_of_samples_is_a_dataset_with_labels(run, conditional, tmp_path):
    assert run("sample", conditional, "--num", "21", "--out", "drawn").code == 0
    assert run("sample", conditional, "--num", "21", "--out", "drawn.npz").code == 0
    data, kept = gm.load(tmp_path / "drawn", "all"), np.load(tmp_path / "drawn.npz")
    order = np.lexsort((np.arange(21), kept["label"]))  # files are read by class, then by number
    np.testing.assert_array_equal(data.arrays["label"], kept["label"][order])
    levels = np.round(kept["x"][order] * (255 / 16))
    np.testing.assert_array_equal(data.arrays["x"], levels)


def test_folders_have_the_names_of_classes_that_can_be_names(tmp_path):
    x, label = np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 1])
    for names, expected in {
        ("dog", "cat"): ["cat/1.png", "cat/2.png", "dog/0.png"],
        ("a/b", "cat"): ["0/0.png", "1/1.png", "1/2.png"],
        ("test", "cat"): ["0/0.png", "1/1.png", "1/2.png"],  # else a split
    }.items():
        spec = DataSpec((8, 8, 3), num_classes=2, class_names=names)
        samples.write_folder(x, label, spec, tmp_path / "drawn")
        files = (p.relative_to(tmp_path / "drawn") for p in tmp_path.glob("drawn/*/*.png"))
        assert sorted(map(str, files)) == expected
    with Image.open(tmp_path / "drawn/0/0.png") as image:
        assert image.mode == "RGB"
    samples.write_folder(x, None, spec, tmp_path / "drawn")
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["0.png", "1.png", "2.png"]
    assert [p.name for p in tmp_path.iterdir()] == ["drawn"]


def test_nothing_is_overwritten_unless_it_is_asked_for(run, finished, tmp_path):
    for out in ("a.png", "a.npz", "folder"):
        argv = ("sample", finished, "--num", "3", "--out", out)
        assert run(*argv).code == 0
        assert "give --overwrite" in run(*argv).line
        assert run(*argv, "--overwrite").code == 0
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    assert "holds other files (thesis.txt)" in run(*argv, "--overwrite").line
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "mine"
    assert run("sample", finished, "--num", "3").code == 0
    assert "--out is samples.png, which is there already" in run("sample", finished).line


@pytest.mark.parametrize(
    "argv",
    [
        ("edit", "nowhere", "--out", "there.png"),
        ("compress", "nowhere", "there.gjx"),
        ("decompress", "nowhere", "there.gjx", "there.npz"),
        ("convert", "nowhere", "mine.wav", "there.wav"),
        ("debias", "--out", "there.png"),
        ("augment", "--out", "there.png"),
        ("judge", "--csv", "there.csv"),
        ("watch", "--out", "watched"),
    ],
)
def test_no_command_replaces_a_file_by_itself(run, tmp_path, argv):
    (tmp_path / "watched").mkdir()
    there = [tmp_path / f"there.{ending}" for ending in ("png", "gjx", "npz", "csv", "wav")]
    for path in (*there, tmp_path / "watched" / "watch.gif"):
        path.write_text("kept")
    assert "already: give --overwrite" in run(*argv).line
    assert all(path.read_text() == "kept" for path in there)


def test_a_folder_for_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="which is for images"):
        samples.check_file(tmp_path / "texts", TEXT)
    with pytest.raises(ValueError, match="is a file"):
        (tmp_path / "note").write_text("")
        check_folder(tmp_path / "note" / "below", "")
    check_output(tmp_path / "note", overwrite=True)
