"""What is installed: the typed library with its version, and no folder that users may have."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import genjax_models as gm

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the sources, as pip would build it, without a network."""
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path_factory.mktemp("source")
    for name in ("genjax_models", "experiments"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (path,) = (source / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_the_typed_library_alone(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    info = f"genjax_models-{gm.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"genjax_models", info}
    assert "genjax_models/py.typed" in names
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "genjax_models").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources


def test_a_folder_experiments_of_the_user_is_theirs(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    own = tmp_path / "project" / "experiments"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("MINE = True\n")
    code = (
        f"import sys; sys.path.append({str(site)!r});"
        "import experiments, genjax_models; print(experiments.MINE, genjax_models.__version__,"
        f"genjax_models.__file__.startswith({str(site)!r}))"
    )
    end = subprocess.run(
        [sys.executable, "-c", code],
        cwd=own.parent,
        env={"PATH": "", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert end.stdout.split() == ["True", gm.__version__, "True"]
