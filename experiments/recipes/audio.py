"""Spoken digits: a diffusion of log-mel spectrograms, heard through Griffin-Lim."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from experiments.measures.images import Figures, figure
from experiments.measures.voice import NUM_DIGITS, PICTURE, WAVES, reader
from experiments.recipes.diffusion import UNET_OPTIMIZER
from experiments.recipes.diffusion_settings import LOSSES, UNetSettings, image_diffusion, sampling
from experiments.recipes.voice_data import spectrograms
from experiments.runner import needs, runs, samples
from experiments.runner.config import Config, Evaluation, PositiveInt
from experiments.runner.registry import Goal, Setup, every_label, experiment
from genjax_models import plots
from genjax_models.core import DataSpec
from genjax_models.data import Dataset
from genjax_models.data.audio import MelSpectrogram, write_wav
from genjax_models.networks.layouts import PatchesAsChannels

NUM_CLIPS = 100
_WRITTEN = 2  # clips of each digit
_PAUSE = 0.2  # seconds between clips of one file


@dataclasses.dataclass(frozen=True)
class SpokenSettings(UNetSettings):
    """How sound becomes a picture, and a U-Net over its patches."""

    spectrogram: MelSpectrogram = MelSpectrogram()
    """The pictures that the network sees."""
    patch: PositiveInt = 4
    """Height and width of what is one pixel to the U-Net."""

    def load(self, config: Config[SpokenSettings], split: str) -> Dataset:
        """Spectrograms `x` of all speakers' recordings, with the digit as `label`."""
        return spectrograms(config, split)


@experiment(
    Config(
        SpokenSettings(multipliers=(1, 2), blocks=1, dropout=0.0, prediction="data", guidance=2.0),
        dataset="spoken_digit",
        steps=6000,
        batch_size=32,
        ema=0.995,
        optimizer=dataclasses.replace(UNET_OPTIMIZER, learning_rate=1e-3),
        evaluation=Evaluation(every=500, examples=200, num_samples=10),
    ),
    Goal("heard", at_least=85.0, unit="% of clips read as the digit asked for"),
    needs=(needs.labels_for_guidance(),),
)
def spoken_digits(config: Config[SpokenSettings], spec: DataSpec) -> Setup:
    """A diffusion of log-mel spectrograms of spoken digits, given the digit, as wav files."""
    settings = config.model
    network = PatchesAsChannels(settings.unet(settings.patch**2), settings.patch)
    model = dataclasses.replace(image_diffusion(settings, spec), network=network)
    return Setup(
        model,
        {"diffusion": LOSSES[settings.loss](model)},
        condition=every_label(model.num_classes),
        sampling=sampling(settings),
        measures=(of_speech,),
        writers={".wav": lambda x, path: write_clips(path, x, settings.spectrogram)},
    )


def write_clips(path: Path, x: np.ndarray, mel: MelSpectrogram) -> None:
    """Writes spectrograms `[N, mels, frames, 1]` as one recording, with a pause behind each."""
    pause = round(_PAUSE * mel.sample_rate)
    write_wav(path, np.pad(mel.invert(x), ((0, 0), (0, pause))).reshape(-1), mel.sample_rate)


def of_speech(run: runs.Run, data: Dataset, seed: int) -> Figures:
    """Which digit a classifier of real spectrograms reads in new clips, and in the split's.

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
