"""Tables of text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of as many cells each, one a line, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def plain_cell(value: Any) -> Any:
    """A cell of a CSV file that no spreadsheet takes for a formula; numbers stay numbers."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
        return value
    except ValueError:
        return f"'{value}"
