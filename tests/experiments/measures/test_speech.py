"""Voice conversion: whose recordings are learned from, what is measured, files in and out."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import recipes
from experiments.commands import convert
from experiments.measures import speech
from experiments.recipes.media import VoiceSettings, voice_conversion
from experiments.runner import loading, runs
from experiments.runner import recordings as recorded
from experiments.runner.config import Config
from genjax_models.core import DataSpec
from genjax_models.data import Dataset
from genjax_models.data.audio import MelSpectrogram, read_wav, write_wav
from genjax_models.training import TrainState

pytest.importorskip("librosa")
SAMPLES = 2048
SMALL = VoiceSettings(
    channels=2,
    blocks=1,
    discriminator_channels=2,
    pool_size=4,
)


def waveform(speaker, digit):
    """A voice whose pitch says who speaks, with a tone above it that says what."""
    t = np.arange(SAMPLES) / 8_000
    voice = sum(np.sin(2 * np.pi * n * (100 + 50 * speaker) * t) / n for n in range(1, 6))
    return 0.3 * voice + 0.02 * np.sin(2 * np.pi * (1_500 + 200 * digit) * t)


def recordings(name="spoken_digit", split="train", data_dir=None, **kwargs):
    """One clip of every digit by each of the five speakers, as levels."""
    rows = [(speaker, digit) for digit in range(10) for speaker in range(5)]
    speaker, digit = np.array(rows, np.int32).T
    x = np.stack([waveform(*row) for row in rows]) * 32_768 + 32_768
    arrays = {"x": x.astype(np.uint16)[..., None], "label": digit, "speaker": speaker}
    if name != "spoken_digit":
        del arrays["speaker"]
    return Dataset(DataSpec((SAMPLES, 1), 65_536, 10, name=name), split, arrays)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    recorded.spectrograms.cache_clear()
    monkeypatch.setattr(recorded.gm, "load", recordings)
    yield
    recorded.spectrograms.cache_clear()


class Reads:
    """Reads theo in every clip, and the digits 0 .. 9 in turn."""

    def __init__(self, name):
        self.name = name

    def predict(self, x):
        return np.full(len(x), 3) if self.name == "speaker" else np.arange(len(x)) % 10


@pytest.fixture
def untrained(tmp_path):
    """A run whose networks are as they were made."""
    config = dataclasses.replace(voice_conversion.config, model=SMALL)
    data = SMALL.load(config, "test")
    setup = voice_conversion.build(config, data.spec)
    params, state = jax.jit(setup.model.init)(jax.random.key(0), data.rows(np.arange(4)))
    directory = tmp_path / "run"
    record = runs.create(directory, voice_conversion, config, data)
    zero = jnp.zeros((), jnp.int32)
    return runs.Run(record, setup, TrainState(zero, params, params, {}, state, jax.random.key(0)))


def test_who_is_heard_and_what_is_measured(untrained, monkeypatch):
    monkeypatch.setattr(speech, "reader", lambda config, name, num: Reads(name))
    data = SMALL.load(untrained.record.config, "test")
    figures = speech.conversion(untrained, data, 0)
    value = {name: metric["value"] for name, metric in figures.items()}
    assert voice_conversion.goal.reached(value) and value["heard"] == 100
    assert value["converted_speaker"] == value["converted_digit"] == value["source_digit"] == 100
    assert value["source_speaker"] == value["source"] == 0 and value["target_speaker"] == 100
    assert value["target_digit"] < 100  # the target's clips come in another order
    np.testing.assert_allclose(value["source_pitch"], 150, rtol=0.02)  # jackson's tones below
    np.testing.assert_allclose(value["target_pitch"], 250, rtol=0.02)
    folder = untrained.record.directory
    kinds = ("recording", "griffin_lim", "converted")
    names = {f"{digit}_{kind}.wav" for digit in range(10) for kind in kinds}
    assert {path.name for path in (folder / "wav").iterdir()} == names
    clip = read_wav(folder / "wav" / "7_recording.wav", 8_000)
    np.testing.assert_allclose(clip, waveform(1, 7), atol=1e-3)
    assert (folder / speech.PICTURE).is_file()
    drawn = untrained.setup.condition(12)["x"]
    np.testing.assert_array_equal(drawn[10:], data.rows(np.arange(2))["x"])


def test_a_user_converts_a_file(run, untrained, monkeypatch):
    monkeypatch.setattr(loading, "load_run", lambda directory: untrained)
    sound = np.tile(waveform(1, 4), 3)[:5_000]
    write_wav("mine.wav", sound, 16_000)
    said = run("convert", "run", "mine.wav", "out.wav")
    assert said.code == 0 and said.err.count("resampled to 8000 Hz") == 1
    out = read_wav("out.wav", 8_000)
    assert out.shape == (2_500,) and np.abs(out).max() > 0.05  # longer than one spectrogram
    back = convert.converted(untrained, read_wav("out.wav", 8_000), back=True)
    assert np.abs(back - convert.converted(untrained, read_wav("out.wav", 8_000))).max() > 0.01
    said = run("convert", "run", "mine.wav", "out.mp3")
    assert said.code == 2 and "let it end in .wav" in said.line
    said = run("convert", "run", "mine.wav", "out.wav")
    assert said.code == 2 and "there already: give --overwrite" in said.line
    said = run("convert", "run", "none.wav", "out.wav", "--overwrite")
    assert said.code == 2 and "no sound file none.wav" in said.line


def test_a_conversion_that_changes_nothing_is_the_same_sound(monkeypatch):
    seen = []

    def translate(run, x, *, back):
        seen.append(x.shape)
        return x

    monkeypatch.setattr(speech, "translate", translate)
    mel = MelSpectrogram()
    settings = VoiceSettings(spectrogram=mel)
    config = Config(settings)
    record = runs.Record(None, voice_conversion, config, DataSpec((64, 16, 1), None), {})
    x = np.concatenate([waveform(1, 4), waveform(3, 9), np.zeros(400)])  # 2 parts and a bit
    y = convert.converted(runs.Run(record, None, None), x)
    assert seen == [(3, 64, 16, 1)] and y.shape == x.shape
    whole = mel.invert(mel.apply(np.pad(x, (0, 3 * SAMPLES - len(x)))[None]))[0]
    np.testing.assert_array_equal(y, whole[: len(x)])  # no seams


def test_each_side_has_one_speaker():
    settings = VoiceSettings(source="george", target="nicolas")
    config = Config(settings, dataset="spoken_digit")
    data = settings.load(config, "train")
    assert data.spec.shape == (64, 16, 1) and data.spec.num_levels is None and len(data) == 10
    for name, speaker, label in (("x", 0, "label"), ("y", 2, "label_y")):
        clips = np.stack([waveform(speaker, digit) for digit in data.arrays[label]])
        expected = settings.spectrogram.apply(clips)
        np.testing.assert_allclose(data.arrays[name], expected, atol=2e-2)
    assert set(data.arrays["label"]) == set(data.arrays["label_y"]) == set(range(10))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--model.target", "jackson"), "--model.source and --model.target are both jackson"),
        (("--dataset", "digits"), "--dataset digits has no recordings of speakers"),
        (("--model.spectrogram.hop", "300"), "the hop at most half the window"),
        (("--model.target", "me"), "george"),
    ],
)
def test_bad_input_is_told_in_one_line(run, options, line):
    said = run("train", "voice_conversion", *options, "--run-dir", "run")
    assert said.code == 2 and line in said.line


def test_only_a_run_of_voices_converts(untrained):
    other = recipes.find("vae")
    record = dataclasses.replace(untrained.record, experiment=other, config=other.config)
    with pytest.raises(ValueError, match="is a run of vae: give one of voice_conversion"):
        convert.converted(dataclasses.replace(untrained, record=record), np.zeros(800))
