"""Output to a terminal: streams, whatever they are connected to, and tables of text."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

_INSTEAD = {"≤": "<=", "≥": ">=", "±": "+/-", "×": "x", "–": "-", "—": "-", "−": "-", "…": "...",
            "→": "->", "é": "e", "█": "#"}  # fmt: skip
"""Replacements of characters that a stream cannot hold."""


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Standard streams that can be written to, while a command runs.

    One that is closed is opened, to go nowhere: else the next file to be opened, a checkpoint it
    may be, would have its number, and get what is meant for it. A character that a stream cannot
    hold is written as the nearest that it can. A reader of stderr that goes away ends nothing.
    """
    _open_all()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (s or open(os.devnull, "w", encoding="utf-8") for s in before)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # not a text stream on bytes
            stream.reconfigure(errors=_FALL_BACK)  # pyright: ignore[reportAttributeAccessIssue]
    sys.stderr = _Forgiving(sys.stderr)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def let_go(out: TextIO | None) -> None:
    """Has what is still to be written to a stream go nowhere: its reader has gone (`| head`).

    Python itself would complain otherwise when it flushes at its end.
    """
    if out is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


class _Forgiving:
    """A stream whose reader may go away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            let_go(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _open_all() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it takes the lowest number, which is this one


def _fall_back(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_nearest, text)), error.end


def _nearest(character: str) -> str:
    """In ASCII, which every encoding of a terminal holds."""
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _INSTEAD.get(character) or plain or "?"


_FALL_BACK = "genjax.nearest"
codecs.register_error(_FALL_BACK, _fall_back)


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of as many cells each, one a line, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def print_metrics(metrics: Mapping[str, Mapping[str, Any]], split: str) -> None:
    """Prints the figures of a split, one a line, each with its unit and what kind it is."""
    for name, metric in metrics.items():
        kind, low, high = metric["kind"], metric.get("low"), metric.get("high")
        if low is not None and high is not None:
            kind = f"{low:.5g} to {high:.5g}, {metric['interval']}; {kind}"
        print(f"{split} {name} {metric['value']:.5g} {metric['unit']} ({kind})")


def plain_cell(value: Any) -> Any:
    """A cell of a CSV file that no spreadsheet takes for a formula; numbers stay numbers."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
        return value
    except ValueError:
        return f"'{value}"
