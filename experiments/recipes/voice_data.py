"""Spectrograms of two speakers' recordings, and whose: what a voice conversion learns from."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, get_args

import numpy as np

import genjax_models as gm
from experiments.runner.config import Config, NonNegativeFloat, PositiveFloat, PositiveInt
from genjax_models.data import Dataset
from genjax_models.data.audio import MelSpectrogram
from genjax_models.data.transforms import unpaired

SpeakerName = Literal["george", "jackson", "nicolas", "theo", "yweweler"]
SPEAKERS: tuple[SpeakerName, ...] = get_args(SpeakerName)
"""In the order of the data set's numbers."""


@dataclasses.dataclass(frozen=True)
class VoiceSettings:
    """Who is to sound like whom, how sound becomes a picture, and the networks."""

    source: SpeakerName = "jackson"
    """Whose recordings are converted."""
    target: SpeakerName = "theo"
    """Whose they shall sound like."""
    spectrogram: MelSpectrogram = MelSpectrogram()
    """The pictures that the networks see."""
    channels: PositiveInt = 16
    """Of the generators' first layer; their residual blocks have four times as many."""
    blocks: PositiveInt = 4
    """Residual blocks of a generator."""
    discriminator_channels: PositiveInt = 32
    """Of the discriminators' first layer."""
    discriminator_layers: PositiveInt = 2
    """Halvings before a discriminator's logits, each of which sees a patch: 34 cells for 2."""
    cycle: PositiveFloat = 10.0
    """Weight of coming back to where one started."""
    identity: NonNegativeFloat = 5.0
    """Weight of leaving alone what is the target's already."""
    pool_size: PositiveInt = 48
    """Conversions that the discriminators are still shown: a multiple of the batch."""

    def load(self, config: Config[VoiceSettings], split: str) -> Dataset:
        """Spectrograms `x` of the source's recordings and `y` of the target's: no pairs.

        The digits, `label` and `label_y`, are for the measures alone: no model looks at them.

        Raises:
            ValueError: Source and target are the same speaker, or the data have no speakers.
        """
        if self.source == self.target:
            raise ValueError(
                f"--model.source and --model.target are both {self.source}: name two of"
                f" {', '.join(SPEAKERS)}"
            )
        data = spectrograms(config, split)
        voices = (spoken_by(data, name) for name in (self.source, self.target))
        return unpaired(*voices, labels=True)


def recordings(config: Config[VoiceSettings], split: str) -> Dataset:
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
def spectrograms(config: Config[VoiceSettings], split: str) -> Dataset:
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
