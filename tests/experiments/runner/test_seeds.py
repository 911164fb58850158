"""Runs of several seeds: one after another, and what they give together."""

import json

import numpy as np
import pytest
from scipy import stats

from experiments.runner import seeds
from tests.experiments.conftest import TINY


def test_the_interval_holds_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    found = [seeds.interval(list(random.normal(5.0, 2.0, 3))) for _ in range(4000)]
    share = np.mean([each["low"] <= 5.0 <= each["high"] for each in found])
    assert abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)


def test_the_interval_is_scipys():
    values = [1.0, 2.0, 4.0, 4.5]
    found = seeds.interval(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found["value"], found["values"]) == (pytest.approx(2.875), values)
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
    assert seeds.interval([3.0])["low"] is None


def test_seeds_are_trained_one_after_another_and_summed_up(run, tmp_path):
    argv = ("train", "vae", *TINY, "--seeds", "0", "3", "--run-dir", "group")
    answer = run(*argv)
    assert answer.code == 0
    runs = [tmp_path / "group" / f"vae-digits-seed{seed}" for seed in (0, 3)]
    parts = [json.loads((path / "result.json").read_text()) for path in runs]
    assert [part["seed"] for part in parts] == [0, 3]
    result = json.loads((tmp_path / "group" / "result.json").read_text())
    nll = result["metrics"]["nll"]
    assert nll["values"] == [part["metrics"]["nll"]["value"] for part in parts]
    assert nll["values"][0] != nll["values"][1]
    assert nll["value"] == pytest.approx(np.mean(nll["values"]))
    assert nll["low"] < nll["value"] < nll["high"]
    assert result["seeds"] == [0, 3] and result["reached"] is False
    assert result["command"].endswith("--run-dir group --seeds 0 3")
    assert f"test nll {nll['value']:.5g} nats an example ({nll['low']:.5g} to" in answer.out
    before = [(path / "result.json").stat().st_mtime_ns for path in runs]
    again = run(*argv)  # what is finished is left alone
    assert again.code == 0 and again.err.count("is finished") == 2
    assert [(path / "result.json").stat().st_mtime_ns for path in runs] == before


def test_what_seeds_may_not_be(run):
    assert "each seed once" in run("train", "vae", "--seeds", "1", "1").line
    assert "leave one of them out" in run("train", "vae", "--seeds", "1", "2", "--seed", "3").line
