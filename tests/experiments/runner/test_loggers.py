"""Loggers: each is given configuration, metrics, pictures and result, and goes on with its run."""

import json
import struct

import numpy as np
import pytest

from experiments.runner import loading, loggers
from genjax_models.training.hooks import read_json_lines
from tests.experiments.conftest import TINY


def figures(directory):
    return json.loads((directory / "result.json").read_text())["metrics"]


def events(data):
    """The events of a TensorBoard file: length, its checksum, event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    while data:
        (size,) = struct.unpack("<Q", data[:8])
        yield Event.FromString(data[12 : 12 + size])
        data = data[16 + size :]


def test_tensorboard_holds_scalars_images_configuration_and_result(finished):
    scalars, images, texts = {}, {}, {}
    for path in sorted((finished / "tensorboard").glob("events.*")):
        for event in events(path.read_bytes()):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars[value.tag, event.step] = value.simple_value
                elif value.HasField("image"):
                    images[value.tag] = value.image
                elif value.HasField("tensor"):
                    texts[value.tag.split("/")[0]] = value.tensor.string_val[0].decode()
    for row in read_json_lines(finished / "metrics.jsonl"):
        step, split = row.pop("step"), row.pop("split")
        for name, value in row.items():
            assert scalars[f"{split}/{name}", step] == pytest.approx(value, rel=1e-6)
    assert scalars["result/nll", 20] == pytest.approx(figures(finished)["nll"]["value"])
    assert set(images) == {"samples", "reconstructions"}
    assert images["samples"].width == 8 * 58 + 2
    assert '"latent_dim": 2' in texts["config"] and '"bits_per_dim"' in texts["result"]


class Told:
    """A logger that remembers what it was told."""

    said = []

    def __init__(self, directory):
        self.directory = directory

    def start(self, config):
        self.said.append(("start", config.steps))

    def __call__(self, state, metrics, /, split="train"):
        self.said.append((split, int(state.step)))

    def end(self, pictures, result):
        self.said.append(("end", sorted(pictures), sorted(result["metrics"])))

    def close(self, whole):
        self.said.append(("close", whole))


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(loggers, "OF_OTHERS", {"wandb": Told})
    monkeypatch.setattr(loggers, "check_installed", lambda names: None)
    monkeypatch.setattr(Told, "said", [])
    return Told.said


def test_a_logger_is_told_of_the_whole_run(run, told, tmp_path):
    assert run("train", "vae", *TINY, "--logger", "wandb", "--run-dir", "a").code == 0
    assert told[0] == ("start", 20)
    steps = [("train", 5), ("train", 10), ("validation", 10), ("train", 15), ("train", 20)]
    assert told[1:-2] == [*steps, ("validation", 20)]
    assert told[-2] == ("end", ["reconstructions", "samples"], sorted(figures(tmp_path / "a")))
    assert told[-1] == ("close", True)


def test_figures_that_come_later_are_told_too_and_what_fails_is_closed_so(run, told, tmp_path):
    argv = ("train", "vae", *TINY, "--logger", "wandb", "--run-dir", "a")
    assert run(*argv, "--evaluation.none").code == 0
    assert told[-2] == ("end", ["reconstructions", "samples"], [])
    told.clear()
    assert run(*argv).code == 0
    assert [said[0] for said in told] == ["start", "end", "close"]
    assert told[1][2] == sorted(figures(tmp_path / "a"))
    told.clear()
    with pytest.raises(RuntimeError):
        with loggers.opened(tmp_path / "a", loading.read(tmp_path / "a").config, ["wandb"]):
            raise RuntimeError
    assert [said[0] for said in told] == ["start", "close"] and told[-1] == ("close", False)


def test_a_package_that_is_missing_is_told_before_the_work(run, monkeypatch, tmp_path):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    answer = run("train", "vae", *TINY, "--logger", "mlflow")
    assert answer.code == 2
    assert "--logger mlflow needs mlflow" in answer.line and ".[mlflow]" in answer.line
    assert not list(tmp_path.iterdir())
    assert "wandb, mlflow" in run("train", "vae", "--logger", "papyrus").line


def test_mlflow_keeps_a_run(run, monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(f"file://{tmp_path}/mlruns")
    argv = ("train", "vae", *TINY, "--logger", "mlflow", "--run-dir", "a")
    assert run(*argv, "--evaluation.none").code == 0
    assert run(*argv).code == 0  # the figures: the same run goes on
    client = mlflow.MlflowClient()
    where = client.get_experiment_by_name("genjax_models").experiment_id
    (kept,) = client.search_runs([where])
    assert kept.info.status == "FINISHED" and kept.data.params["model.latent_dim"] == "2"
    rows = [r for r in read_json_lines(tmp_path / "a/metrics.jsonl") if r["split"] == "train"]
    history = client.get_metric_history(kept.info.run_id, "train/vae/loss")
    assert [m.step for m in history] == [row["step"] for row in rows]
    np.testing.assert_allclose([m.value for m in history], [row["vae/loss"] for row in rows])
    assert kept.data.metrics["result/nll"] == figures(tmp_path / "a")["nll"]["value"]
    files = {file.path for file in client.list_artifacts(kept.info.run_id)}
    assert files == {"samples.png", "reconstructions.png", "result.json"}


def test_wandb_keeps_a_run_offline(run, monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    argv = ("train", "vae", *TINY, "--logger", "wandb", "--run-dir", "a")
    assert run(*argv).code == 0
    (kept,) = (tmp_path / "a" / "wandb").glob("offline-run-*")
    number = json.loads((tmp_path / "a" / "loggers.json").read_text())["wandb"]
    assert kept.name.endswith(number) and list(kept.glob("run-*.wandb"))
    assert len(list(kept.glob("files/media/images/*.png"))) == 2
