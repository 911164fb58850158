"""Sound as pictures and back: wav files, log-mel spectrograms, Griffin-Lim.

It needs librosa, an optional extra of this library (`genjax_models[audio]`), for the mel filters,
the short-time Fourier transform, Griffin-Lim and resampling; and soundfile, which comes with it.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

_PEAK = 0.99
"""The loudest sample of a file that is written: full scale, and room for rounding."""


@dataclasses.dataclass(frozen=True)
class MelSpectrogram:
    """Log-mel spectrograms of waveforms, as images of real values, and the way back.

    Waveforms are first scaled to a peak of 1, because loudness carries no information here. With
    the short-time Fourier transform X and the mel filters M,

        S = 2 (20 log10 max(M |X|, 10^(low / 20)) - low) / (high - low) - 1,

    so that `low` decibels and everything below are -1, and `high` decibels 1.

    Attributes:
        sample_rate: Samples a second of the waveforms, Hz.
        window: Samples of one frame of the Fourier transform (Hann).
        hop: Samples from one frame to the next.
        num_mels: Mel bands, from 0 Hz to half the sample rate.
        low: Decibels that become -1: what is fainter is silence.
        high: Decibels that become 1; louder cells lie above it.

    Raises:
        ValueError: A size is not positive, frames leave gaps, or `low` is not below `high`.

    References:
        D. Griffin and J. Lim. Signal estimation from modified short-time Fourier transform.
        IEEE Trans. ASSP 32 (2), 1984.
    """

    sample_rate: int = 8_000
    window: int = 512
    hop: int = 128
    num_mels: int = 64
    low: float = -60.0
    high: float = 10.0

    def __post_init__(self) -> None:
        """Checks the sizes."""
        sizes = (self.sample_rate, self.window, self.hop, self.num_mels)
        if min(sizes) < 1 or 2 * self.hop > self.window:
            raise ValueError(
                f"a spectrogram of sample_rate, window, hop, num_mels = {sizes}: all must be"
                " positive, and the hop at most half the window, or it cannot be inverted"
            )
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} dB and high {self.high} dB: low must be below")

    def apply(self, waveforms: Any) -> np.ndarray:
        """Spectrograms of waveforms of one length.

        Frame t is centred on sample `hop * t`; what lies before and behind the waveform is silence.

        Args:
            waveforms: `[N, samples]` of any scale, a whole number of hops long.

        Returns:
            float32 `[N, num_mels, samples / hop, 1]`, low bands first; silence is -1 throughout.

        Raises:
            ValueError: Another shape, or values that are not finite.
        """
        x = self._checked(waveforms)
        loudest = np.abs(x).max(axis=1, keepdims=True)
        x = x / np.where(loudest > 0, loudest, 1.0)
        mel = _librosa().feature.melspectrogram(
            y=x,
            sr=self.sample_rate,
            n_fft=self.window,
            hop_length=self.hop,
            n_mels=self.num_mels,
            power=1.0,
        )[..., :-1]  # the last frame is centred behind the last sample
        decibels = 20.0 * np.log10(np.maximum(mel, 10.0 ** (self.low / 20.0)))
        s = 2.0 * (decibels - self.low) / (self.high - self.low) - 1.0
        return np.maximum(s, -1.0)[..., None].astype(np.float32)  # rounding may go below

    def invert(self, spectrograms: Any, iterations: int = 64) -> np.ndarray:
        """Inverts spectrograms approximately to waveforms, by Griffin-Lim.

        Args:
            spectrograms: `[N, num_mels, frames, 1]` as `apply` gives them; cells at or below -1
                are silent.
            iterations: Passes of Griffin-Lim.

        Returns:
            float32 `[N, hop * frames]`, its loudest sample about 1 where the spectrogram is one of
            a waveform; silence where it is silent.

        Raises:
            ValueError: Another shape, or values that are not finite.
        """
        s = np.asarray(spectrograms, np.float32)
        if s.ndim != 4 or s.shape[1] != self.num_mels or s.shape[3] != 1 or not s.size:
            raise ValueError(
                f"spectrograms have shape {s.shape}: give [N, {self.num_mels}, frames, 1]"
            )
        if not np.isfinite(s).all():
            raise ValueError("the spectrograms hold values that are not finite")
        decibels = (s[..., 0] + 1.0) / 2.0 * (self.high - self.low) + self.low
        mel = np.where(s[..., 0] > -1.0, 10.0 ** (decibels / 20.0), 0.0)
        mel = np.pad(mel, ((0, 0), (0, 0), (0, 1)))  # the frame that `apply` leaves out
        librosa = _librosa()
        magnitude = librosa.feature.inverse.mel_to_stft(
            mel, sr=self.sample_rate, n_fft=self.window, power=1.0
        )
        names = inspect.signature(librosa.griffinlim).parameters
        generator = "rng" if "rng" in names else "random_state"  # librosa 1.0 renamed it
        return librosa.griffinlim(
            magnitude,
            n_iter=iterations,
            hop_length=self.hop,
            n_fft=self.window,
            length=self.hop * s.shape[2],
            **{generator: np.random.RandomState(0)},
        ).astype(np.float32)

    def _checked(self, waveforms: Any) -> np.ndarray:
        x = np.asarray(waveforms, np.float32)
        if x.ndim != 2 or not x.size or x.shape[1] % self.hop:
            raise ValueError(
                f"waveforms have shape {x.shape}: give [N, samples], a whole number of hops of"
                f" {self.hop} samples long"
            )
        if not np.isfinite(x).all():
            raise ValueError("the waveforms hold values that are not finite")
        return x


def pitch(waveforms: Any, sample_rate: int, low: float = 60.0, high: float = 400.0) -> np.ndarray:
    """Pitch of each voice: the median fundamental frequency of a waveform's loud frames.

    Loud are frames of at least 0.3 of the loudest one's root mean square.

    Args:
        waveforms: `[N, samples]` of any scale.
        sample_rate: Samples a second, Hz.
        low: Lowest frequency that is looked for, Hz; a frame has eight periods of it.
        high: Highest.

    Returns:
        Hz `[N]`; NaN for silence.

    References:
        A. de Cheveigne and H. Kawahara. YIN, a fundamental frequency estimator for speech and
        music. JASA 111 (4), 2002.
    """
    x, librosa = np.asarray(waveforms, np.float32), _librosa()
    frame = round(8 * sample_rate / low)
    sizes = {"frame_length": frame, "hop_length": frame // 4}
    frequencies = librosa.yin(x, fmin=low, fmax=high, sr=sample_rate, **sizes)
    loudness = librosa.feature.rms(y=x, **sizes)[:, 0]  # [N, frames]
    loud = loudness > 0.3 * loudness.max(axis=1, keepdims=True)
    pairs = zip(frequencies, loud, strict=True)
    return np.array([np.median(f[here]) if here.any() else np.nan for f, here in pairs])


def read_wav(path: str | os.PathLike[str], sample_rate: int) -> np.ndarray:
    """A recording as one channel of that many samples a second.

    Channels are averaged. A file of another sample rate is resampled, which a warning says.

    Args:
        path: A file that soundfile reads: wav, flac, ogg.
        sample_rate: Samples a second of what is returned, Hz.

    Returns:
        float32 `[samples]`, full scale 1.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no sound, or holds no samples.
    """
    librosa = _librosa()
    import soundfile

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no sound file {path}")
    try:
        x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} cannot be read as sound: give a wav file") from error
    if not len(x):
        raise ValueError(f"{path} holds no samples: give a recording")
    mono = x.mean(axis=1)
    if rate == sample_rate:
        return mono
    warnings.warn(f"{path} has {rate} Hz and is resampled to {sample_rate} Hz", stacklevel=2)
    return librosa.resample(mono, orig_sr=rate, target_sr=sample_rate)


def check_wav_name(path: str | os.PathLike[str]) -> None:
    """Refuses, before the work, the name of a file that no wav can be written to.

    Raises:
        ValueError: It ends otherwise than in `.wav`.
    """
    if Path(path).suffix.lower() != ".wav":
        raise ValueError(f"{path} is no name of a wav file: let it end in .wav")


def write_wav(path: str | os.PathLike[str], waveform: Any, sample_rate: int) -> None:
    """Writes one channel as 16-bit wav; a waveform beyond full scale is brought within it.

    Args:
        path: The file.
        waveform: `[samples]`, full scale 1.
        sample_rate: Samples a second, Hz.

    Raises:
        ValueError: The file is named otherwise than `.wav`, or the waveform has another shape.
        OSError: It cannot be written.
    """
    check_wav_name(path)
    x = np.asarray(waveform, np.float32)
    if x.ndim != 1:
        raise ValueError(f"the waveform has shape {x.shape}: give one channel [samples]")
    x = x * min(1.0, _PEAK / max(float(np.abs(x).max(initial=0.0)), 1e-9))
    _librosa()  # one refusal for whatever of the extra is missing
    import soundfile

    with Path(path).open("wb") as file:
        soundfile.write(file, x, sample_rate, subtype="PCM_16", format="WAV")


def _librosa() -> ModuleType:
    try:
        import librosa
    except ImportError as error:
        raise ImportError(
            "sound needs librosa, which is not installed: pip install 'genjax_models[audio]'"
        ) from error
    return librosa
