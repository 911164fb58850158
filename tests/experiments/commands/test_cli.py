"""The commands on a tiny run: what they write, and how a run is taken up again."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import genjax_models as gm
from experiments import recipes
from experiments.commands import cli
from experiments.commands.arguments import parse_experiment
from experiments.commands.train import TrainArguments
from experiments.recipes import translation
from experiments.runner import config, datasets, loading, recordings, runs
from experiments.runner import evaluate as evaluation
from experiments.runner.files import locked
from genjax_models.core import DIGITS, DataSpec
from genjax_models.data import Dataset, densities
from genjax_models.training import hooks
from tests.experiments.conftest import TINY


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_version(run):
    assert run("--version").out == f"genjax_models {gm.__version__}\n"


def test_every_command_is_in_the_usage(run):
    lines = run("--help").out.splitlines()
    assert max(map(len, lines)) <= 100
    for name in cli.COMMANDS:
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1


def test_list_names_every_experiment_with_its_goal(run):
    answer = run("list")
    assert answer.code == 0
    for name, experiment in recipes.experiments().items():
        line = next(li for li in answer.out.splitlines() if li.split()[0] == name)
        assert experiment.family in line
        assert experiment.config.dataset in line
        assert f"{experiment.config.steps:,}" in line
        assert experiment.goal is None or str(experiment.goal) in line


def test_help(run):
    assert "train NAME" in run("--help").out
    assert "vae" in run("train", "--help").out
    assert "--optimizer.learning-rate" in run("train", "vae", "--help").out
    assert run().code == 2


def test_a_reader_of_a_command_may_go_away(tmp_path):
    """Whether the command has written more than it could, or has yet to be flushed."""
    for num in (3, 100_000):
        said = tmp_path / f"{num}.txt"
        code = (
            "import sys; from experiments.commands import cli;"
            f"cli._run = lambda argv: print('line\\n' * {num}) or 0;"
            "sys.stdin.read(); sys.exit(cli.main([]))"
        )
        end = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said.open("w"),
        )
        end.stdout.close()
        end.stdin.close()  # it writes from now on, and nobody reads
        assert end.wait(120) == 0
        assert said.read_text() == ""


def test_files_of_a_run(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *("config.json", "metrics.jsonl", "result.json", "record.json", "samples.png"),
        *("reconstructions.png", "curves.png", "report.html", "tensorboard", "checkpoints"),
        *("model.json", "weights.safetensors"),
    }
    assert list((finished / "tensorboard").glob("events.out.tfevents.*"))
    for name in ("samples.png", "reconstructions.png", "curves.png"):
        with Image.open(finished / name) as image:
            assert len(set(image.convert("L").tobytes())) > 2


def test_metrics_of_a_run(finished):
    found = [(row["step"], row["split"]) for row in rows(finished)]
    train = [(step, "train") for step in (5, 10, 15, 20)]
    assert sorted(found) == sorted([*train, (10, "validation"), (20, "validation")])
    for row in rows(finished):
        assert {"vae/loss", "vae/kl", "vae/reconstruction"} < set(row)
        total = row["vae/kl"] + row["vae/reconstruction"]
        assert row["vae/loss"] == pytest.approx(total, rel=1e-5)


def test_result_of_a_run(finished):
    result = json.loads((finished / "result.json").read_text())
    nll = result["metrics"]["nll"]
    assert nll["unit"] == "nats an example"
    assert "bound" in nll["kind"]
    assert "1 sample" in nll["kind"]
    bits = result["metrics"]["bits_per_dim"]["value"]
    assert bits == pytest.approx(nll["value"] / 64 / np.log(2), rel=1e-5)
    assert result["split"] == "test"
    assert result["examples"] == 447
    assert result["seed"] == 0
    assert result["steps"] == 20
    assert result["goal"].startswith("nll ≤ 95")
    assert result["reached"] is False
    assert result["seconds"] > 0
    assert result["steps_per_second"] > 0
    assert "train vae --steps 20" in result["command"]


def test_report_needs_nothing_but_itself(finished):
    page = (finished / "report.html").read_text()
    assert re.findall(r"https?:", re.sub(r'base64,[^"]*"', "", page)) == []
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert len(sources) == 4  # curves on a light and on a dark page, samples, reconstructions
    assert all(source.startswith("data:image/") for source in sources)
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", page))
    assert "<script" not in page
    assert f"changed from {recipes.find('vae').config.steps}" in page
    assert "$" not in re.sub(r'base64,[^"]*"', "", page)


def test_evaluate_gives_the_figures_of_the_result_again(run, finished):
    answer = run("evaluate", finished)
    result = json.loads((finished / "result.json").read_text())
    assert answer.code == 0
    assert f"nll {result['metrics']['nll']['value']:.5g}" in answer.out
    tighter = run("evaluate", finished, "--num-samples", "20", "--split", "validation")
    assert ", 20 samples" in tighter.out
    assert "validation nll" in tighter.out


def test_sample_is_a_function_of_the_seed(run, finished, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        answer = run("sample", finished, "--num", "6", "--seed", seed, "--out", f"{name}.npz")
        assert answer.code == 0
    a, b, c = (np.load(tmp_path / f"{name}.npz")["x"] for name in "abc")
    assert a.shape == (6, 8, 8, 1)
    assert a.dtype == np.uint8
    assert a.max() <= 16
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert run("sample", finished, "--num", "6").code == 0
    assert Image.open(tmp_path / "samples.png").size == (3 * 58 + 2, 2 * 58 + 2)


def test_a_run_is_loaded_from_its_directory_alone(finished, monkeypatch):
    import genjax_models as gm

    monkeypatch.setattr(gm, "load", None)
    run = loading.load_run(finished)
    assert run.record.experiment.name == "vae"
    assert run.record.config.model.hidden == (8,)
    assert int(run.state.step) == 20
    assert run.record.spec.num_levels == 17
    images = run.setup.model.sample(run.params, jax.random.key(0), 3)
    assert images.shape == (3, 8, 8, 1)


def test_a_run_of_before_there_were_tokenizers_can_be_read(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "old")
    values = json.loads((copy / "config.json").read_text())
    for name in ("window", "tokenizer", "bpe_size"):
        del values["config"][name]
    del values["spec"]["tokenizer"]
    (copy / "config.json").write_text(json.dumps(values))
    assert loading.read(copy).spec == loading.read(finished).spec
    assert loading.read(copy).config == loading.read(finished).config


def test_a_finished_run_is_left_alone(run, finished):
    before = (finished / "result.json").stat().st_mtime_ns
    answer = run("train", "vae", *TINY, "--run-dir", finished)
    assert answer.code == 0
    assert "is finished" in answer.out
    assert (finished / "result.json").stat().st_mtime_ns == before


def test_another_configuration_is_refused(run, finished):
    answer = run("train", "vae", *TINY, "--seed", "3", "--ema", "0.9", "--run-dir", finished)
    assert answer.code == 2
    assert "--seed 0 -> 3" in answer.line
    assert "--ema 0.999 -> 0.9" in answer.line
    assert "--steps" not in answer.line
    may_change = run("train", "vae", *TINY, "--mapping", "pmap", "--run-dir", finished)
    assert may_change.code == 0


def test_ctrl_c_and_resume_give_the_run_that_was_not_stopped(run, finished, tmp_path, monkeypatch):
    json_lines = hooks.json_lines

    def interrupting(path):
        report = json_lines(path)

        def interrupt(state, metrics, /, split="train"):
            report(state, metrics, split)
            if int(state.step) == 15:
                signal.raise_signal(signal.SIGINT)

        return interrupt

    directory = tmp_path / "stopped"
    monkeypatch.setattr(hooks, "json_lines", interrupting)
    answer = run("train", "vae", *TINY, "--run-dir", directory)
    assert answer.code == 130
    said = answer.err.strip().splitlines()[-1]
    assert "step 15 is saved" in said
    assert "python -m experiments train vae --steps 20" in said
    assert not (directory / "result.json").exists()

    monkeypatch.setattr(hooks, "json_lines", json_lines)
    # As if it had gone on after its last checkpoint, and been killed in the middle of a line.
    with (directory / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 20, "split": "train", "vae/loss": 0.0}) + "\n{'step")
    answer = run(*said.split("python -m experiments ")[1].split())
    assert answer.code == 0
    assert "resuming from step 15 of 20" in answer.err
    assert rows(directory) == rows(finished)
    metrics = [
        json.loads((d / "result.json").read_text())["metrics"] for d in (directory, finished)
    ]
    assert metrics[0] == metrics[1]


# Nothing is learned, so that no evaluation is better than the first one, that of step 2.
IDLE = [*TINY, "--optimizer.learning-rate", "1e-30", "--ema", "0", "--evaluation.every", "2"]


def test_a_run_that_gets_no_better_stops_and_keeps_its_best(run, tmp_path, monkeypatch):
    settings = [*IDLE, "--evaluation.patience", "2"]
    answer = run("train", "vae", *settings, "--run-dir", "once")
    assert answer.code == 0
    assert "stopped at step 6: vae/loss was lowest at step 2" in answer.err
    result = json.loads((tmp_path / "once" / "result.json").read_text())
    assert result["steps"] == 2
    assert int(loading.load_run("once").state.step) == 2
    assert f"nll {result['metrics']['nll']['value']:.5g}" in run("evaluate", "once").out

    evaluate, calls = evaluation.validation_loss, []

    def interrupting(*args):
        measure = evaluate(*args)

        def interrupt(state):
            calls.append(int(state.step))
            if len(calls) == 2:
                signal.raise_signal(signal.SIGINT)
            return measure(state)

        return interrupt

    monkeypatch.setattr(evaluation, "validation_loss", interrupting)
    assert run("train", "vae", *settings, "--run-dir", "twice").code == 130
    assert run("train", "vae", *settings, "--run-dir", "twice").code == 0
    assert calls == [2, 4, 6, 2]  # two before the stop, one after it, and the final figures
    assert rows(tmp_path / "twice") == rows(tmp_path / "once")
    again = json.loads((tmp_path / "twice" / "result.json").read_text())
    assert again["metrics"] == result["metrics"]


def test_two_runs_in_one_folder(run, tmp_path):
    """The second one is refused; the lock of a process that is no more is nobody's."""
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "lock").write_text("12345")
    with locked(tmp_path / "r"):
        answer = run("train", "vae", *TINY, "--run-dir", "r")
        assert answer.code == 2
        assert f"r is being trained by process {os.getpid()}: wait for it" in answer.line
        assert {path.name for path in (tmp_path / "r").iterdir()} == {"lock"}
    assert not (tmp_path / "r" / "lock").exists()
    with locked(tmp_path / "r"):
        pass


