"""Every experiment on every kind of data: it begins, or refuses in one line before step 1."""

from __future__ import annotations

import json
import re

import jax
import numpy as np
import pytest
from PIL import Image

import genjax_models as gm
from experiments import recipes
from experiments.runner import rehearsal, train
from experiments.runner.config import fields
from experiments.runner.files import LOCK

KINDS = ("grey", "unlabelled", "small", "points", "text", "music")
SMALL = {
    **{"channels": 8, "width": 8, "layers": 1, "blocks": 1, "steps": 1, "heads": 2, "head": 4},
    **{"sampling_steps": 2, "chain_steps": 1, "buffer": 0, "first_size": 3},
    **{
        "num_scales": 1,
        "num_halvings": 1,
        "intervals": 2,
        "num_bins": 4,
        "hidden": 4,
        "latent_dim": 2,
        "flow_layers": 1,
    },
    **{"pool_size": 8, "discriminator_channels": 2, "components": 1},
}
OPTIONS = [
    *("--steps", "2", "--batch-size", "8", "--devices", "1", "--optimizer.warmup-steps", "0"),
    *("--evaluation.split", "validation", "--evaluation.batch-size", "20"),
    *("--evaluation.num-samples", "1", "--evaluation.examples", "20", "--evaluation.every", "2"),
]
NUM = 40


OF_OTHER_DATA = (
    *("consistency", "latent_diffusion"),  # which stand on another run
    *("gan_stacked_mnist", "pix2pix_facades", "cyclegan_mnist_usps", "cyclegan_facades"),
    *("moving_digits", "spoken_digits", "voice_conversion"),
)
"""Experiments that none of these kinds suits."""


class BeginsError(Exception):
    """What training is replaced by."""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A tiny dataset of each kind."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)

    def images(*shape):
        return rng.integers(0, 256, (NUM, *shape)).astype(np.uint8)

    label = np.arange(NUM) % 3
    np.savez(folder / "grey.npz", x=images(8, 8, 1), y=label)
    np.savez(folder / "unlabelled.npz", x=images(8, 8, 3))
    np.savez(folder / "colour.npz", x=images(8, 8, 3), y=label)
    np.savez(folder / "small.npz", x=images(3, 5, 1), y=label)
    np.savez(folder / "points.npz", x=rng.normal(size=(NUM, 2)).astype(np.float32))
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    piece = [[60 + i % 3, 55, 48, 40] for i in range(40)]
    pieces = {"train": [piece] * 4, "valid": [piece] * 2, "test": [piece] * 2}
    (folder / "music.json").write_text(json.dumps(pieces))
    return {path.stem: str(path) for path in folder.iterdir()}


def options(name, kind, path):
    """The command line of a small model on such data."""
    config = recipes.find(name).config
    given = ["--dataset", path, "--split", "train", *OPTIONS]
    for key, _, value in fields(config):
        last = key.rpartition(".")[2]
        if key.startswith("model.") and last in SMALL and value is not None:
            several = len(value) if isinstance(value, tuple) else 1
            words = [str(SMALL[last])] * several
            given += ["--" + key.replace("_", "-"), *words]
    windows = {"text": "40", "music": "8"}
    if config.window is not None or kind in windows:
        given += ["--window", windows.get(kind, "None")]
    return given


@pytest.mark.parametrize("name", recipes.experiments())
def test_an_experiment_begins_or_refuses_in_one_line(run, name, paths, tmp_path, monkeypatch):
    begun = []

    def begin(model, data, *arguments, **named):
        begun.append((model, data))
        raise BeginsError

    monkeypatch.setattr(train.training, "fit", begin)
    for kind in KINDS:
        directory = tmp_path / kind
        answer = run(
            "train", name, *options(name, kind, paths[kind]), "--run-dir", directory,
            "--no-compilation-cache",
        )  # fmt: skip
        if "BeginsError" in answer.err:
            continue
        assert answer.code == 2, (kind, answer.err)
        *notes, line = answer.err.strip().splitlines()  # such as that a dataset is prepared
        assert line.startswith("error: ") and not any("Traceback" in note for note in notes)
        assert not any(path.name != LOCK for path in directory.glob("*")), kind
    for model, data in begun[:1]:
        batch = data.rows(np.arange(2))
        shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
        gm.save(tmp_path, model, *jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes))
        assert gm.load_model(tmp_path)[0] == model
    assert begun or name in OF_OTHER_DATA


@pytest.mark.parametrize("name", ["cvae", "cgan_mnist", "jem_digits", "ddpm"])
def test_what_needs_labels_refuses_data_without_them(run, name, paths):
    asked = ["--model.guidance", "3"] if name == "ddpm" else []  # which needs none of itself
    answer = run("train", name, *options(name, "unlabelled", paths["unlabelled"]), *asked)
    assert answer.code == 2
    assert "needs labels" in answer.line and "without labels" in answer.line
    assert "--dataset" in answer.line


def test_a_figure_that_cannot_be_had_is_told_first_and_left_out(run, paths, tmp_path):
    given = options("vae_gan", "unlabelled", paths["unlabelled"])
    answer = run("train", "vae_gan", *given, "--run-dir", "run")
    assert answer.code == 0, answer.err
    assert answer.err.index("will be left out: it needs labels") < answer.err.index("training:")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert list(result["left_out"]) == ["distance_by_a_classifier"]
    assert not result["pending"] and "vae/adversarial" in result["metrics"]
    assert (tmp_path / "run" / "report.html").exists()


def test_a_disk_without_room_is_told_before_the_first_step(run, paths, monkeypatch):
    usage = rehearsal.shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(rehearsal.shutil, "disk_usage", lambda path: usage)
    answer = run("train", "vae", *options("vae", "grey", paths["grey"]))
    assert answer.code == 2
    assert "MiB free" in answer.line and "--run-dir" in answer.line


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("vae", "9", "cannot halve: give --model.network mlp; or give --size 8 8"),
        ("gan_mnist", "10", "multiples of 4, not 10x10: .*; or give --size 8 8"),
        ("vqvae", "13", "13x13 pixels cannot be halved .*; or give --size 12 12"),
        ("glow", "7", "7x7, which can be halved 0 times.*; or give --size 8 8"),
    ],
)
def test_a_size_that_cannot_be_halved_is_told_with_one_that_can(run, tmp_path, name, size, words):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        Image.effect_noise((30, 22), 90).save(folder / f"{i}.png")
    network = ["--model.network", "conv"] if name == "vae" else []
    options = ["--batch-size", "4", "--devices", "1", *network]
    answer = run("train", name, "--dataset", folder, "--size", size, *options)
    assert re.search(words, answer.err.splitlines()[-1]), answer.err
    assert answer.code == 2 and not (tmp_path / "runs").exists()
