"""Figures of speech: who is heard and which digit, in new clips and in converted voices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from experiments.runner import runs, samples
from experiments.runner.config import Config
from experiments.runner.experiment import Figures, figure
from experiments.runner.recordings import (
    SPEAKERS,
    SpeakerName,
    labelled,
    recordings,
    spectrograms,
    spoken_by,
)
from genjax_models import plots
from genjax_models.adversarial.cyclegan import CycleGAN
from genjax_models.data.audio import pitch, write_wav
from genjax_models.data.load import training_split

if TYPE_CHECKING:
    from genjax_models.data import Dataset
    from genjax_models.metrics import TrainedClassifier

WAVES, PICTURE = "wav", "spectrograms.png"
READER_STEPS = 400
NUM_DIGITS = 10
NUM_CLIPS = 100
_WRITTEN = 2  # clips of each digit


def conversion(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Whom and what two classifiers read in converted clips, and how high the voices are.

    They read the generator's spectrograms (`converted`), those of the sound that Griffin-Lim makes
    of them (`heard`), and, for reference, real clips of both speakers. In the pitch no classifier
    has a say. Some clips are written as wav files, and as a picture.
    """
    del seed
    config: Config[Any] = run.record.config
    settings, rows = config.model, data.rows(np.arange(len(data)))
    mel, converted = settings.spectrogram, translate(run, rows["x"])
    seen = {"source": rows["x"], "converted": converted, "target": rows["y"]}
    sounds = {name: mel.invert(x) for name, x in seen.items()}
    write_conversions(run, data.split, converted, sounds)
    readers = reader(config, "speaker", len(SPEAKERS)), reader(config, "label", NUM_DIGITS)
    right: dict[str, tuple[SpeakerName, np.ndarray]] = {
        "converted": (settings.target, rows["label"]),
        "heard": (settings.target, rows["label"]),
        "source": (settings.source, rows["label"]),
        "target": (settings.target, rows["label_y"]),
    }
    seen["heard"] = mel.apply(sounds["converted"])
    figures = {}
    for name, (speaker, digit) in right.items():
        figures |= _read(name, seen[name], speaker, digit, *readers)
    for name, clips in sounds.items():
        height = np.nanmedian(pitch(clips, mel.sample_rate))
        kind = f"median of {len(clips)} clips, after Griffin-Lim"
        figures[f"{name}_pitch"] = figure(height, "Hz", kind)
    return figures


def _read(
    name: str,
    x: np.ndarray,
    speaker: SpeakerName,
    digit: np.ndarray,
    speakers: TrainedClassifier,
    digits: TrainedClassifier,
) -> Figures:
    """Shares of clips that are read as that speaker's, as their digits, and as both."""
    as_speaker = speakers.predict(x) == SPEAKERS.index(speaker)
    as_digit = digits.predict(x) == digit

    def share(right: np.ndarray, unit: str, kind: str) -> dict[str, Any]:
        return figure(100 * right.mean(), f"% {unit}", f"{len(right)} clips, {kind}")

    return {
        name: share(as_speaker & as_digit, f"read as {speaker} and as their digit", "both below"),
        f"{name}_speaker": share(as_speaker, f"read as {speaker}", speakers.name),
        f"{name}_digit": share(as_digit, "read as their digit", digits.name),
    }


def reader(config: Config[Any], name: str, num_classes: int) -> TrainedClassifier:
    """A classifier of all speakers' spectrograms by one of their arrays; trained once, and kept."""
    from genjax_models.metrics import load_classifier
    from genjax_models.metrics.classifier import default_classifier

    splits = training_split(config.dataset), "test"
    train, test = (labelled(spectrograms(config, s), name, num_classes) for s in splits)
    # Turned and moved as far as images are, a spectrogram would be another sound.
    model = dataclasses.replace(default_classifier(train.spec), distortion=0.1, shift=4.0)
    steps = config.evaluation.classifier_steps or READER_STEPS
    return load_classifier(train, test, model=model, steps=steps)


