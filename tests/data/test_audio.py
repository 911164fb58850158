"""Spectrograms show what is heard, and can be heard again; wav files are read as they sound."""

import builtins
import warnings

import numpy as np
import pytest

from genjax_models.data.audio import MelSpectrogram, pitch, read_wav, write_wav

librosa = pytest.importorskip("librosa")
soundfile = pytest.importorskip("soundfile")
MEL = MelSpectrogram()
TIME = np.arange(4096) / MEL.sample_rate


def tones(*frequencies):
    return np.stack([np.sin(2 * np.pi * f * TIME) for f in frequencies])


def amplitudes(spectrogram):
    """Magnitudes again, of cells that are not silent."""
    decibels = (spectrogram + 1) / 2 * (MEL.high - MEL.low) + MEL.low
    return np.where(spectrogram > -1, 10 ** (decibels / 20), 0)


def test_a_tone_is_where_its_frequency_is():
    frequencies = (300.0, 1000.0, 2500.0)
    s = MEL.apply(tones(*frequencies))
    assert s.shape == (3, 64, 32, 1) and s.dtype == np.float32
    centres = librosa.mel_frequencies(MEL.num_mels + 2, fmax=MEL.sample_rate / 2)[1:-1]
    loudest = s[:, :, 4:-4, 0].argmax(1)
    nearest = np.abs(centres - np.array(frequencies)[:, None]).argmin(1)
    np.testing.assert_array_equal(loudest, np.repeat(nearest[:, None], 24, axis=1))


def test_time_runs_along_the_frames():
    x = tones(1000.0)
    x[:, : 2048 + 64] = 0
    s = MEL.apply(x)[0, :, :, 0]
    reach = MEL.window // 2 // MEL.hop  # frames that see a sample
    assert (s[:, : 16 - reach] == -1).all() and (s[:, 16 + reach :].max(0) > 0.5).all()


def test_the_scale_is_the_one_that_it_says():
    x = tones(1000.0)
    np.testing.assert_allclose(MEL.apply(0.01 * x), MEL.apply(x), atol=1e-4)  # as loud as another
    # By hand: |X| of the Hann window's sum through the filters, at a frame in the middle.
    frame = x[0, 16 * MEL.hop - 256 : 16 * MEL.hop + 256] * np.hanning(513)[:-1]
    filters = librosa.filters.mel(sr=8000, n_fft=512, n_mels=64)
    decibels = 20 * np.log10(np.maximum(filters @ np.abs(np.fft.rfft(frame)), 1e-3))
    np.testing.assert_allclose(MEL.apply(x)[0, :, 16, 0], 2 * (decibels + 60) / 70 - 1, atol=1e-3)


def test_silence_is_silence_there_and_back():
    silence = np.zeros((2, 1024))
    s = MEL.apply(silence)
    assert s.shape == (2, 64, 8, 1) and (s == -1).all()
    np.testing.assert_array_equal(MEL.invert(s), silence)


def test_what_is_heard_again_has_nearly_the_same_spectrogram():
    vowel = sum(tones(f) / (i + 1) for i, f in enumerate((150.0, 300.0, 450.0, 900.0, 2100.0)))
    x = np.concatenate([vowel * np.hanning(4096), tones(700.0) * np.hanning(4096)])
    s = MEL.apply(x)
    y = MEL.invert(s)
    assert y.shape == x.shape and y.dtype == np.float32
    a, b = amplitudes(s), amplitudes(MEL.apply(y))
    convergence = [np.linalg.norm(p - q) / np.linalg.norm(p) for p, q in zip(a, b, strict=True)]
    assert max(convergence) < 0.25
    noise = amplitudes(MEL.apply(np.random.default_rng(0).normal(size=x.shape)))
    assert np.linalg.norm(a - noise) / np.linalg.norm(a) > 0.5  # the measure can tell
    np.testing.assert_array_equal(MEL.invert(s), y)  # no hidden noise
    np.testing.assert_allclose(np.abs(y).max(1), 1, atol=0.25)


def test_the_pitch_is_the_fundamental():
    voices = [sum(tones(n * f)[0] / n for n in range(1, 6)) for f in (110.0, 180.0, 240.0)]
    voices[0][:2000] *= 0.1  # faint frames do not count
    voices[0][:2000] += 0.02 * np.random.default_rng(0).normal(size=2000)
    np.testing.assert_allclose(pitch(voices, 8_000), [110, 180, 240], rtol=0.01)
    assert np.isnan(pitch(np.zeros((1, 4096)), 8_000)).all()


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_recording_of_any_rate_is_the_same_sound(tmp_path, rate):
    path = tmp_path / "tone.wav"
    stereo = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)[:, None] * [1.0, 0.5]
    soundfile.write(path, stereo, rate)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        x = read_wav(path, 8_000)
    lines = [str(w.message) for w in said if "resampled" in str(w.message)]
    assert lines == ([] if rate == 8_000 else [f"{path} has {rate} Hz and is resampled to 8000 Hz"])
    assert x.shape == (8_000,) and x.dtype == np.float32
    expected = 0.375 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)
    np.testing.assert_allclose(x[400:-400], expected[400:-400], atol=2e-3)


def test_a_file_holds_what_was_written(tmp_path):
    x = 0.5 * tones(440.0)[0]
    write_wav(tmp_path / "a.wav", x, 8_000)
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav", 8_000), x, atol=1e-4)
    write_wav(tmp_path / "b.wav", 6 * x, 8_000)  # beyond full scale: fainter, not cut off
    np.testing.assert_allclose(read_wav(tmp_path / "b.wav", 8_000), 1.98 * x, atol=1e-4)
    assert soundfile.info(tmp_path / "b.wav").subtype == "PCM_16"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: MEL.apply(np.zeros(1024)), "give \\[N, samples\\]"),
        (lambda: MEL.apply(np.zeros((1, 1000))), "whole number of hops of 128"),
        (lambda: MEL.apply(np.full((1, 1024), np.nan)), "not finite"),
        (lambda: MEL.invert(np.zeros((1, 32, 8, 1))), "give \\[N, 64, frames, 1\\]"),
        (lambda: MEL.invert(np.full((1, 64, 8, 1), np.inf)), "not finite"),
        (lambda: MelSpectrogram(hop=300), "at most half the window"),
        (lambda: MelSpectrogram(low=10.0), "low must be below"),
        (lambda: write_wav("a.mp3", np.zeros(8), 8_000), "let it end in .wav"),
        (lambda: write_wav("a.wav", np.zeros((8, 2)), 8_000), "give one channel"),
    ],
)
def test_bad_input_is_told_in_one_line(call, line):
    with pytest.raises(ValueError, match=line) as error:
        call()
    assert "\n" not in str(error.value)


def test_files_that_are_no_sound(tmp_path):
    with pytest.raises(FileNotFoundError, match="no sound file"):
        read_wav(tmp_path / "none.wav", 8_000)
    (tmp_path / "text.wav").write_text("this is text")
    with pytest.raises(ValueError, match="cannot be read as sound"):
        read_wav(tmp_path / "text.wav", 8_000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8_000)
    with pytest.raises(ValueError, match="holds no samples"):
        read_wav(tmp_path / "empty.wav", 8_000)


def test_without_librosa_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "librosa":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'genjax_models\[audio\]'"):
        MEL.apply(np.zeros((1, 1024)))
