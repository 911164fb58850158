"""The Free Spoken Digit Dataset as waveforms of one length."""

from __future__ import annotations

import io
import tarfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered

from genjax_models.data.builders import originals

SPEAKERS = ("george", "jackson", "nicolas", "theo", "yweweler")
NUM_SAMPLES = 8_192
"""Samples of one example: 1.024 s at 8 kHz, more than 99 % of the recordings last."""

# The set's authors test on recordings 0 .. 4 of every speaker and digit; the next five validate.
RECORDINGS = {"train": range(10, 50), "validation": range(5, 10), "test": range(5)}


def to_levels(samples: np.ndarray) -> np.ndarray:
    """A waveform of int16 as `[NUM_SAMPLES, 1]` of levels 0 .. 65535; silence is 32768.

    Shorter recordings are followed by silence, longer ones lose their end.
    """
    fixed = np.zeros(NUM_SAMPLES, np.int32)
    kept = samples[:NUM_SAMPLES]
    fixed[: len(kept)] = kept
    return (fixed + 32_768).astype(np.uint16)[:, None]


def read_recordings(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """File name and int16 samples of every recording in the archive."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(".wav"):
                content = archive.extractfile(member)
                assert content is not None
                with wave.open(io.BytesIO(content.read())) as recording:
                    form = recording.getframerate(), recording.getnchannels()
                    if (*form, recording.getsampwidth()) != (8_000, 1, 2):
                        raise ValueError(f"{member.name} is not 8 kHz mono of 16 bits")
                    frames = recording.readframes(recording.getnframes())
                yield member.name.rsplit("/", 1)[1], np.frombuffer(frames, "<i2")


with registered.skip_registration():

    class SpokenDigit(tfds.core.GeneratorBasedBuilder):
        """2,500 recordings of spoken digits by five speakers, 8 kHz.

        References:
            Z. Jackson et al. Free Spoken Digit Dataset, v1.0.9, 2018.
        """

        name = "spoken_digit_waveform"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = originals.url_infos(originals.SPOKEN_DIGIT)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Spoken digits, 8 kHz, 8,192 samples as 65,536 levels.",
                # The Audio feature needs TensorFlow.
                features=tfds.features.FeaturesDict(
                    {
                        "audio": tfds.features.Tensor(shape=(NUM_SAMPLES, 1), dtype=np.uint16),
                        "label": tfds.features.ClassLabel(num_classes=10),
                        "speaker": tfds.features.ClassLabel(names=SPEAKERS),
                    }
                ),
                supervised_keys=("audio", "label"),
                homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            (path,) = originals.fetch(originals.SPOKEN_DIGIT, dl_manager).values()
            return {split: self._generate_examples(path, split) for split in RECORDINGS}

        def _generate_examples(
            self, path: Path, split: str
        ) -> Iterator[tuple[str, dict[str, Any]]]:
            for name, samples in read_recordings(path):
                digit, speaker, number = name.removesuffix(".wav").split("_")
                if int(number) in RECORDINGS[split]:
                    yield (
                        name,
                        {"audio": to_levels(samples), "label": int(digit), "speaker": speaker},
                    )
