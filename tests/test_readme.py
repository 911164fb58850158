"""The README: short, its Python runs in order as it stands, its links lead somewhere."""

import re
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_its_python_runs_in_order_as_it_stands(tmp_path, monkeypatch):
    pytest.importorskip("constriction")  # the extra of its compressed file
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
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
