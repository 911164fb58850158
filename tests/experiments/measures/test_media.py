"""Music, films and speech: what is measured of them against truth, and the files that they fill."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import genjax_models as gm
from experiments.measures import films as films_measured
from experiments.measures import music, speech
from experiments.recipes import media
from experiments.runner import recordings, runs, samples
from genjax_models import metrics
from genjax_models.core import DataSpec
from genjax_models.data import Dataset
from genjax_models.data.audio import read_wav
from genjax_models.data.moving_digits import bounce
from genjax_models.data.music import Progressions, usual_progressions
from genjax_models.training import TrainState

TINY = [
    *("--steps", "6", "--batch-size", "4", "--log-every", "2", "--evaluation.every", "6"),
    *("--optimizer.warmup-steps", "1", "--model.layers", "1", "--model.heads", "1"),
    *("--model.width", "8", "--evaluation.examples", "8", "--devices", "1"),
]


@dataclasses.dataclass(frozen=True)
class Law:
    """A model whose samples and probabilities are the source's own, but for some nats."""

    spec: DataSpec
    off: float = 0.0

    def sample(self, params, key, num, *, state=None, **condition):
        return jnp.asarray(Progressions().sample(num, self.spec.shape[0]))

    def log_prob(self, params, x, *, key=None, state=None):
        nats = jax.ShapeDtypeStruct(x.shape[:1], jnp.float32)
        law = lambda x: usual_progressions().log_prob(x).astype(np.float32)  # noqa: E731
        return jax.pure_callback(law, nats, x) - self.off


@dataclasses.dataclass(frozen=True)
class Made:
    """A model whose samples are the data, in order."""

    spec: DataSpec
    x: tuple
    num_classes: int | None = None

    def sample(self, params, key, num, *, state=None, **condition):
        return jnp.asarray(self.x[0])[jnp.arange(num) % len(self.x[0])]


def run_of(found, data, model, directory, **setup):
    """A run of an experiment whose model is another one."""
    built = dataclasses.replace(found.build(found.config, data.spec), model=model, **setup)
    record = runs.create(directory, found, found.config, data)
    zero = jnp.zeros((), jnp.int32)
    return runs.Run(record, built, TrainState(zero, {}, {}, {}, {}, jax.random.key(0)))


def test_music_is_measured_against_its_law(tmp_path):
    data = gm.load("progressions", "test[:30]", window=16)
    run = run_of(media.chorales, data, Law(data.spec, off=6.4), tmp_path / "run")
    figures = music.music_figures(run, data, 0)
    value = {name: metric["value"] for name, metric in figures.items()}
    nats = -Progressions().log_prob(data.arrays["x"]).mean() + 6.4
    assert value["nats_per_note"] == pytest.approx(nats / 64, rel=1e-5)
    assert value["nats_per_step"] == pytest.approx(nats / 16, rel=1e-5)
    assert value["excess"] == pytest.approx(0.1, rel=1e-4) and value["rules_kept"] == 100
    assert not media.chorales.goal.reached(value)


def test_chorales_of_a_file_from_training_to_midi(run, tmp_path):
    mido = pytest.importorskip("mido")
    pieces = Progressions().sample(6, 10).tolist()
    (tmp_path / "mine.json").write_text(json.dumps({"train": pieces, "valid": pieces[:2]}))
    options = ("--dataset", "mine.json", "--window", "4", "--model.transpose", "-1", "2")
    said = run("train", "chorales", *options, *TINY, "--run-dir", "run")
    assert said.code == 0, said.err
    metrics = json.loads((tmp_path / "run" / runs.RESULT).read_text())["metrics"]
    assert metrics["nats_per_note"]["value"] == pytest.approx(np.log(128), rel=0.2)
    assert "excess" not in metrics
    assert len(mido.MidiFile(tmp_path / "run" / "samples.mid").tracks) == 4
    assert (tmp_path / "run" / runs.SAMPLES).is_file()
    said = run("sample", "run", "--num", "3", "--out", "new.mid")
    assert said.code == 0 and mido.MidiFile("new.mid").length == pytest.approx(3 * 8 * 60 / 90)
    said = run("sample", "run", "--num", "3", "--out", "new.gif")
    assert said.code == 2 and ".mid" in said.line
    config = dataclasses.replace(
        media.chorales.config,
        dataset=str(tmp_path / "mine.json"),
        window=4,
        model=media.MusicSettings(transpose=(-1, 2)),
    )
    assert len(config.model.load(config, "train")) == 3 * 6 * 7
    assert len(config.model.load(config, "validation")) == 2 * 2


def test_a_run_is_as_good_without_a_file_that_needs_an_extra(tmp_path):
    data = gm.load("progressions", "test[:1]", window=4)

    def missing(drawn, path):
        raise ImportError("MIDI needs mido: pip install it")

    writers = {".mid": missing, ".npy": lambda drawn, path: np.save(path, drawn)}
    run = run_of(media.chorales, data, Law(data.spec), tmp_path / "run", writers=writers)
    with pytest.warns(UserWarning, match="samples.mid is not written: MIDI needs mido"):
        samples._write_all(run, data.arrays["x"])
    np.testing.assert_array_equal(np.load(tmp_path / "run" / "samples.npy"), data.arrays["x"])


