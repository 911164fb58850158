"""Chorales from JSON: the layouts that are about, windows, other keys, and files that are none."""

import json

import numpy as np
import pytest

import genjax_models as gm
from genjax_models.data import music
from genjax_models.data.dataset import Dataset

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
        ('{"train": [[[72, 67,', "is no readable JSON"),
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
    with pytest.raises(ValueError, match="is no text: only a text takes a tokenizer"):
        gm.load(write({"train": [RISING]}), tokenizer=gm.data.tokenizers.utf8)
