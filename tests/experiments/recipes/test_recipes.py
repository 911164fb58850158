"""Recipes: light to import, in no circle, each experiment of one family and named once."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

from experiments import recipes

ROOT = Path(__file__).parents[3]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "experiments").rglob("*.py")
}
HEAVY = ("orbax", "tensorflow_datasets", "grain", "sklearn", "matplotlib", "tensorboardX", "tyro",
         "tokenizers", "diffrax", "blackjax", "librosa", "mido", "scipy")  # fmt: skip


def imported(path):
    """The files of experiments that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in FILES else node.module


def test_no_file_leads_back_to_itself():
    graph = {name: set(imported(path)) & FILES.keys() - {name} for name, path in FILES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises, and names the circle


def test_recipes_name_measures_and_import_nothing_heavy():
    code = (
        "import sys; from experiments import recipes; recipes.experiments();"
        f"print([m for m in sys.modules if m.split('.')[0] in {HEAVY!r}"
        " or m.startswith(('experiments.measures', 'experiments.commands'))])"
    )
    end = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert end.stdout.strip() == "[]"


def test_an_experiment_stands_in_one_recipe_under_its_own_name():
    names = [
        node.name
        for path in (ROOT / "experiments" / "recipes").glob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Call) and ast.unparse(d.func) == "experiment"
                for d in node.decorator_list)
    ]  # fmt: skip
    assert sorted(names) == sorted(recipes.experiments())
