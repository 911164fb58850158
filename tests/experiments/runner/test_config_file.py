"""Configurations in files: what they set, and what is refused."""

import dataclasses
import json

import pytest

from experiments import recipes
from experiments.commands.arguments import parse_experiment
from experiments.commands.bench import BenchArguments
from experiments.commands.compare.command import CompareArguments
from experiments.commands.train import TrainArguments
from experiments.runner.config import fields, to_json
from experiments.runner.config_file import configured

VAE = recipes.find("vae")


def configuration(*argv, kind=TrainArguments):
    return parse_experiment(kind, "train", ["vae", *map(str, argv)])[1].configuration


def test_options_on_the_line_win_over_the_file_and_that_over_the_experiment(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "# what differs\nsteps: 70\nseed: 3\noptimizer:\n  learning_rate: 1e-3\n"
        "model:\n  hidden: [5, 6]\nsize: [4, 8]\n"
    )
    found = configuration(
        "--config", tmp_path / "mine.yaml", "--seed", "4", "--model.latent-dim", "3"
    )
    changed = {name: value for name, _, value in fields(found)}
    before = {name: value for name, _, value in fields(VAE.config)}
    assert {name: value for name, value in changed.items() if value != before[name]} == {
        "steps": 70, "seed": 4, "model.hidden": (5, 6), "model.latent_dim": 3, "size": (4, 8),
    }  # fmt: skip
    assert changed["optimizer.learning_rate"] == 1e-3
    assert configuration(f"--config={tmp_path / 'mine.yaml'}", kind=BenchArguments).steps == 70


def test_a_runs_own_file_gives_its_configuration_again(finished):
    known = json.loads((finished / "config.json").read_text())["config"]
    assert to_json(configuration("--config", finished / "config.json")) == known
    assert to_json(configuration("--config", finished)) == known


@pytest.mark.parametrize("name", recipes.experiments())
def test_every_experiments_configuration_is_read_as_it_is_written(tmp_path, name):
    config = recipes.find(name).config
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"experiment": name, "config": to_json(config)}))
    assert configured(dataclasses.replace(config, steps=1, seed=1), path, name) == config


def test_a_command_of_no_experiment_takes_a_file_too(tmp_path):
    (tmp_path / "a.yml").write_text("minutes: 4\nmodels: [vae]\nflip: true\n")
    found = configured(CompareArguments(), tmp_path / "a.yml")
    assert found == CompareArguments(minutes=4.0, models=("vae",), flip=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz: 3", ["sets stepz, which is no field: did you mean steps?"]),
        ("model: {latentdim: 3}", ["sets model.latentdim", "latent_dim"]),
        ("experiment: ddpm", ["configuration of ddpm", "the experiment vae"]),
        ("steps: many", ["steps to 'many': it takes a whole number"]),
        ("steps: 1.5", ["steps to 1.5"]),
        ("flip: 1", ["flip to 1: it takes True or False"]),
        ("mapping: vmap", ["one of mesh, pmap"]),
        ("model: 3", ["sets model to 3"]),
        ("ema: 2", ["--ema must be", "got 2"]),
        ("[1, 2]", ["holds no fields"]),
        ("steps: [", ["is no YAML"]),
    ],
)
def test_what_a_file_may_not_say(run, tmp_path, text, words):
    (tmp_path / "a.yaml").write_text(text)
    answer = run("train", "vae", "--config", "a.yaml")
    assert answer.code == 2
    assert "a.yaml" in answer.line
    for word in words:
        assert word in answer.line


def test_files_that_are_none(run, tmp_path):
    (tmp_path / "a.toml").write_text("steps = 3")
    assert ".json, .yaml or .yml" in run("train", "vae", "--config", "a.toml").line
    assert "nowhere.yaml" in run("train", "vae", "--config", "nowhere.yaml").line
    assert "--config" in run("train", "vae", "--config").line