def test_a_run_that_never_saved_anything_may_be_started_otherwise(run, tmp_path):
    answer = run("train", "vae", *TINY, "--batch-size", "5000", "--run-dir", "r")
    assert answer.code == 2
    assert not (tmp_path / "r").exists()
    answer = run("train", "vae", *TINY, "--optimizer.learning-rate", "1e30", "--run-dir", "r")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    assert "vae" in answer.err.strip().splitlines()[-1]
    assert run("train", "vae", *TINY, "--run-dir", "r").code == 0
    assert [row["step"] for row in rows(tmp_path / "r")] == [5, 10, 10, 15, 20, 20]


def test_training_on_images_from_disk(run, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3)).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", x=images)
    likelihood = ("--model.likelihood", "discretized_logistic")
    answer = run("train", "vae", *TINY, "--dataset", "mine.npz", *likelihood)
    directory = tmp_path / "runs" / "vae-mine-seed0"
    assert answer.code == 0
    os.remove(tmp_path / "mine.npz")
    assert run("sample", directory).code == 0
    result = json.loads((directory / "result.json").read_text())
    assert result["split"] == "test"  # held back of the one split that there is


def test_bench(run):
    answer = run("bench", "vae", *TINY, "--repeats", "2")
    assert answer.code == 0
    result = json.loads(answer.out)
    assert {
        *("steps_per_second", "examples_per_second", "compile_seconds", "peak_resident_mib"),
        *("loop_overhead", "experiment", "dataset", "repeats"),
    } <= set(result)
    assert result["examples_per_second"] == pytest.approx(16 * result["steps_per_second"])
    assert result["compile_seconds"] > 0
    assert result["peak_resident_mib"] > 50
    low, high = result["loop_overhead_range"]
    assert low <= result["loop_overhead"] <= high


