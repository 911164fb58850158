"""`convert`: a recording of the user's own in another voice, by a run of `voice_conversion`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from experiments.commands.arguments import RunPath, parse
from experiments.runner.files import check_output

if TYPE_CHECKING:
    from experiments.recipes.media import VoiceSettings
    from experiments.runner import runs


@dataclasses.dataclass(frozen=True)
class ConvertArguments:
    """Convert a recording into the voice that a run of voice_conversion has learned."""

    run: RunPath
    """The run directory."""
    recording: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN.wav")]
    """The recording, in the source's voice or one like it."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT.wav")]
    """The wav file to write."""
    back: bool = False
    """Convert the target's voice into the source's instead."""
    overwrite: bool = False
    """Replace a file that is there already."""


def main(argv: Sequence[str]) -> int:
    """The command `convert`."""
    arguments = parse(ConvertArguments, "convert", argv)
    from experiments.runner import loading
    from experiments.runner.files import keep_compiled_programs
    from genjax_models.data.audio import check_wav_name

    check_wav_name(arguments.out)  # before the work
    check_output(arguments.out, name="OUT.wav", overwrite=arguments.overwrite)
    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    convert(run, arguments.recording, arguments.out, back=arguments.back)
    print(f"converted {arguments.recording} into {arguments.out}")
    return 0


def convert(run: runs.Run, path: Path, out: Path, *, back: bool = False) -> None:
    """Converts a wav file: reads one, writes another.

    Args:
        run: A run of `voice_conversion`.
        path: The recording, of any length; one of another sample rate is resampled, with a warning.
        out: The wav file to write.
        back: Whether to convert the target's voice into the source's.

    Raises:
        ValueError: The run converts no voices, a file is no sound, or the other one cannot be
            written.
        FileNotFoundError: There is no such recording.
    """
    from genjax_models.data.audio import read_wav, write_wav

    rate = _settings(run).spectrogram.sample_rate
    write_wav(out, converted(run, read_wav(path, rate), back=back), rate)


def converted(run: runs.Run, waveform: np.ndarray, *, back: bool = False) -> np.ndarray:
    """A waveform in the other voice.

    It is seen as one spectrogram, of which the network converts as many frames at a time as a
    recording of its data has, and Griffin-Lim makes one waveform of them all.

    Args:
        run: A run of `voice_conversion`.
        waveform: `[samples]`, of any number.
        back: Whether to convert the target's voice into the source's.

    Returns:
        float32 `[samples]`, the loudest about 1.
    """
    from experiments.measures import speech

    mel, (_, frames, _) = _settings(run).spectrogram, run.record.spec.shape
    num = len(waveform)
    whole = np.pad(waveform, (0, -num % (frames * mel.hop)))
    x = mel.apply(whole[None])  # [1, mels, parts * frames, 1]
    parts = np.concatenate(np.split(x, x.shape[2] // frames, axis=2))  # [parts, mels, frames, 1]
    y = speech.translate(run, parts, back=back)
    return mel.invert(np.concatenate(y, axis=1)[None])[0, :num]


def _settings(run: runs.Run) -> VoiceSettings:
    from experiments.recipes.media import VoiceSettings

    settings = run.record.config.model
    if not isinstance(settings, VoiceSettings):
        raise ValueError(
            f"{run.record.directory} is a run of {run.record.experiment.name}: give one of"
            " voice_conversion"
        )
    return settings
