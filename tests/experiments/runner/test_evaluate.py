"""Figures one after the other, kept as they come; goals that mean something."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest

from experiments import recipes
from experiments.runner.evaluate import Measured, announced, measure_all
from experiments.runner.experiment import Goal

VALUE = {"value": 1.0, "unit": "", "kind": ""}


def test_a_figure_that_cannot_be_had_leaves_the_others(capsys):
    def lacks():
        raise ValueError("there are 3 samples, and 65 are needed\nmore")

    kept = []
    found = measure_all({"a": lambda: {"a": VALUE}, "b": lacks, "c": dict}, Measured(), kept.append)
    assert found.metrics == {"a": VALUE} and found.done == ("a", "c")
    assert found.left_out == {"b": "there are 3 samples, and 65 are needed"}
    assert [len(k.done) + len(k.left_out) for k in kept] == [1, 2, 3]
    assert "b is left out: there are 3 samples" in capsys.readouterr().err


def test_what_was_stopped_goes_on_with_what_lacks():
    def stopped():
        raise KeyboardInterrupt

    kept, calls = [], []
    these = {"a": lambda: calls.append("a") or {"a": VALUE}, "b": stopped}
    with pytest.raises(KeyboardInterrupt):
        measure_all(these, Measured(), kept.append)
    assert kept[-1].pending(these) == ("b",)
    again = these | {"b": lambda: {"b": VALUE}}
    found = measure_all(again, kept[-1], kept.append)
    assert found.metrics == {"a": VALUE, "b": VALUE} and calls == ["a"]
    assert measure_all(again, found, kept.append) == found


def test_what_takes_long_is_heard_of(capsys):
    with announced("measuring x", every=0.01):
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "measuring x" and len(lines) > 2
    assert all(line.startswith("measuring x, for") for line in lines[1:])


def own_goals():
    return {name: e for name, e in recipes.experiments().items() if e.goal is not None}


@pytest.mark.parametrize("name", own_goals())
def test_a_goal_is_of_the_experiments_own_data(name):
    found = own_goals()[name]
    assert found.goal_of(found.config) == found.goal
    for change in (
        {"dataset": "photos"}, {"tokenizer": "bpe"}, {"window": 9}, {"split": "test"},
    ):  # fmt: skip
        assert found.goal_of(dataclasses.replace(found.config, **change)) is None
    assert found.goal_of(dataclasses.replace(found.config, steps=9, seed=3)) == found.goal


def test_a_goal_in_nats_of_pixels_is_of_the_same_pixels():
    vae = recipes.find("vae")
    binary = dataclasses.replace(vae.config.model, binarize="threshold")
    assert vae.goal_of(dataclasses.replace(vae.config, model=binary)) is None
    wider = dataclasses.replace(vae.config.model, hidden=(9,))
    assert vae.goal_of(dataclasses.replace(vae.config, model=wider)) == vae.goal


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        # Measured of the identity: usps's reader reads 95 % of mnist's digits, 78 from usps.
        ("cyclegan_mnist_usps", {"labels_read": 95.2, "frechet_distance": 78.2}),
        # Energies of noise and digits lie far apart, and the chains draw nothing like a digit.
        ("energy_digits", {"auroc_omniglot": 1.0, "frechet_distance": 900.0}),
        ("jem_digits", {"accuracy": 98.0, "frechet_distance": 900.0}),
        # All samples at one mode.
        ("gan_points", {"within_3_sigma": 100.0, "modes": 1}),
        ("diffusion_points", {"within_3_sigma": 100.0, "mode_difference": 700.0}),
        ("flow_matching_points", {"within_3_sigma": 100.0, "mode_difference": 100.0}),
        # One image a label.
        ("cgan_mnist", {"labels_read": 100.0, "frechet_distance": 300.0}),
    ],
)
def test_a_model_that_learned_little_reaches_no_goal(name, metrics):
    goal = recipes.find(name).goal
    assert goal is not None and goal.reached(metrics) is False
    first = next(iter(metrics))
    assert goal.reached({first: metrics[first]}) is None  # the other figure was not measured


def test_a_goal_of_several_figures():
    goal = Goal("a", at_least=1, also=(Goal("b", at_most=2, unit="nats"),))
    assert str(goal) == "a ≥ 1, and b ≤ 2 nats"
    assert goal.reached({"a": 1, "b": 2}) is True
    assert goal.reached({"a": 1, "b": 3}) is False
    assert goal.reached({"a": 0}) is False
    assert goal.reached({"a": 1}) is None


def test_a_run_without_figures_gets_them_later(run, tmp_path, monkeypatch):
    tiny = (
        "train", "vae", "--steps", "2", "--batch-size", "16", "--model.hidden", "4",
        "--model.latent-dim", "2", "--devices", "1", "--run-dir", "r", "--evaluation.every", "2",
    )  # fmt: skip
    first = run(*tiny, "--evaluation.none")
    assert first.code == 0, first.err
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    assert result["metrics"] == {} and "likelihood_of_examples" in result["pending"]
    assert (tmp_path / "r" / "samples.png").exists() and (tmp_path / "r" / "report.html").exists()
    assert "is finished" in run(*tiny, "--evaluation.none").out
    whole = measure_all

    def stopped(these, found, keep):
        one = {k: of for k, of in these.items() if k == "likelihood_of_examples"}
        whole(one, found, keep)
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.runner.evaluate.measure_all", stopped)
    assert run(*tiny).code == 130
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    kept = json.loads((tmp_path / "r" / "result.json").read_text())
    assert "nll" in kept["metrics"] and "terms" in kept["pending"]
    answer = run("evaluate", "r")
    assert answer.code == 0 and "measuring of examples" not in answer.err
    done = json.loads((tmp_path / "r" / "result.json").read_text())
    assert not done["pending"] and done["metrics"]["nll"] == kept["metrics"]["nll"]
    assert "vae/loss" in done["metrics"]