def test_copied_runs_can_be_moved(run, finished, tmp_path):
    moved = shutil.copytree(finished, tmp_path / "elsewhere")
    assert run("evaluate", moved).code == 0


def test_a_run_starts_from_another_ones_parameters(run, finished):
    """With a learning rate of nothing, it ends where the other one ended."""
    settings = [*TINY, "--initial", finished, "--optimizer.learning-rate", "1e-30"]
    assert run("train", "vae", *settings, "--run-dir", "second").code == 0
    before, after = loading.load_run(finished), loading.load_run("second")
    for a, b in zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    other = run("train", "vae", *TINY, "--initial", finished, "--model.latent-dim", "3")
    assert other.code == 2
    assert "of another model" in other.err.splitlines()[-1]
    assert run("train", "vae", *TINY, "--initial", "nowhere", "--run-dir", "third").code == 2


def flipped(settings):
    """Settings with all that is true or false the other way round."""
    values = {name: getattr(settings, name) for name in vars(settings)}
    changes = {name: not value for name, value in values.items() if isinstance(value, bool)}
    inner = {name: flipped(v) for name, v in values.items() if dataclasses.is_dataclass(v)}
    return dataclasses.replace(settings, **changes, **inner)


def test_a_command_line_says_the_configuration_again():
    num_flipped = 0
    for name, found in recipes.experiments().items():
        changed = dataclasses.replace(flipped(found.config), steps=12_345, without_labels=(1, 2))
        line = runs.command_line(found, changed, runs.default_directory(name, changed))
        words = shlex.split(line)
        assert words[:5] == ["python", "-m", "experiments", "train", name]
        assert parse_experiment(TrainArguments, "train", words[4:])[1].configuration == changed
        num_flipped += line.count("--model.no-")
    assert num_flipped > 0