def translate(run: runs.Run, x: np.ndarray, *, back: bool = False) -> np.ndarray:
    """Spectrograms `[N, mels, frames, 1]` of the source as the target's, or back."""
    model = run.setup.model
    assert isinstance(model, CycleGAN)
    go = model.y_to_x if back else model.x_to_y
    return np.asarray(jax.jit(lambda x: go(run.params, x, state=run.state.state))(x))


def write_conversions(
    run: runs.Run, split: str, converted: np.ndarray, sounds: Mapping[str, np.ndarray]
) -> None:
    """Writes one clip a digit, to listen to and to look at.

    `3_converted.wav` is what became of `3_recording.wav`. Griffin-Lim costs some quality even of
    what nothing was changed in: that is `3_griffin_lim.wav`.
    """
    config: Config[Any] = run.record.config
    mel = config.model.spectrogram
    arrays = spoken_by(recordings(config, split), config.model.source).arrays
    assert arrays is not None
    chosen = np.unique(arrays["label"], return_index=True)[1]
    recorded = arrays["x"][chosen]
    waves = {
        "recording": recorded,
        "griffin_lim": sounds["source"][chosen],
        "converted": sounds["converted"][chosen],
    }
    folder = run.record.directory / WAVES
    folder.mkdir(exist_ok=True)
    for kind, clips in waves.items():
        for digit, clip in zip(arrays["label"][chosen], clips, strict=True):
            write_wav(folder / f"{digit}_{kind}.wav", clip, mel.sample_rate)
    x = mel.apply(recorded)
    pairs = np.stack([x, converted[chosen]], axis=1).reshape(-1, *x.shape[1:])
    picture = plots.grid((pairs[:, ::-1] + 1.0) / 2.0, num_levels=2, columns=4)  # low bands below
    plots.save(picture, run.record.directory / PICTURE)


def speech_figures(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Accuracy of a classifier of real spectrograms on new clips, and on the split's.

    `seen` is read in what the network drew, `heard` in the sound that Griffin-Lim makes of it. Two
    clips of each digit are written as wav files, and all as a picture.
    """
    config, mel = run.record.config, run.record.config.model.spectrogram
    if (asked := run.setup.condition(NUM_CLIPS).get("label")) is None:
        return {}
    digits = reader(config, "label", NUM_DIGITS)
    drawn = samples.draw_samples(run, NUM_CLIPS, seed)
    rows = data.rows(np.arange(min(NUM_CLIPS, len(data))))
    sounds = mel.invert(drawn)
    write_examples(run.record.directory, drawn, sounds, np.asarray(asked), mel.sample_rate)
    read = {
        "seen": (drawn, asked),
        "heard": (mel.apply(sounds), asked),
        "seen_of_truth": (rows["x"], rows["label"]),
        "heard_of_truth": (mel.apply(mel.invert(rows["x"])), rows["label"]),
    }
    return {
        name: figure(
            100 * np.mean(digits.predict(x) == np.asarray(label)),
            "% of clips read as their digit",
            f"{len(x)} clips, {digits.name}",
        )
        for name, (x, label) in read.items()
    }


def write_examples(
    directory: Path, x: np.ndarray, sounds: np.ndarray, label: np.ndarray, sample_rate: int
) -> None:
    """Writes `wav/DIGIT_NUMBER.wav`, two of each digit, and a picture of the spectrograms.

    Args:
        directory: The run's.
        x: Spectrograms `[N, mels, frames, 1]`.
        sounds: Their waveforms `[N, samples]`.
        label: The digits `[N]`.
        sample_rate: Samples a second, Hz.
    """
    folder = directory / WAVES
    folder.mkdir(exist_ok=True)
    for digit in np.unique(label):
        for number, i in enumerate(np.flatnonzero(label == digit)[:_WRITTEN]):
            write_wav(folder / f"{digit}_{number}.wav", sounds[i], sample_rate)
    shown = (x[: 4 * NUM_DIGITS, ::-1] + 1.0) / 2.0  # low bands below
    plots.save(plots.grid(shown, num_levels=2, columns=NUM_DIGITS), directory / PICTURE)
