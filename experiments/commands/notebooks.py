"""`notebooks`: executes the notebooks and keeps their printed text and pictures in them."""

from __future__ import annotations

import base64
import dataclasses
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.commands.arguments import parse
from experiments.runner.config import PositiveInt

FOLDER = Path(__file__).parents[2] / "notebooks"
MOST_BYTES = 300_000
"""Largest size of a notebook with its outputs."""
KEPT = ("image/png", "image/gif", "text/plain")
"""Kinds of data that are kept of an output: the first that it has."""


@dataclasses.dataclass(frozen=True)
class NotebooksArguments:
    """Execute the notebooks, and write their text and pictures into them."""

    notebooks: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="FILE")] = ()
    """The notebooks; all of the folder notebooks/ by default."""
    timeout: PositiveInt = 3600
    """Seconds that a cell may take."""


def main(argv: Sequence[str]) -> int:
    """The command `notebooks`.

    Args:
        argv: The arguments after the command.

    Raises:
        ValueError: A notebook would be too large; it is left as it was.
    """
    arguments = parse(NotebooksArguments, "notebooks", argv)
    import nbformat

    for path in arguments.notebooks or sorted(FOLDER.glob("*.ipynb")):
        began = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        execute(notebook, path.parent, arguments.timeout)
        written = nbformat.writes(notebook) + "\n"
        if len(written.encode()) > MOST_BYTES:
            raise ValueError(
                f"{path} would have {len(written.encode()):,} bytes, at most {MOST_BYTES:,}: draw "
                "smaller pictures in it"
            )
        path.write_text(written, "utf-8")
        print(f"{path}: {len(written.encode()):,} bytes, {time.monotonic() - began:.0f} s")
        sys.stdout.flush()
    return 0


def execute(notebook: Any, folder: Path, timeout: int) -> None:
    """Executes a notebook from its first cell to its last, and cleans its outputs.

    Kept are standard output, and of everything shown the picture or else the text, unless that only
    stands for something else (a player of sound). Pictures have at most 256 colours.

    Args:
        notebook: The notebook, of nbformat; its cells are changed.
        folder: Folder in which it runs.
        timeout: Seconds that a cell may take.
    """
    from nbclient import NotebookClient

    options = {"timeout": timeout, "kernel_name": "python3", "coalesce_streams": True}
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, **options).execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell ran
        if cell.cell_type == "code":
            outputs = (_cleaned(output) for output in cell.outputs)
            cell.outputs = [output for output in outputs if output is not None]


def kinds(cell: Any) -> list[str]:
    """Kinds of a cell's cleaned outputs: "stdout", or what is shown ("image/png")."""
    found = [output.get("name") or next(iter(output.data)) for output in cell.get("outputs", ())]
    return [kind for i, kind in enumerate(found) if i == 0 or kind != found[i - 1]]


def _cleaned(output: Any) -> Any:
    """An output as it is kept; None for what is not."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    kind = next((kind for kind in KEPT if kind in output.data), None)
    if kind is None or (kind == "text/plain" and len(output.data) > 1):
        return None
    data = output.data[kind]
    output.data.clear()
    output.data[kind] = _few_colours(data) if kind == "image/png" else data
    output.metadata.clear()
    return output


def _few_colours(png: str) -> str:
    """A PNG image in base 64 with at most 256 colours."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    file = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
