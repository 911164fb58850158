"""Every notebook holds what it gave when it was executed, and runs, its trainings cut short."""

import copy
from pathlib import Path

import nbformat
import pytest

from experiments.commands.notebooks import FOLDER, KEPT, MOST_BYTES, execute, kinds
from tests.conftest import QUICK_COMPILES

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SHORT = """
import genjax_models as gm
fit = gm.fit
gm.fit = lambda *args, steps, **kwargs: fit(*args, steps=min(steps, 20), **kwargs)
"""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_small_outputs_of_all_its_cells(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size <= MOST_BYTES
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [kind for cell in cells for kind in kinds(cell)]
    assert set(shown) <= {"stdout", *KEPT} and {"image/png", "stdout"} & set(shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_holds_in_kind(path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", QUICK_COMPILES)  # one device, as a user has it
    held = nbformat.read(path, as_version=4)
    found = copy.deepcopy(held)
    found.cells.insert(0, nbformat.v4.new_code_cell(SHORT))
    execute(found, FOLDER, timeout=300)
    for number, (cell, again) in enumerate(zip(held.cells, found.cells[1:], strict=True)):
        assert kinds(again) == kinds(cell), f"cell {number}"


def test_outputs_are_the_text_and_the_picture_of_few_colours():
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(
            "import sys\nprint('one'); print('a warning', file=sys.stderr); print('two')"
        ),
        nbformat.v4.new_code_cell(
            "from PIL import Image\nimport numpy as np\n"
            "Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))"
        ),
        nbformat.v4.new_code_cell("1 + 1"),
        nbformat.v4.new_code_cell("x = 1"),
    ]
    execute(notebook, Path(), timeout=60)
    assert [kinds(cell) for cell in notebook.cells] == [
        ["stdout"],
        ["image/png"],
        ["text/plain"],
        [],
    ]
    assert all("execution" not in cell.metadata for cell in notebook.cells)
    assert notebook.cells[2].outputs[0].data == {"text/plain": "2"}


def test_a_notebook_that_fails_is_heard_of():
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("1 / 0")]
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(notebook, Path(), timeout=60)
