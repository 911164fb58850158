"""Diffusion from the command line: few steps each, and runs that stand on another."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.commands import cli
from experiments.runner import loading, runs

SHORT = ("--steps", "4", "--batch-size", "8", "--log-every", "2", "--evaluation.every", "4")
FEW = ("--evaluation.num-samples", "2", "--evaluation.examples", "50", "--devices", "1")
UNET = (
    *("--model.channels", "8", "--model.multipliers", "1", "--model.blocks", "1"),
    *("--model.no-conditional", "--model.sampling-steps", "2", "--model.guidance", "1"),
    *("--optimizer.warmup-steps", "1"),
)


def train(name, directory, *options):
    argv = ["train", name, *SHORT, *FEW, *options, "--run-dir", str(directory)]
    assert cli.main(argv) == 0
    return json.loads((directory / runs.RESULT).read_text())


class Reads:
    """A classifier that says 3 of every image."""

    name = "three"

    def predict(self, x):
        return np.full(len(x), 3)

    def features(self, x):
        return np.asarray(x, np.float64).reshape(len(x), -1)[:, 9:12]


def test_a_diffusion_of_codes_starts_from_a_vae(tmp_path, monkeypatch):
    monkeypatch.setattr("genjax_models.metrics.load_classifier", lambda name: Reads())
    monkeypatch.setattr("experiments.measures.images.NUM_IMAGES", 40)
    first_stage = ("hidden", "8", "latent-dim", "2")
    vae = [f"--model.{a}" if i % 2 == 0 else a for i, a in enumerate(first_stage)]
    train("vae", tmp_path / "vae", *vae)
    latent = [f"--model.first-stage.{a}" if i % 2 == 0 else a for i, a in enumerate(first_stage)]
    small = ("--model.width", "8", "--model.blocks", "1", "--model.sampling-steps", "2")
    start = ("--initial", str(tmp_path / "vae"), "--optimizer.warmup-steps", "1")
    result = train("latent_diffusion", tmp_path / "run", *latent, *small, *start)
    share = 100 * 45 / 447  # of labels 0 .. 9 in turn, as many as the split has
    assert result["metrics"]["labels_read"]["value"] == pytest.approx(share)
    assert "three" in result["metrics"]["frechet_distance"]["kind"]
    carried = loading.load_run(tmp_path / "run").state.state["first_stage"]["params"]
    trained = loading.load_run(tmp_path / "vae").params
    np.testing.assert_array_equal(
        carried["decoder"]["Dense_0"]["kernel"], trained["decoder"]["Dense_0"]["kernel"]
    )


def test_what_stands_on_another_run_says_so(run, tmp_path):
    short = (*SHORT, "--optimizer.warmup-steps", "1")
    said = run("train", "consistency", *short, "--run-dir", tmp_path / "run")
    assert said.code == 2
    assert said.err == (
        "error: consistency stands on another run: train that first, and name it by --initial\n"
    )


def test_super_resolution_is_shown_small_images(tmp_path):
    result = train("super_resolution", tmp_path / "run", *UNET)
    psnr = {k: v["value"] for k, v in result["metrics"].items() if k.startswith("psnr")}
    assert 10 < psnr["psnr_of_cubic_interpolation"] < 40 and psnr["psnr"] > 0
    assert (tmp_path / "run" / "super_resolution.png").is_file()


def test_points_are_compared_with_the_truth(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.measures.modes.NUM_POINTS", 200)
    monkeypatch.setattr("experiments.measures.modes.PAIR_SIZE", 100)
    small = ("--model.width", "8", "--model.blocks", "1", "--model.sampling-steps", "2")
    result = train("flow_matching_points", tmp_path / "run", *small)
    metrics = {k: v["value"] for k, v in result["metrics"].items()}
    assert metrics["modes"] >= 1 and metrics["sliced_wasserstein"] > 0
    assert metrics["sliced_wasserstein_of_truth"] < metrics["sliced_wasserstein"]
