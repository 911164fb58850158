"""Music as MIDI files, by `mido`: an optional extra of this library, `genjax_models[music]`."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np

from genjax_models.data.chorales import LEVELS, REST, VOICES

_TICKS = 480
"""Ticks of a step, a quarter note."""
_PROGRAM = 52
"""General MIDI's choir, counted from 0."""
_VELOCITY = 80
_GAP = 4
"""Steps of silence between pieces."""


def check_midi() -> None:
    """Refuses, before the work, to write MIDI without `mido`.

    Raises:
        ImportError: It is not installed; says how it is.
    """
    try:
        import mido  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "MIDI needs mido, which is not installed: pip install 'genjax_models[music]'"
        ) from error


def write_midi(path: str | os.PathLike[str], rolls: Any, *, tempo: float = 90.0) -> None:
    """Writes piano rolls as a MIDI file, a track a voice, the pieces one after the other.

    A note that a voice has in several steps on end is one long note.

    Args:
        path: The file.
        rolls: Notes `[T, 4]` or `[N, T, 4]`, soprano first; 0 is a rest.
        tempo: Steps a minute.

    Raises:
        ValueError: The array is no piano roll.
        ImportError: `mido` is not installed.
        OSError: The file cannot be written.
    """
    x = np.asarray(rolls)
    if x.shape[-1:] != (len(VOICES),) or x.ndim not in (2, 3) or not x.size:
        raise ValueError(f"the music has shape {x.shape}: give notes [T, 4] or [N, T, 4]")
    if not np.issubdtype(x.dtype, np.integer) or x.min() < 0 or x.max() >= LEVELS:
        raise ValueError(f"the music has values {x.min()} .. {x.max()}: MIDI has notes 0 .. 127")
    check_midi()
    import mido

    pieces = x if x.ndim == 3 else x[None]
    gap = np.full((len(pieces), _GAP, len(VOICES)), REST, x.dtype)
    voices = np.concatenate([pieces, gap], axis=1).reshape(-1, len(VOICES)).T  # [4, steps]
    file = mido.MidiFile(type=1, ticks_per_beat=_TICKS)
    for channel, (name, notes) in enumerate(zip(VOICES, voices, strict=True)):
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
        if channel == 0:
            track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
        track.append(mido.Message("program_change", channel=channel, program=_PROGRAM))
        wait = 0
        for note, steps in held(notes):
            if note != REST:
                length, say = steps * _TICKS, functools.partial(mido.Message, channel=channel)
                track.append(say("note_on", note=note, velocity=_VELOCITY, time=wait))
                track.append(say("note_off", note=note, time=length))
            wait = 0 if note != REST else wait + steps * _TICKS
        track.append(mido.MetaMessage("end_of_track", time=wait))
        file.tracks.append(track)
    with Path(path).open("wb") as out:
        file.save(file=out)


def held(notes: np.ndarray) -> list[tuple[int, int]]:
    """One voice's notes `[T]` as (note, steps), equal ones on end as one."""
    changes = np.flatnonzero(np.diff(notes)) + 1
    return [(int(part[0]), len(part)) for part in np.split(notes, changes)]
