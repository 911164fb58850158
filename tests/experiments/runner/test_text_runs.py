"""A tiny language model from the command line: trained on a file, asked to go on from a prompt."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from experiments.commands import cli
from experiments.runner import loading
from experiments.runner.config import Config
from experiments.runner.datasets import load_splits, num_examples, size_in_words
from genjax_models.data import tokenizers

TINY = [
    *("--steps", "20", "--batch-size", "8", "--log-every", "10", "--evaluation.every", "20"),
    *("--window", "17", "--model.layers", "1", "--model.heads", "2", "--model.width", "16"),
    *("--optimizer.warmup-steps", "2", "--devices", "1"),
]
WORDS = "ein schöner Tag, und noch einer.\n" * 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A text file, and in `run` what was learned of it."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "tage.txt").write_text(WORDS, encoding="utf-8")
    for name, run in (("gpt", "run"), ("masked_text", "masked")):
        options = ["--dataset", folder / "tage.txt", *TINY, "--run-dir", folder / run]
        assert cli.main(["train", name, *map(str, options)]) == 0
    (folder / "tage.txt").unlink()  # a run needs nothing else
    return folder


@pytest.fixture
def generate(run, folder):
    return lambda *argv: run("generate", folder / "run", "--tokens", "40", *argv)


def test_what_a_run_on_a_text_leaves(folder):
    names = {path.name for path in (folder / "run").iterdir()}
    assert "samples.txt" in names and not names & {"samples.png", "reconstructions.png"}
    texts = (folder / "run" / "samples.txt").read_text("utf-8")
    assert texts.count("---\n") == 4 and set(texts) <= set(WORDS + "-1234")
    page = (folder / "run" / "report.html").read_text("utf-8")
    assert texts.splitlines()[1] in page
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["split"] == "validation" and result["examples"] == len(WORDS) // 10 // 17
    values = {name: metric["value"] for name, metric in result["metrics"].items()}
    assert values["nats_per_token"] == pytest.approx(values["nll"] / 17, rel=1e-6)
    assert values["perplexity"] == pytest.approx(np.exp(values["nats_per_token"]), rel=1e-6)
    assert values["bits_per_character"] == pytest.approx(values["nats_per_token"] / np.log(2))
    assert 1.0 < values["nats_per_token"] < np.log(len(set(WORDS))) + 0.1


def test_generate_goes_on_from_the_prompt(generate):
    first, again, other = (generate("--prompt", "Tag", "--seed", s) for s in (1, 1, 2))
    assert first.code == 0 and first.err == ""
    assert first.out.startswith("Tag") and first.out.endswith("\n")
    assert len(first.out.removesuffix("\n")) in (43, 42)  # the last one drawn may be a line break
    assert set(first.out) <= set(WORDS)
    assert first.out == again.out != other.out
    greedy = [generate("--prompt", "Tag", "--top-k", "1", "--seed", s).out for s in (1, 2)]
    assert greedy[0] == greedy[1]
    assert generate().code == 0  # from nothing


def test_generate_stops_before_a_text(generate):
    whole = generate("--prompt", "Tag").out
    stop = whole[8:10]
    shown = generate("--prompt", "Tag", "--stop", stop).out
    expected = "Tag" + whole[3:].split(stop)[0]
    assert shown == expected.removesuffix("\n") + "\n" and len(shown) < len(whole)


def test_a_prompt_that_is_longer_than_the_window(generate):
    answer = generate("--prompt", WORDS[:50])
    assert answer.code == 0 and answer.out.startswith(WORDS[:50])
    assert "50 tokens" in answer.line and "window of 17" in answer.line  # said once


def test_a_prompt_with_a_character_that_is_not_in_the_vocabulary(generate):
    answer = generate("--prompt", "Tag 😀")
    assert answer.code == 2 and answer.out == ""
    assert "--prompt" in answer.line and "'😀'" in answer.line


def test_samples_of_a_text(run, folder, tmp_path):
    assert run("sample", folder / "run", "--num", "3").code == 0
    assert (tmp_path / "samples.txt").read_text("utf-8").count("---\n") == 3
    assert run("sample", folder / "run", "--num", "3", "--out", "a.npz").code == 0
    x = np.load(tmp_path / "a.npz")["x"]
    assert x.shape == (3, 17) and x.max() < len(set(WORDS))
    answer = run("sample", folder / "run", "--out", "a.doc")
    assert answer.code == 2 and ".txt" in answer.line


def test_a_run_keeps_its_tokenizer(folder):
    spec = loading.load_run(folder / "run").record.spec
    assert tokenizers.of(spec).decode(tokenizers.of(spec).encode("schön")) == "schön"


def test_a_masked_run_has_a_bound_beside_gpt_s(folder):
    result = json.loads((folder / "masked" / "result.json").read_text())
    nats = result["metrics"]["nats_per_token"]
    assert 1.0 < nats["value"] < np.log(len(set(WORDS))) + 0.1
    assert nats["kind"].startswith("upper bound of the negative log-likelihood, 32 samples, window")
    texts = (folder / "masked" / "samples.txt").read_text("utf-8")
    assert texts.count("---\n") == 4 and set(texts) <= set(WORDS + "-1234")


def test_a_masked_run_goes_on_and_fills_gaps(run, folder):
    generate = functools.partial(run, "generate", folder / "masked", "--prompt")
    on = generate("Tag", "--tokens", "20", "--steps", "3")
    assert on.code == 0 and on.out.startswith("Tag") and set(on.out) <= set(WORDS)
    assert len(on.out.removesuffix("\n")) in (22, 23)  # in two windows
    gap = ("--mask-character", "_", "--seed")
    first, again, other = (generate("e__ Tag, __d", *gap, s).out for s in (1, 1, 2))
    assert first == again != other
    assert first[0] == "e" and first[3:9] == " Tag, " and first[11:] == "d\n"
    assert set(first) <= set(WORDS)


@pytest.mark.parametrize(
    ("which", "options", "said"),
    [
        ("masked", ("--prompt", "ein", "--mask-character", "_"), "--mask-character is '_'"),
        ("masked", ("--prompt", "e" * 17 + "_", "--mask-character", "_"), "18 tokens"),
        ("masked", ("--prompt", "x_", "--mask-character", "_"), "'x'"),
        ("masked", ("--top-k", "3"), "--top-k is given"),
        ("run", ("--steps", "3"), "--steps is given"),
    ],
)
def test_what_a_kind_of_model_cannot_generate(run, folder, which, options, said):
    answer = run("generate", folder / which, *options)
    assert answer.code == 2 and answer.out == "" and said in answer.line


@pytest.mark.parametrize(("name", "levels"), [("characters", 18), ("bytes", 256), ("bpe", 270)])
def test_a_configuration_says_what_the_tokens_are(tmp_path, name, levels):
    (tmp_path / "tage.txt").write_text(WORDS, encoding="utf-8")
    config = Config(None, dataset=str(tmp_path / "tage.txt"), tokenizer=name, bpe_size=270)
    splits = load_splits(dataclasses.replace(config, window=9))
    assert splits.train.spec == splits.validation.spec and splits.test is splits.validation
    assert splits.train.spec.shape == (9,) and splits.train.spec.num_levels == levels
    decode = tokenizers.of(splits.train.spec).decode
    parts = [decode(part.arrays["x"]) for part in (splits.train, splits.validation)]
    assert "".join(parts) == WORDS
    tokens = len(splits.train.arrays["x"])
    assert size_in_words(splits.train) == f"{tokens:,} tokens in windows of 9"
    assert num_examples(splits.train) == tokens // 9