def test_what_is_no_music_is_told_in_one_line(run, tmp_path):
    (tmp_path / "bad.json").write_text('{"train": [[[72, 67, 60, 200]]]}')
    for dataset, line in (
        ("digits", "--dataset digits is no music in four voices"),
        ("bad.json", "holds 200: a note is a MIDI number"),
    ):
        said = run("train", "chorales", "--dataset", dataset, "--run-dir", "run")
        assert said.code == 2 and line in said.line
    said = run("train", "moving_digits", "--dataset", "digits", "--run-dir", "run")
    assert said.code == 2 and "this experiment is of films" in said.line
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def films():
    return gm.load("moving_digits", "test[:60]")


def test_paths_of_digits_are_found_again(films):
    x, motion = films.arrays["x"], films.arrays["motion"][:, 0]
    found = films_measured.path_of(x)
    true = np.stack([bounce(motion[:, a], motion[:, 2 + a], 8) for a in (0, 1)], -1)
    assert found.error.max() < 0.01  # but for where it lies in its image, a digit tells its path
    np.testing.assert_array_equal(found.speed, np.abs(motion[:, 2:]))
    assert (found.place == true).all((1, 2)).mean() > 0.9
    np.testing.assert_array_equal(
        films_measured.crops(x, true)[:, 3], films_measured.crops(x[:, 3:4], true[:, 3:4])[:, 0]
    )
    jumps = x.copy()
    jumps[:, 4] = jumps[:, 4, ::-1]  # a frame upside down, where that is another place
    off = films_measured.path_of(jumps).error > films_measured.NEAR
    assert off[np.abs(true[:, 4, 0] - 4) >= 2].all()
    jumps[:, 4] = 0
    assert np.isinf(films_measured.path_of(jumps).error).all()


class Reads:
    """Reads the digit 3 in whatever is bright, and 5 elsewhere."""

    name = "reads"

    def predict(self, x):
        return np.where(x.max(axis=(1, 2, 3)) > 8, 3, 5)


def test_films_are_measured_and_written(films, tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "load_classifier", lambda name: Reads())
    x = films.arrays["x"].copy()
    x[::2, 5] //= 2  # every other film has a frame that is read as another digit
    run = run_of(media.moving_digits, films, Made(films.spec, (x,)), tmp_path / "run")
    figures = films_measured.film_figures(run, films, 0)
    value = {name: metric["value"] for name, metric in figures.items()}
    assert value["same_digit"] == 50 and value["same_digit_of_truth"] == 100
    # Asked for are the digits in turn: a tenth of the films for 3, another for 5.
    assert value["frames_read"] == pytest.approx(10 * 15 / 16 + 0 + 10 / 16 * 0, abs=1.3)
    assert value["on_path"] == value["on_path_of_truth"] == 100
    assert value["fast"] == value["fast_of_truth"]
    samples.save_samples(x[:4], run, tmp_path / "a.gif")
    samples.save_samples(x[:4], run, tmp_path / "a.png")
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 8


def made_up_recordings(name, split="train", data_dir=None, **kwargs):
    """A tone for each digit, said twice."""
    t = np.arange(2048) / 8_000
    x = np.stack([np.sin(2 * np.pi * (300 + 150 * (i % 10)) * t) for i in range(20)])
    label = (np.arange(20) % 10).astype(np.int32)
    levels = (0.5 * x * 32_768 + 32_768).astype(np.uint16)[..., None]
    arrays = {"x": levels, "label": label, "speaker": label // 2}
    return Dataset(DataSpec((2048, 1), 65_536, 10, name=name), split, arrays)


class Pitch:
    """Reads the digit whose tone is loudest."""

    name = "pitch"

    def __init__(self, real):
        self.loudest = real.arrays["x"][:10].mean((2, 3))

    def predict(self, x):
        distance = ((x.mean((2, 3))[:, None] - self.loudest) ** 2).sum(-1)
        return distance.argmin(1)


def test_speech_is_measured_and_written(tmp_path, monkeypatch):
    pytest.importorskip("librosa")
    monkeypatch.setattr(recordings.gm, "load", made_up_recordings)
    recordings.spectrograms.cache_clear()
    found = media.spoken_digits
    data = found.config.model.load(found.config, "test")
    assert data.spec.shape == (64, 16, 1) and data.spec.num_levels is None
    monkeypatch.setattr(speech, "reader", lambda config, name, num: Pitch(data))
    monkeypatch.setattr(speech, "NUM_CLIPS", 20)
    drawn = np.roll(data.arrays["x"], 5, axis=0)  # half a turn too far: every digit is wrong
    drawn[10:] = data.arrays["x"][10:]
    run = run_of(found, data, Made(data.spec, (drawn,)), tmp_path / "run")
    figures = speech.speech_figures(run, data, 0)
    recordings.spectrograms.cache_clear()
    value = {name: metric["value"] for name, metric in figures.items()}
    assert value == {"seen": 50, "heard": 50, "seen_of_truth": 100, "heard_of_truth": 100}
    folder = run.record.directory
    names = {f"{digit}_{number}.wav" for digit in range(10) for number in (0, 1)}
    assert {path.name for path in (folder / "wav").iterdir()} == names
    sound = read_wav(folder / "wav" / "4_1.wav", 8_000)
    peak = np.abs(np.fft.rfft(sound)).argmax() * 8_000 / len(sound)
    assert peak == pytest.approx(300 + 150 * 4, abs=40)
    samples.save_samples(drawn[:3], run, tmp_path / "a.wav")
    assert len(read_wav(tmp_path / "a.wav", 8_000)) == 3 * (2048 + 1600)
