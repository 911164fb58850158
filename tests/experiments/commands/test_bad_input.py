"""Every refusal: one line that says what was given and what is allowed, and exit code 2."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import recipes
from experiments.commands.arguments import in_options
from experiments.runner import files, samples
from experiments.runner.config import Config
from experiments.runner.datasets import load_split, load_splits
from genjax_models.core import DIGITS
from tests.experiments.conftest import TINY


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["lst"], ["'lst'", "list"]),
        (["train"], ["name of an experiment", "vae"]),
        (["train", "vea"], ["'vea'", "did you mean vae"]),
        (["bench", "vea"], ["'vea'", "did you mean vae"]),
        (["list", "more"], ["more"]),
        (["train", "vae", "--stepz", "4"], ["--stepz", "did you mean --steps"]),
        (["train", "vae", "--model.latnt-dim=4"], ["--model.latnt-dim", "--model.latent-dim"]),
        (["train", "vae", "--zzzzzz"], ["--zzzzzz", "--steps", "--model.hidden"]),
        (["train", "vae", "four"], ["'four'", "--"]),
        (["train", "vae", "--steps", "many"], ["--steps", "a whole number", "'many'"]),
        (["train", "vae", "--steps", "1.5"], ["--steps", "a whole number", "'1.5'"]),
        (["train", "vae", "--steps"], ["--steps", "nothing"]),
        (["train", "vae", "--devices", "x"], ["--devices", "a whole number or None", "'x'"]),
        (["train", "vae", "--optimizer.learning-rate", "1,5"], ["a number", "'1,5'"]),
        (["train", "vae", "--mapping", "vmap"], ["--mapping", "mesh, pmap", "'vmap'"]),
        (["train", "vae", "--model.hidden", "8", "x"], ["--model.hidden", "'8 x'"]),
        (["train", "vae", "--steps", "0"], ["--steps", "positive", "0"]),
        (["train", "vae", "--batch-size", "-1"], ["--batch-size", "positive", "-1"]),
        (["train", "vae", "--seed", "-1"], ["--seed", "at least 0 and at most 4294967295", "-1"]),
        (["train", "vae", "--seed", str(2**32)], ["--seed", "at most 4294967295", str(2**32)]),
        (["evaluate", "nowhere", "--seed", str(2**63)], ["--seed", "at most 4294967295"]),
        (["train", "vae", "--ema", "1"], ["--ema", "below 1", "1"]),
        (["train", "vae", "--model.hidden", "8", "0"], ["--model.hidden", "positive", "0"]),
        (["train", "vae", "--optimizer.learning-rate", "nan"], ["positive", "nan"]),
        (["train", "vae", "--optimizer.gradient-clip", "inf"], ["positive", "inf"]),
        (["train", "vae", "--evaluation.num-samples", "0"], ["--evaluation.num-samples"]),
        (["train", "vae", "--optimizer.warmup-steps", "9999"], ["9999", "steps"]),
        (["train", "vae", "--dataset", "digts"], ["'digts'", "digits"]),
        (["train", "vae", "--split", "trian"], ["'trian'", "train"]),
        (["train", "vae", "--batch-size", "5000"], ["5000", "1000"]),
        (["train", "vae", "--window", "9"], ["digits is not a text", "window"]),
        (["train", "vae", "--window", "0"], ["--window", "positive"]),
        (["train", "vae", "--tokenizer", "bytes"], ["digits is not a text", "tokenizer"]),
        (["train", "vae", "--tokenizer", "words"], ["characters, bytes, bpe", "'words'"]),
        (["train", "vae", "--bpe-size", "256"], ["--bpe-size", "at least 257"]),
        (["train", "vae", "--devices", "4096"], ["4096 devices"]),
        (["evaluate"], ["evaluate needs RUN ("]),
        (["compress"], ["compress needs RUN and OUT.gjx ("]),
        (["compress", "nowhere"], ["compress needs OUT.gjx ("]),
        (["convert"], ["convert needs RUN, IN.wav and OUT.wav ("]),
        (["evaluate", "nowhere"], ["nowhere", "no such folder"]),
        (["evaluate", "nowhere", "--num-samples", "0"], ["--num-samples", "positive"]),
        (["sample", "nowhere"], ["nowhere"]),
        (["sample", "nowhere", "--num", "none"], ["--num", "'none'"]),
        (["sample", "nowhere", "--out", "x.png", "--num", "0"], ["--num", "positive"]),
        (["generate"], ["generate needs RUN ("]),
        (["generate", "nowhere", "--prompt", "x"], ["nowhere", "no such folder"]),
        (["generate", "nowhere", "--temperature", "0"], ["--temperature", "positive", "0"]),
        (["generate", "nowhere", "--top-p", "0"], ["--top-p", "above 0 and at most 1", "0"]),
        (["generate", "nowhere", "--top-p", "1.1"], ["--top-p", "at most 1", "1.1"]),
        (["generate", "nowhere", "--min-p", "-0.1"], ["--min-p", "at least 0", "-0.1"]),
        (["generate", "nowhere", "--top-k", "0"], ["--top-k", "positive", "0"]),
        (["generate", "nowhere", "--tokens", "0"], ["--tokens", "positive", "0"]),
        (["generate", "nowhere", "--stop", ""], ["--stop is empty"]),
        (["generate", "nowhere", "--toks", "5"], ["--toks", "--tokens"]),
        (["edit", "nowhere", "--out", "e.npz"], ["--out is e.npz", ".png, .svg or .pdf"]),
        (["edit", "nowhere", "--out", "nodir/e.png"], ["--out", "no folder nodir"]),
        (["debias", "--out", "nodir/e.png"], ["--out", "no folder nodir"]),
        (["debias", "--out", "e.npz"], ["--out is e.npz", ".png"]),
        (["debias", "--seeds"], ["--seeds is empty"]),
        (["debias", "--steps", "250"], ["--every is 250", "--steps 250"]),
        (["augment", "--out", "nodir/e.png"], ["--out", "no folder nodir"]),
        (["augment", "--out", "e.foo"], ["--out is e.foo", ".png"]),
        (["augment", "--few"], ["--few is empty"]),
        (["augment", "--seeds", "0", str(2**32)], ["--seeds must be", "at most 4294967295"]),
        (["judge", "--csv", "nodir/x.csv"], ["--csv", "no folder nodir"]),
        (["judge", "--csv", "."], ["--csv", "is a folder"]),
        (["bench", "vae", "--repeats", "0"], ["--repeats", "positive"]),
        (["bench", "vae", "--steps", "0"], [" --steps must be positive, got 0"]),
        (["evaluate", "nowhere", "--run", "x"], ["no option --run", "--split"]),
        (
            ["decompress", "a", "b", "c", "--seed", "1"],
            ["no option --seed", "from --overwrite"],
        ),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in "train evaluate sample" else "",
)
def test_refusals(run, argv, words):
    answer = run(*argv)
    assert answer.code == 2
    for word in words:
        assert word in answer.line
    assert answer.out == ""


def test_data_that_cannot_be_learned_from(run, tmp_path):
    (tmp_path / "empty").mkdir()
    x = np.zeros((20, 2), np.float32)
    x[3] = np.nan
    np.savez(tmp_path / "nan.npz", x=x)
    (tmp_path / "text.npz").write_text("I am a text.")
    for path in ("empty", "nan.npz", "missing.npz", "text.npz"):
        answer = run("train", "vae", "--dataset", path, *TINY)
        assert answer.code == 2
        assert path.split(".")[0] in answer.line
        assert "pickle" not in answer.line
        assert not (tmp_path / "runs").exists()


def test_a_split_to_watch_that_is_not_there(run, tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.zeros((40, 6, 6, 1), np.uint8))
    for name, known in (("digits", "validation"), ("mine.npz", "train")):
        answer = run("train", "vae", *TINY, "--dataset", name, "--evaluation.split", "valdation")
        assert answer.code == 2
        assert "has no split 'valdation'" in answer.line and known in answer.line
    assert len(load_splits(Config(None)).validation) > 0


def test_a_dataset_of_one_split_is_divided(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 6, 6, 1)).astype(np.uint8)
    y = np.repeat([0, 1], [35, 5])
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    np.savez(tmp_path / "shuffled.npz", x=x[::-1], y=y[::-1])
    np.savez(tmp_path / "two.npz", x=x[:2])
    parts = load_splits(Config(None, dataset=str(tmp_path / "mine.npz")))
    assert [len(part) for part in parts] == [30, 5, 5]
    rows = [{row.tobytes() for row in part.arrays["x"]} for part in parts]
    assert rows[0] | rows[1] | rows[2] == {row.tobytes() for row in x}
    assert sum(map(len, rows)) == 40
    assert [sum(part.arrays["label"] == 1) for part in parts] == [3, 1, 1]
    again = load_splits(Config(None, dataset=str(tmp_path / "shuffled.npz")))
    assert rows == [{row.tobytes() for row in part.arrays["x"]} for part in again]
    few = Config(None, dataset=str(tmp_path / "two.npz"))
    assert load_splits(few).validation is None and len(load_splits(few).test) == 2
    with pytest.raises(ValueError, match="no test split, and too few"):
        load_split(few, "test")


def test_a_message_of_the_library_names_options():
    config = recipes.find("glow").config
    for said, shown in (
        ("give size=", "give --size"),
        ("was given num_scales=2: pad", "was given --model.num-scales 2: pad"),
        ("give `batch_size` fewer", "give --batch-size fewer"),
        ("build it with spec=data.spec, seed=3.", "build it with spec=data.spec, --seed 3."),
        ("x=y `nothing` --steps=5", "x=y `nothing` --steps=5"),
    ):
        assert in_options(said, config) == shown


def test_images_of_several_sizes_are_scaled_by_the_option_that_is_named(run, tmp_path):
    for name, size in (("a", 4), ("b", 6)):
        Image.new("L", (size, size)).save(tmp_path / f"{name}.png")
    answer = run("train", "vae", *TINY, "--dataset", ".", "--run-dir", "r")
    assert answer.code == 2
    assert "--size" in answer.err and "size=" not in answer.err
    scaled = load_splits(Config(None, dataset=".", size=4, split="all"))
    assert scaled.train.spec.shape == (4, 4, 1)
    answer = run("train", "vae", *TINY, "--size", "4")
    assert answer.code == 2 and "--size is for a folder" in answer.line


def test_files_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.md").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    for path, words in (
        ("nodir/x.png", "no folder nodir"),
        ("note.md/x.png", "no folder note.md"),
        ("folder.png", "which is a folder"),
        ("x.npz", r"ends in \.png, \.svg or \.pdf"),
        ("x", r"ends in \.png"),
    ):
        with pytest.raises(ValueError, match=words):
            files.check_output(Path(path), files.PICTURES)
    with pytest.raises(ValueError, match="no folder nodir"):
        samples.check_file(Path("nodir/x.png"), DIGITS)
    files.check_output(Path("new.png"), files.PICTURES)
    with pytest.raises(ValueError, match="there already: give --overwrite"):
        files.check_output(Path("note.md"))
    files.check_output(Path("note.md"), overwrite=True)


def test_patience_needs_something_to_watch(run, tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.zeros((2, 6, 6, 1), np.uint8))
    few = ("--dataset", "mine.npz", "--batch-size", "2", "--evaluation.patience", "2")
    answer = run("train", "vae", *TINY, *few)
    assert answer.code == 2
    assert "--evaluation.patience needs held-back data" in answer.line


def test_evaluate_names_the_runs_that_are_there(run, tmp_path, finished):
    shutil.copytree(finished, tmp_path / "runs" / "tiny")
    (tmp_path / "other").mkdir()
    answer = run("evaluate", "other")
    assert answer.code == 2
    assert "other is no run directory" in answer.line
    assert "runs/tiny" in answer.line


def test_a_run_directory_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file" in run("train", "vae", *TINY, "--run-dir", "file").line
    assert "file" in run("train", "vae", *TINY, "--run-dir", "file/below").line
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one").write_text("mine")
    answer = run("train", "vae", *TINY, "--run-dir", "photos")
    assert answer.code == 2
    assert "photos is not empty and holds no run" in answer.line
    assert (tmp_path / "photos" / "one").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda v: v | {"experiment": "gone"}, "'gone'"),
        (lambda v: v | {"config": v["config"] | {"stps": 1}}, "stps"),
        (lambda v: v | {"config": v["config"] | {"steps": "x"}}, "steps"),
        (lambda v: v | {"config": v["config"] | {"steps": -1}}, "--steps must be positive"),
        (lambda v: {"config": v["config"]}, "damaged"),
    ],
)
def test_a_damaged_configuration(run, tmp_path, finished, change, word):
    copy = shutil.copytree(finished, tmp_path / "copy")
    values = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(change(values)))
    answer = run("evaluate", copy)
    assert answer.code == 2
    assert word in answer.line


def test_a_run_without_checkpoint(run, tmp_path, finished):
    copy = shutil.copytree(finished, tmp_path / "copy")
    shutil.rmtree(copy / "checkpoints")
    answer = run("sample", copy)
    assert answer.code == 2
    assert "no checkpoint yet" in answer.line
    assert "train vae --steps 20" in answer.line


def test_a_format_that_cannot_be_written(run, finished):
    answer = run("sample", finished, "--out", "samples.docx")
    assert answer.code == 2
    assert ".png" in answer.line


def test_a_run_of_images_has_no_text_to_go_on_with(run, finished):
    answer = run("generate", finished, "--prompt", "x")
    assert answer.code == 2
    assert "vae on digits" in answer.line and "text" in answer.line
    assert ".png" in run("sample", finished, "--out", "samples.txt").line


def test_a_full_disk(run, monkeypatch):
    from experiments.runner import runs

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "config.json.tmp")

    monkeypatch.setattr(runs, "write_json", full)
    answer = run("train", "vae", *TINY)
    assert answer.code == 2
    assert "the disk is full" in answer.line.lower()


def test_debug_shows_where_an_error_came_from(run, monkeypatch):
    monkeypatch.setenv("GENJAX_DEBUG", "1")
    with pytest.raises(ValueError, match="no experiment 'vea'"):
        run("train", "vea")