def test_a_switch_without_a_dot():
    assert config.switch("fast_start", False) == "--no-fast-start"
    assert config.switch("model.fast_start", False) == "--model.no-fast-start"
    assert config.switch("model.fast_start", True) == "--model.fast-start"


SPECS = {
    "digits": DIGITS,
    "mnist": DataSpec((28, 28, 1), 256, 10),
    "usps": DataSpec((16, 16, 1), 256, 10),
    "stacked_mnist": DataSpec((28, 28, 3), 256, 1000),
    "cifar10": DataSpec((32, 32, 3), 256, 10),
    "facades": DataSpec((256, 256, 3), 256),
    "spoken_digit": DataSpec((8_192, 1), 65_536, 10),
    "shapes2d": DataSpec((32, 32, 1), 256, 3),
    "moving_digits": DataSpec((8, 16, 16, 1), 17, 10),
    "tiny_shakespeare": DataSpec((256,), 65, vocabulary=tuple(map(chr, range(65)))),
    "markov": DataSpec((256,), 23, vocabulary=tuple(map(chr, range(23)))),
    **{name: DataSpec((2,), None) for name in densities.DENSITIES},
}


def made_up(name, split="train", data_dir=None):
    """Ten examples of noise in the shape of a set that is not at hand."""
    spec = SPECS[name]
    noise = np.random.default_rng(0).integers(0, spec.num_levels, (10, *spec.shape))
    x = noise.astype(np.uint8 if spec.num_levels <= 256 else np.uint16)
    beside = {"condition": x} if name == "facades" else {"speaker": np.arange(10) % 5}
    return Dataset(spec, split, {"x": x, "label": np.arange(10, dtype=np.int32), **beside})


@pytest.fixture
def data_at_hand(monkeypatch):
    """Experiments that make their data themselves make them of noise."""
    made, load = (translation.images, recordings.spectrograms), gm.load

    def load_or_make_up(name, *args, **kwargs):
        at_hand = name in ("digits", "progressions")
        return load(name, *args, **kwargs) if at_hand else made_up(name, *args)

    for remembered in made:
        remembered.cache_clear()
    monkeypatch.setattr("genjax_models.load", load_or_make_up)
    yield
    for remembered in made:
        remembered.cache_clear()


def a_batch(config):
    """Descriptions of what an experiment's data are, and of four of them."""
    if isinstance(config.model, datasets.Loads):
        data = config.model.load(config, "test")
        rows = data.rows(np.arange(4) % len(data))
        return data.spec, {k: jax.ShapeDtypeStruct(a.shape, a.dtype) for k, a in rows.items()}
    spec = SPECS[config.dataset]
    if config.window is not None:
        spec = dataclasses.replace(spec, shape=(config.window,))
    dtype = "float32" if spec.num_levels is None else "int32" if spec.vocabulary else "uint8"
    label = jax.ShapeDtypeStruct((4,), "int32")
    return spec, {"x": jax.ShapeDtypeStruct((4, *spec.shape), dtype), "label": label}


@pytest.mark.parametrize("name", recipes.experiments())
def test_every_experiment_makes_a_model_of_its_data(name, data_at_hand):
    experiment = recipes.find(name)
    spec, batch = a_batch(experiment.config)
    setup = experiment.build(experiment.config, spec)
    assert set(setup.losses or {}) <= set(setup.model.players)
    params, state = jax.eval_shape(setup.model.init, jax.random.key(0), batch)
    condition = setup.condition(6)
    sample = functools.partial(setup.model.sample, num=6, **condition)
    x = jax.eval_shape(lambda p, k, s: sample(p, k, state=s), params, jax.random.key(0), state)
    assert x.shape == (6, *spec.shape) and x.dtype == batch["x"].dtype
