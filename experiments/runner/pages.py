"""Pages that need nothing but themselves: one style for all, pictures within the text."""

from __future__ import annotations

import base64
import io
import string
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = "/* pages.css */"
"""Placeholder in a page for the style of all pages; its own rules stand after it."""
MIME = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "gif": "image/gif",
    "wav": "audio/wav",
    "mid": "audio/midi",
}


def read(path: Path) -> str:
    """A page's file with the style of all pages in it."""
    style = Path(__file__).with_name("pages.css").read_text("utf-8")
    return path.read_text("utf-8").replace(STYLE, style)


def fill(path: Path, **values: object) -> str:
    """A page's file with the values of its `$names`, and the style of all pages."""
    return string.Template(read(path)).substitute(values)


def uri(data: bytes, kind: str) -> str:
    """A picture or a sound as an address that holds it; `kind` is a key of `MIME`."""
    return f"data:{MIME[kind]};base64,{base64.b64encode(data).decode()}"


def png(figure: Figure) -> str:
    """A figure as a PNG, pixel for pixel."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    return uri(buffer.getvalue(), "png")


def svg(figure: Figure) -> str:
    """A figure as an SVG without a background, the same file for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return uri(buffer.getvalue(), "svg")
