"""Figures of codes and of texts, of models whose figures are known."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.measures.representations import disentanglement
from experiments.measures.texts import against_the_source, variety
from experiments.runner.config import Config
from experiments.runner.datasets import load_splits
from genjax_models.data import Dataset, shapes2d
from genjax_models.data.markov import MarkovText


def run_of(model: Any, spec: Any, config: Config) -> Any:
    """A run as far as measures look at it."""
    setup = types.SimpleNamespace(model=model, condition=lambda num: {}, sampling={})
    record = types.SimpleNamespace(config=config, spec=spec)
    state = types.SimpleNamespace(state={})
    return types.SimpleNamespace(record=record, setup=setup, state=state, params={})


def values(figures):
    return {name: figure["value"] for name, figure in figures.items()}


class Perfect:
    """Its codes are the factors, in units of their own."""

    def encode(self, params, x, *, state=None):
        return x * jnp.asarray([1.0, -2.0, 3.0, 0.5, 1.0])

    def decode(self, params, z, *, state=None):
        return z


def test_codes_that_are_the_factors():
    factors = np.random.default_rng(0).permutation(shapes2d.all_factors())[:800]
    data = Dataset.from_arrays(factors.astype(float), extra={"factors": factors}, split="test")
    config = Config(None, dataset="shapes2d")
    found = values(disentanglement(run_of(Perfect(), data.spec, config), data, 0))
    probes = {f"probe_{name}": pytest.approx(1.0, abs=0.01) for name in shapes2d.FACTORS}
    assert found == {
        "mig": pytest.approx(1.0, abs=0.04),
        "factor_vae_score": 1.0,
        "sap": pytest.approx(1 - (1 / 3) / 5, abs=0.02),
        "dci_disentanglement": pytest.approx(1.0, abs=0.01),
        "dci_completeness": pytest.approx(1.0, abs=0.01),
        "dci_informativeness": pytest.approx(1.0, abs=0.01),
        **probes,
    }
    other = dataclasses.replace(config, dataset="digits")
    assert disentanglement(run_of(Perfect(), data.spec, other), data, 0) == {}


@dataclasses.dataclass(frozen=True)
class Parrot:
    """Says what it has read, from its beginning, over and over."""

    text: tuple[int, ...]

    def sample(self, params, key, num, *, state=None):
        return jnp.tile(jnp.asarray(self.text, jnp.int32), (num, 1))


def test_a_model_that_repeats_the_training_text(tmp_path):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(2000)]
    (tmp_path / "words.txt").write_text(" ".join(words), "utf-8")
    config = Config(None, dataset=str(tmp_path / "words.txt"), window=50, devices=1)
    data = load_splits(config)
    parrot = Parrot(tuple(data.train.rows([0])["x"][0].tolist()))
    found = values(variety(run_of(parrot, data.train.spec, config), data.test, 0))
    # Ten words of five characters, of which the first and the last one are left out, as often as
    # the test split has windows: 20 times.
    assert found == {
        "distinct_1": pytest.approx(5.0),
        "distinct_2": pytest.approx(5.0),
        "distinct_3": pytest.approx(5.0),
        "overlap_2": 100.0,
        "overlap_4": 100.0,
        "copied": 50.0,
    }
    kinds = variety(run_of(parrot, data.train.spec, config), data.test, 0)
    assert kinds["overlap_4"]["kind"].endswith("split: 0.0")


class Source:
    """A model that is the source."""

    spec = MarkovText().dataset(3000, window=64).spec

    def log_prob(self, params, x, *, key=None, state=None):
        return MarkovText().log_prob(x)


def test_a_model_that_is_the_source():
    data = MarkovText().dataset(3000, window=64)
    run = run_of(Source(), data.spec, Config(None, dataset="markov", devices=1))
    found = values(against_the_source(run, data, 0))
    assert found["relative_perplexity"] == pytest.approx(1.0)
    rate = MarkovText().entropy_rate
    assert rate < found["source_nats_per_token"] < rate + 0.1  # the start of a window is unknown
    other = run_of(Source(), dataclasses.replace(data.spec, vocabulary=("a",)), run.record.config)
    assert against_the_source(other, data, 0) == {}
