"""MIDI files say the notes that were written."""

import numpy as np
import pytest

from genjax_models.data.music import Progressions, held, write_midi

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
