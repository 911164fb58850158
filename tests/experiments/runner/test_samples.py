"""What a run shows: texts as text, points as points beside the data, with the learned density."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import genjax_models as gm
from experiments.runner import evaluate, report, runs, samples
from experiments.runner.config import Config, Evaluation
from experiments.runner.experiment import Experiment, Setup, every_label
from genjax_models.core import DataSpec, random
from genjax_models.data import densities, text, tokenizers


@dataclasses.dataclass(frozen=True)
class Truth:
    """A model that is the density that the data are drawn from, but for a shift."""

    spec: DataSpec
    shift: float = 0.0

    def sample(self, params, key, num, *, state=None):
        return densities.ring().sample(key, num) + self.shift

    def log_prob(self, params, x, *, key=None, state=None):
        return densities.ring().log_prob(x - self.shift)


@dataclasses.dataclass(frozen=True)
class Monkey:
    """A model of texts that types anything."""

    spec: DataSpec

    def sample(self, params, key, num, *, state=None):
        return jax.random.randint(key, (num, *self.spec.shape), 0, self.spec.num_levels)

    def log_prob(self, params, x, *, key=None, state=None):
        return jnp.full(x.shape[0], -x.shape[1] * jnp.log(self.spec.num_levels))


def make_run(directory: Path, model, dataset: str) -> runs.Run:
    config = Config(model=None, dataset=dataset, devices=1, evaluation=Evaluation(batch_size=500))
    experiment = Experiment("toy", "toys", "A toy.", config, lambda c, s: None)  # pyright: ignore
    record = runs.Record(directory, experiment, config, model.spec, {})
    state = SimpleNamespace(ema={}, state={}, step=jnp.int32(3))
    return runs.Run(record, Setup(model), state)  # pyright: ignore


@dataclasses.dataclass(frozen=True)
class Echo:
    """A model that draws noise an example, less its label."""

    spec: DataSpec

    def sample(self, params, key, num, *, label, state=None):
        return random.normal(key, (num, 4)) - label[:, None]


def test_many_samples_are_drawn_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "ENTRIES", 40)  # ten examples of four entries
    run = make_run(tmp_path, Echo(DataSpec((4,), num_levels=None)), "ring")
    setup = dataclasses.replace(run.setup, condition=every_label(100))
    run = dataclasses.replace(run, setup=setup)
    many = samples.draw_samples(run, 25, 3)
    assert many.shape == (25, 4)
    np.testing.assert_allclose((many + np.arange(25)[:, None]).mean(), 0.0, atol=0.4)
    assert len(np.unique((many + np.arange(25)[:, None]).round(4), axis=0)) == 25
    np.testing.assert_array_equal(samples.draw_samples(run, 7, 3), many[:7])
    np.testing.assert_array_equal(samples.draw_samples(run, 12, 3), many[:12])
    for devices in (1, 2, 4, 8):
        config = dataclasses.replace(run.record.config, devices=devices)
        chosen = dataclasses.replace(run, record=dataclasses.replace(run.record, config=config))
        np.testing.assert_array_equal(samples.draw_samples(chosen, 25, 3), many)


def page_of(run: runs.Run, metrics) -> str:
    (run.record.directory / runs.METRICS).write_text(
        "".join(json.dumps({"step": s, "split": "train", "toy/loss": 1.0}) + "\n" for s in (1, 2))
    )
    result = {"goal": None, "metrics": metrics, "split": "test", "examples": 5, "seed": 0}
    result |= {"steps": 3, "seconds": 1.0, "steps_per_second": None, "devices": "1 x cpu"}
    report.write(run.record, result | {"command": "train toy", "versions": {"jax": "0"}})
    return (run.record.directory / runs.REPORT).read_text("utf-8")


def test_points(tmp_path: Path):
    data = gm.load("ring", "test")
    run = make_run(tmp_path, Truth(data.spec), "ring")
    samples.write_pictures(run, data)
    assert not (tmp_path / runs.TEXTS).exists()
    with Image.open(tmp_path / runs.SAMPLES) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    ink = np.abs(pixels - pixels[0, 0]).max(-1) > 60
    left, right = np.array_split(ink, 2, axis=1)  # the model is the truth: the panels look alike
    assert left.mean() > 0.01 and abs(left.mean() - right.mean()) < 0.3 * left.mean()
    page = page_of(run, evaluate.final_metrics(run, data))
    assert page.count("<figure>") == 2 and 'class="plot"' in page and 'class="pixels"' not in page
    assert "on the left, of the model on the right" in page and "<h2>Density</h2>" in page


def test_the_distance_from_a_known_density(tmp_path: Path):
    data = gm.load("ring", "test")
    metrics = evaluate.final_metrics(make_run(tmp_path, Truth(data.spec), "ring"), data)
    assert metrics["kl_to_truth"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["nll"]["kind"] == "exact" and "bits_per_dim" not in metrics
    shifted = make_run(tmp_path, Truth(data.spec, shift=0.05), "ring")
    found = evaluate.final_metrics(shifted, data)["kl_to_truth"]
    scale = densities.ring().scale
    # Between Gaussians far apart, as the ring's are: |shift|^2 / (2 sigma^2).
    assert found["value"] == pytest.approx(2 * 0.05**2 / (2 * scale**2), rel=0.05)
    assert "standard error" in found["kind"] and found["unit"] == "nats"
    elsewhere = make_run(tmp_path, Truth(data.spec), "mine.npz")
    assert "kl_to_truth" not in evaluate.final_metrics(elsewhere, data)


def test_what_moves_or_sounds_is_played(tmp_path: Path):
    data = gm.load("ring", "test")
    run = make_run(tmp_path, Truth(data.spec), "ring")
    samples.write_pictures(run, data)
    assert not re.search("<audio|gif|midi", page_of(run, {}))
    for suffix in (".gif", ".wav", ".mid"):
        (tmp_path / runs.SAMPLES).with_suffix(suffix).write_bytes(suffix.encode())
    page = page_of(run, {})
    for kind, data in (("image/gif", b".gif"), ("audio/wav", b".wav"), ("audio/midi", b".mid")):
        assert f'"data:{kind};base64,{base64.b64encode(data).decode()}"' in page
    assert "<audio controls " in page and '<a download="samples.mid" ' in page


def test_settings_that_do_not_matter_are_not_listed(tmp_path: Path):
    run = make_run(tmp_path, Truth(gm.load("ring", "test").spec), "ring")
    config = dataclasses.replace(run.record.config, data_dir="here", flip=True)
    record = dataclasses.replace(run.record, config=config)
    page = page_of(dataclasses.replace(run, record=record), {})
    listed = re.findall("<tr><td>([a-z_.0-9]+)</td>", page)
    assert {"seed", "steps", "batch_size", "optimizer.learning_rate"} <= set(listed)
    # Changed settings always are; those that are off, of texts, of folders of images are not.
    assert {"data_dir", "flip"} <= set(listed)
    assert not {"tokenizer", "bpe_size", "window", "crop", "color", "initial"} & set(listed)


@pytest.fixture
def typed(tmp_path: Path) -> runs.Run:
    data = text.from_text("<b>&amp; ø\x07\n" * 30, window=12, tokenizer=tokenizers.utf8())
    return make_run(tmp_path, Monkey(data.spec), "monkey.txt")


def test_texts(typed: runs.Run, tmp_path: Path):
    data = text.from_text("<b>&amp; ø\x07\n" * 30, window=12, tokenizer=tokenizers.utf8())
    samples.write_pictures(typed, data)
    assert not (tmp_path / runs.SAMPLES).exists()
    words = (tmp_path / runs.TEXTS).read_text("utf-8")
    drawn = samples.draw_samples(typed, samples.NUM_TEXTS, 0)
    decode = tokenizers.of(data.spec).decode
    assert words.startswith(f"--- 1 ---\n{decode(drawn[0])}\n\n--- 2 ---")
    (tmp_path / runs.TEXTS).write_text("a<b>&c \x07\n")
    metrics = evaluate.final_metrics(typed, data)
    page = page_of(typed, metrics)
    assert "<pre>a&lt;b&gt;&amp;c \ufffd\n</pre>" in page
    assert metrics["nats_per_token"]["value"] == pytest.approx(np.log(256), rel=1e-5)
    assert metrics["perplexity"]["value"] == pytest.approx(256, rel=1e-4)
    # 13 bytes a line and 12 characters: one of them has two bytes.
    assert metrics["bits_per_character"]["value"] == pytest.approx(8 * 13 / 12, rel=0.01)
    kind = "exact, windows of 12 tokens, each without the text before it"
    assert {metrics[name]["kind"] for name in metrics} == {kind}


@pytest.mark.parametrize("name", ["a.txt", "a.png", "a.npz"])
def test_texts_can_be_saved(typed: runs.Run, tmp_path: Path, name: str):
    samples.save_samples(samples.draw_samples(typed, 3, 0), typed, tmp_path / name)
    assert (tmp_path / name).stat().st_size > 30
    assert samples.default_file(typed.record.spec) == Path("samples.txt")


def test_pictures_cannot_be_saved_as_text(tmp_path: Path):
    with pytest.raises(ValueError, match=r"--out is a.txt: .* \.png, \.svg, \.pdf or \.npz"):
        samples.check_file(Path("a.txt"), DataSpec((8, 8, 1)))
    assert samples.default_file(DataSpec((8, 8, 1))) == Path("samples.png")


def test_the_loss_is_watched_on_windows_that_do_not_overlap():
    """Three windows of four tokens, each once, and not the first three that begin the text."""
    data = text.from_text("aaaabbbbccccd", window=4)

    def loss(params, batch, key, *, state, step, train):
        count = jnp.mean(batch["x"].astype(jnp.float32))
        return count, SimpleNamespace(metrics={"mean": count})

    setup = Setup(SimpleNamespace(players={"toy": SimpleNamespace(loss=loss)}))  # pyright: ignore
    state = gm.TrainState(jnp.int32(0), {}, {}, {}, {}, jax.random.key(0))
    measure = evaluate.validation_loss(setup, data, Evaluation(examples=100, batch_size=1))
    assert measure(state) == {"toy/mean": 1.0}
    measure = evaluate.validation_loss(setup, data, Evaluation(examples=2, batch_size=1))
    assert measure(state) == {"toy/mean": 0.5}


@pytest.mark.parametrize("batch_size", [1, 4, 5, 10, 11, 100])
def test_every_example_of_the_validation_set_counts_once(batch_size):
    """At any batch size, with noise of its own: ten examples whose squares are to be counted."""
    data = gm.Dataset.from_arrays(np.arange(10.0)[:, None])

    def forward(params, batch, key, *, state, train):
        return (batch["x"][:, 0], random.normal(key, (len(batch["x"]),))), state

    loss = gm.Loss(
        forward,
        {
            "square": lambda out: out[0] ** 2,
            "noise": lambda out: out[1],
            "one": lambda out: jnp.ones(()),
        },
        watched={"size": lambda out: jnp.float32(len(out[0]))},
    )
    setup = Setup(SimpleNamespace(players={"toy": SimpleNamespace(loss=loss)}))  # pyright: ignore
    state = gm.TrainState(jnp.int32(0), {}, {}, {}, {}, jax.random.key(0))
    chosen = Evaluation(examples=100, batch_size=batch_size)
    found = evaluate.validation_loss(setup, data, chosen)(state)
    key = random.from_row(jax.random.key(evaluate.VALIDATION_KEY), 0)
    assert found["toy/square"] == pytest.approx(28.5)
    assert found["toy/noise"] == pytest.approx(float(random.normal(key, (10,)).mean()), abs=1e-6)
    assert found["toy/one"] == pytest.approx(1.0)
    assert found["toy/size"] <= min(batch_size, 10)
