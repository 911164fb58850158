"""Generated text: what is shown is what is drawn, up to where it is to stop."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.commands import generate
from experiments.commands.generate import GenerateArguments


@pytest.mark.parametrize(
    ("stop", "pieces", "shown"),
    [
        ("END", ["one", " two", " E", "N", "D", " three"], "one two "),
        ("END", ["one END two END"], "one "),
        ("END", ["E", "E", "N", "X", "EN"], "EENXEN"),
        ("aab", ["a", "a", "a", "b", "c"], "a"),
        ("\n\n", ["a\n", "b\n", "\nc"], "a\nb"),
        ("x", ["x"], ""),
        ("long stop", ["", "sho", "rt"], "short"),
    ],
)
def test_a_text_stops_before_the_stop(stop, pieces, shown):
    assert "".join(generate.until(stop, pieces)) == shown
    assert all(generate.until(stop, pieces))


def test_nothing_is_kept_back_that_cannot_be_the_stop():
    drawn = []

    def pieces():
        for piece in ("ab", "E", "c", "END", "never"):
            drawn.append(piece)
            yield piece

    shown = [(piece, drawn[-1]) for piece in generate.until("END", pieces())]
    assert shown == [("ab", "ab"), ("Ec", "c")]
    assert drawn[-1] == "END"


def test_gaps_are_not_filled_up_to_a_stop():
    given = GenerateArguments(Path("run"), prompt="a_", mask_character="_", stop="b")
    with pytest.raises(ValueError, match="--stop is given with --mask-character"):
        generate._refuse(given, generate.OF_AUTOREGRESSIVE, "masked")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_text_cannot_steer_the_terminal():
    drawn, ends = ["to\tbe\n", "\x1b[31m", "é"], "\n"
    out = Terminal()
    generate.write(drawn, out)
    assert out.getvalue() == "to\tbe\n\ufffd[31mé" + ends
    generate.write(drawn, out := io.StringIO())
    assert out.getvalue() == "".join(drawn) + ends
    generate.write(["whole line\n", ""], out := io.StringIO())
    assert out.getvalue() == "whole line\n"


def test_a_reader_may_go_away():
    code = (
        "import sys; from experiments.commands import generate;"
        "generate.write(('line\\n' for _ in range(100_000)), sys.stdout)"
    )
    command = f'{sys.executable} -c "{code}" | head -n 1'
    end = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert end.stdout == "line\n" and end.stderr == ""
