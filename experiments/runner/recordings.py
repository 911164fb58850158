"""Recordings of speakers as spectrograms: what models of speech learn from, and their wav files."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

import genjax_models as gm
from experiments.runner.config import Config
from genjax_models.data import Dataset
from genjax_models.data.audio import MelSpectrogram, write_wav

SpeakerName = Literal["george", "jackson", "nicolas", "theo", "yweweler"]
SPEAKERS: tuple[SpeakerName, ...] = get_args(SpeakerName)
"""In the order of the dataset's numbers."""
PAUSE = 0.2
"""Seconds of silence behind each clip of a file of several."""


def recordings(config: Config[Any], split: str) -> Dataset:
    """Waveforms of a split, all speakers': `x` `[N, samples]` in [-1, 1], `label`, `speaker`.

    Raises:
        ValueError: The data are no recordings of speakers.
    """
    data = gm.load(config.dataset, split, config.data_dir)
    arrays, num_levels = data.arrays or {}, data.spec.num_levels
    if "speaker" not in arrays or num_levels is None:
        raise ValueError(
            f"--dataset {config.dataset} has no recordings of speakers: a voice conversion learns"
            " from spoken_digit"
        )
    silence = num_levels // 2
    x = arrays["x"][..., 0].astype(np.float32) / silence - 1.0
    spec = dataclasses.replace(data.spec, shape=x.shape[1:], num_levels=None)
    return Dataset(spec, data.split, {**arrays, "x": x})


@functools.lru_cache(maxsize=4)
def spectrograms(config: Config[Any], split: str) -> Dataset:
    """Their log-mel spectrograms, `x` `[N, mels, frames, 1]`; the rest as it was."""
    data = recordings(config, split)
    assert data.arrays is not None
    x = config.model.spectrogram.apply(data.arrays["x"])
    spec = dataclasses.replace(data.spec, shape=x.shape[1:])
    return Dataset(spec, data.split, {**data.arrays, "x": x})


def labelled(data: Dataset, name: str, num_classes: int) -> Dataset:
    """The same examples, whose label is another of their arrays."""
    assert data.arrays is not None
    arrays = {"x": data.arrays["x"], "label": data.arrays[name]}
    spec = dataclasses.replace(data.spec, num_classes=num_classes, name=f"{data.spec.name} {name}")
    return dataclasses.replace(data, spec=spec, arrays=arrays)


def spoken_by(data: Dataset, speaker: SpeakerName) -> Dataset:
    """The recordings of one speaker: `x` and `label`."""
    assert data.arrays is not None
    rows = np.flatnonzero(data.arrays["speaker"] == SPEAKERS.index(speaker))
    arrays = {name: data.arrays[name][rows] for name in ("x", "label")}
    spec = dataclasses.replace(data.spec, name=f"{data.spec.name} by {speaker}")
    return dataclasses.replace(data, spec=spec, arrays=arrays)


def write_clips(path: Path, x: np.ndarray, mel: MelSpectrogram) -> None:
    """Writes spectrograms `[N, mels, frames, 1]` as one recording, with a pause behind each."""
    pause = round(PAUSE * mel.sample_rate)
    write_wav(path, np.pad(mel.invert(x), ((0, 0), (0, pause))).reshape(-1), mel.sample_rate)
