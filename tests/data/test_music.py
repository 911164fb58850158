"""Music: files are read as laid out, MIDI holds the notes, progressions cost their rate."""

import itertools
import json

import numpy as np
import pytest

import genjax_models as gm
from genjax_models.data import music
from genjax_models.data.dataset import Dataset
from genjax_models.data.music import TRIADS, Progressions, held, write_midi

RISING = [[72 + t, 67, 60, 48 + t] for t in range(10)]
LONG = [[60, 57, 53, 40 + t] for t in range(7)]


@pytest.fixture
def write(tmp_path):
    def write(content, name="mine.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_a_file_is_loaded_by_its_path(write):
    path = write({"test": [LONG], "train": [RISING, LONG], "valid": [RISING]})
    assert gm.data.split_names(path) == ("train", "validation", "test")
    assert gm.data.training_split(path) == "train"
    train = gm.load(path, window=4)
    assert train.spec.shape == (4, 4) and train.spec.num_levels == 128 and len(train) == 7 + 4
    np.testing.assert_array_equal(train.arrays["x"][2], RISING[2:6])  # one begins at every step
    held_out = gm.load(str(path), "validation", window=4)
    np.testing.assert_array_equal(held_out.arrays["x"].reshape(-1, 4), RISING[:8])  # none overlap
    assert len(gm.load(path, "train[1:]", window=4)) == 4  # a slice counts pieces
    with pytest.raises(ValueError, match=r"1 pieces, the longest of 7 steps, and the window is 8"):
        gm.load(path, "test", window=8)


def test_voices_may_come_either_way_round_and_rest(write):
    up = {"train": [[chord[::-1] for chord in RISING]]}
    down = gm.load(write({"train": [RISING]})).arrays["x"]
    np.testing.assert_array_equal(gm.load(write(up, "up.json")).arrays["x"], down)
    # A soprano below the alto stays where the file has her.
    crossed = gm.load(write({"train": [[[60, 65, 53, 40], [72, 65, 53, 40]]]}, "crossed.json"))
    np.testing.assert_array_equal(crossed.arrays["x"][0, 0], [60, 65, 53, 40])
    for rest in ("null", "NaN", "-1", "0"):
        path = write(f'{{"train": [[[72, {rest}, 60, 48.0], [72, 67, 60, {rest}]]]}}', "rest.json")
        x = gm.load(path).arrays["x"][0]
        np.testing.assert_array_equal(x, [[72, 0, 60, 48], [72, 67, 60, 0]])


def test_sets_of_notes_fill_the_voices_from_outside(write):
    piece = [[48, 60, 67, 72], [48, 60, 72], [48, 72], [72], []]
    x = gm.load(write({"train": [piece]})).arrays["x"][0]
    expected = [[72, 67, 60, 48], [72, 60, 0, 48], [72, 0, 0, 48], [72, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(x, expected)


def test_other_keys():
    x = np.array([[[72, 67, 0, 48]] * 2, [[126, 67, 60, 48]] * 2], np.uint8)
    spec = gm.DataSpec((2, 4), 128, name="two")
    more = music.transposed(Dataset(spec, "train", {"x": x}), (0, 2, -3))
    first = more.arrays["x"][:, 0]
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(
        first,
        [[72, 67, 0, 48], [126, 67, 60, 48], [74, 69, 0, 50], [69, 64, 0, 45], [123, 64, 57, 45]],
    )  # a rest stays one, and 128 is no note
    with pytest.raises(ValueError, match="leaves MIDI's"):
        music.transposed(Dataset(spec, "train", {"x": x}), (-50,))
    with pytest.raises(ValueError, match="digits cannot be transposed: give piano rolls"):
        music.transposed(gm.load("digits"), (1,))


def test_other_json_is_text_as_before(write):
    path = write('{"training": [1, 2, 3]}' * 40)
    assert gm.load(path).spec.vocabulary and gm.data.split_names(path) == ("train", "validation")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"train": [[[72, 67,', "is not readable JSON"),
        ('{"train": []}', "has no pieces under 'train'"),
        ('{"train": [], "test": [[[60, 60, 60, 60]]]}', "has no pieces under 'train'"),
        ('{"train": [[[72, 67, 60, "C"]]]}', r"train\[0\]\[0\] holds 'C': a note is a MIDI number"),
        ('{"train": [[[72, 67, 60, 128]]]}', "holds 128"),
        ('{"train": [[[72, 67, 60, 48.5]]]}', "holds 48.5"),
        ('{"train": [[[72, 67, 60, Infinity]]]}', "holds inf"),
        ('{"train": [[[72, 67, 60, true]]]}', "holds True"),
        ('{"train": [[72, 67, 60, 48]]}', r"train\[0\]\[0\] is 72, not a list"),
        ('{"train": [[[1, 2, 3, 4, 5]]]}', r"train\[0\]\[0\] has 5 notes: there are four voices"),
        ('{"train": [[[72, 67, 60, 48]], []]}', r"train\[1\] is a piece without steps"),
    ],
)
def test_bad_files_are_refused_in_one_line(write, content, line):
    with pytest.raises(ValueError, match=line) as refused:
        gm.load(write(content))
    assert "\n" not in str(refused.value) and "mine.json" in str(refused.value)


def test_a_tokenizer_is_for_texts(write):
    with pytest.raises(ValueError, match="is not a text: only a text takes a tokenizer"):
        gm.load(write({"train": [RISING]}), tokenizer=gm.data.tokenizers.utf8)


mido = pytest.importorskip("mido")


def read(path, steps):
    """The file's notes `[steps, 4]`, and how often each voice begins one."""
    file = mido.MidiFile(path)
    roll, begun = np.zeros((steps, 4), int), []
    for voice, track in enumerate(file.tracks):
        now, sounding = 0, {}
        begun.append(0)
        for message in track:
            now += message.time
            if message.type == "note_on":
                sounding[message.note] = now
                begun[-1] += 1
            elif message.type == "note_off":
                start = sounding.pop(message.note)
                roll[start // 480 : now // 480, voice] = message.note
        assert not sounding and now == steps * 480
    return roll, begun, file


def test_notes_and_rests_come_back(tmp_path):
    x = Progressions().sample(2, 12)
    x[0, 3:6, 1] = 0
    x[1, :2] = 0
    write_midi(tmp_path / "a.mid", x, tempo=120)
    roll, begun, file = read(tmp_path / "a.mid", 2 * 16)
    np.testing.assert_array_equal(roll.reshape(2, 16, 4)[:, :12], x)
    assert not roll.reshape(2, 16, 4)[:, 12:].any()  # a bar's rest behind each piece
    assert begun == [sum(note > 0 for note, _ in held(voice)) for voice in roll.T]
    assert [t.name for t in file.tracks] == ["soprano", "alto", "tenor", "bass"]
    assert file.length == pytest.approx(32 / 2)  # seconds, at two steps a second


def test_a_held_note_is_one_note(tmp_path):
    write_midi(tmp_path / "a.mid", np.full((5, 4), 60))
    assert read(tmp_path / "a.mid", 9)[1] == [1, 1, 1, 1]
    assert held(np.array([60, 60, 0, 62])) == [(60, 2), (0, 1), (62, 1)]


@pytest.mark.parametrize("x", [np.zeros((3, 3)), np.full((3, 4), 128), np.zeros((3, 4), float)])
def test_what_is_no_music_is_refused(x, tmp_path):
    with pytest.raises(ValueError, match="the music has"):
        write_midi(tmp_path / "a.mid", x)
    assert not (tmp_path / "a.mid").exists()


SOURCE = Progressions()


def test_it_is_a_stationary_chain():
    p, pi = SOURCE.transition, SOURCE.stationary
    np.testing.assert_allclose(p.sum(1), 1.0)
    np.testing.assert_allclose(pi @ p, pi, atol=1e-12)
    assert abs(pi.sum() - 1) < 1e-12 and pi.min() > 0  # every voicing is sung


def test_probabilities_of_all_windows_sum_to_one():
    chords = SOURCE.voicings
    pairs = np.array([(a, b) for a in chords for b in chords])
    assert np.exp(SOURCE.log_prob(pairs)).sum() == pytest.approx(1.0)
    wrong = pairs[:1].copy()
    wrong[0, 1, 0] += 1
    assert SOURCE.log_prob(wrong)[0] == -np.inf and not SOURCE.follows(wrong).any()


def test_samples_are_of_that_law():
    x = SOURCE.sample(400, 200, seed=3)
    first = -(SOURCE.stationary * np.log(SOURCE.stationary)).sum()
    nats = -SOURCE.log_prob(x)
    expected = first + 199 * SOURCE.entropy_rate
    assert abs(nats.mean() - expected) < 4 * nats.std() / 20  # four standard errors
    assert SOURCE.follows(x).all()
    np.testing.assert_array_equal(x, SOURCE.sample(400, 200, seed=3))
    assert (x != SOURCE.sample(400, 200, seed=4)).any()


def test_the_rules_are_kept():
    x = SOURCE.sample(100, 50).astype(int)
    soprano, alto, tenor, bass = np.moveaxis(x, -1, 0)
    assert (soprano > alto).all() and (alto > tenor).all() and (tenor > bass).all()
    assert (soprano - tenor < 12).all()
    assert {tuple(sorted(set(chord % 12))) for chord in x.reshape(-1, 4)} == {
        tuple(sorted(triad)) for triad in TRIADS
    }
    roots = {tuple(sorted(triad)): triad[0] for triad in TRIADS}
    assert all(roots[tuple(sorted(set(c % 12)))] == c[3] % 12 for c in x.reshape(-1, 4))
    for i, j in itertools.combinations(range(4), 2):  # no parallel fifths or octaves
        before, after = ((x[:, s, i] - x[:, s, j]) % 12 for s in (slice(-1), slice(1, None)))
        move = np.diff(x, axis=1)
        together = (np.sign(move[..., i]) == np.sign(move[..., j])) & (move[..., i] != 0)
        assert not (together & (before == after) & np.isin(before, (0, 7))).any()


def test_it_is_loaded_by_name():
    test = gm.load("progressions", "test", window=16)
    assert len(test) == 200 * 4 and test.spec.shape == (16, 4)
    assert np.isfinite(SOURCE.log_prob(test.arrays["x"])).all()
    assert gm.load("progressions", "validation[:10]").spec.shape == (32, 4)
    with pytest.raises(ValueError, match="temperature is 0"):
        Progressions(0)
