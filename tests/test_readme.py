"""The README: short, its Python runs in order as it stands, its links lead somewhere."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_its_python_runs_in_order_as_it_stands(tmp_path, monkeypatch):
    pytest.importorskip("constriction")  # the extra of its compressed file
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    for i in range(24):
        folder = tmp_path / "photos" / ("houses", "suns")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (50, 40 + i, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)
    assert (names["again"] == names["test"].arrays["x"]).all()


def test_it_can_be_read_in_one_sitting():
    assert len(README.splitlines()) <= 180


def test_its_links_lead_to_files_of_the_project():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]
