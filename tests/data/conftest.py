import dataclasses
import os
import sys
from pathlib import Path

import pytest

from genjax_models.data.builders import originals
from genjax_models.data.builders.originals import RawFile
from genjax_models.data.prepare import RECIPES

LOAD = sys.modules["genjax_models.data.load"]  # the package's `load` is the function


@pytest.fixture(scope="session")
def original_files() -> Path:
    """The folder of original files, one folder a set."""
    folder = os.environ.get("GENJAX_DATA")
    if not folder:
        pytest.skip("GENJAX_DATA is not set: no original files to prepare from")
    return Path(folder)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that the tests share, so that each set is prepared once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def small(tmp_path: Path, monkeypatch):
    """Has a set prepared from other files than the published ones."""

    def use(name: str, *files: RawFile) -> Path:
        constant = name.upper()
        monkeypatch.setattr(originals, constant, (files,))
        recipe = dataclasses.replace(RECIPES[name], sources=(files,))
        monkeypatch.setattr(LOAD, "RECIPES", {**RECIPES, name: recipe})
        monkeypatch.setenv("GENJAX_DATA", str(tmp_path / "files"))
        folder = tmp_path / "files" / name
        folder.mkdir(parents=True)
        return folder

    return use
