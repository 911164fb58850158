"""Imports point one way, files can be read in one sitting, and importing the package is cheap."""

import ast
import graphlib
import io
import itertools
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "genjax_models"
FILES = sorted(PACKAGE.rglob("*.py"))
FAMILIES = {
    "autoencoders", "adversarial", "flows", "autoregressive", "diffusion", "energy",
}  # fmt: skip
MAY_IMPORT = {
    "core": set(),
    "networks": {"core"},
    **{family: {"core", "networks"} for family in FAMILIES},
    "training": {"core", "networks"},
    "data": {"core"},
    "metrics": {"core", "networks", "data", "training"},
    "applications": {"core", "networks", "data", "training", "metrics"},
}
"""Folder -> the folders of ours that it may import, beside itself."""
LAZY = ("orbax", "tensorflow_datasets", "tensorflow", "grain", "sklearn", "matplotlib",
        "tensorboardX", "tyro", "tokenizers", "diffrax", "equinox", "blackjax",
        "librosa", "constriction", "mido", "starlette", "uvicorn")  # fmt: skip
"""What is imported by the functions that need it alone."""


def name(path):
    return str(path.relative_to(ROOT))


def all_imports(tree):
    """What a file imports, as dotted names, and in which line."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name: node.lineno for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            found |= {f"{node.module}.{alias.name}": node.lineno for alias in node.names}
    return found


def imported(tree):
    """The modules of ours that a file imports, as names below the package."""
    for full, line in all_imports(tree).items():
        if full.split(".")[0] == "genjax_models":
            yield line, full.split(".")[1:]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_one_way(path):
    folder = path.relative_to(PACKAGE).parts[0]
    if folder not in MAY_IMPORT:
        assert folder in ("__init__.py", "plots.py", "saving.py"), (
            f"{folder} has no place in the layout"
        )
        return
    for line, parts in imported(ast.parse(path.read_text("utf-8"))):
        assert parts, f"{name(path)}:{line} imports the whole package"
        if parts[0] != folder:
            assert parts[0] in MAY_IMPORT[folder] or _is_lazy_picture(path, parts), (
                f"{name(path)}:{line} imports {parts[0]}, and {folder} may import "
                f"{', '.join(sorted(MAY_IMPORT[folder])) or 'nothing of ours'}"
            )


def _is_lazy_picture(path, parts):
    return parts[0] == "plots" and path == PACKAGE / "training" / "hooks.py"


@pytest.mark.parametrize("package", ["genjax_models", "experiments"])
def test_no_files_import_each_other(package):
    """In no circle of any length, type checking and imports within functions included."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / package).rglob("*.py")
    }
    imports = {
        module: {full if full in modules else full.rpartition(".")[0]
                 for full in all_imports(ast.parse(path.read_text("utf-8")))} & modules.keys()
        for module, path in modules.items()
    }  # fmt: skip
    try:
        tuple(graphlib.TopologicalSorter(imports).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_devices_names_pmap(path):
    if path == PACKAGE / "training" / "devices.py":
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        named = getattr(node, "attr", None) or getattr(node, "id", None)
        assert named != "pmap", f"{name(path)}:{node.lineno} names jax.pmap"


@pytest.mark.parametrize("path", FILES + sorted((ROOT / "experiments").rglob("*.py")), ids=name)
def test_a_file_is_read_in_one_sitting(path):
    assert (lines := lines_of_code(path.read_text("utf-8"))) <= 400, (
        f"{name(path)} has {lines} lines of code"
    )


def lines_of_code(source):
    """Lines that hold code: no docstring, no comment, no blank."""
    tree = ast.parse(source)
    texts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                texts.update(range(node.lineno, node.end_lineno + 1))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
              tokenize.ENDMARKER)  # fmt: skip
    lines = (range(t.start[0], t.end[0] + 1) for t in tokens if t.type not in silent)
    return len(set(itertools.chain.from_iterable(lines)) - texts)


def test_lines_of_code_leave_out_what_is_not_code():
    says = '"""Says\nwhat it is."""\n\n# Why.\n'
    source = (
        says + 'x = """a\n# b\n"""\ndef f():\n    "It."\n    return (\n        1  # one\n    )\n'
    )
    assert lines_of_code(source) == 3 + 1 + 3


def test_importing_is_cheap():
    code = (
        "import time, sys; began = time.process_time(); import genjax_models;"
        f"print(time.process_time() - began, *[m for m in {LAZY!r} if m in sys.modules])"
    )
    seconds = []
    while not seconds or (min(seconds) > 2.5 and len(seconds) < 3):  # caches may be cold
        end = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        took, *heavy = end.stdout.split()
        assert not heavy, f"import genjax_models imports {', '.join(heavy)}"
        seconds.append(float(took))
    assert min(seconds) <= 2.5, "import genjax_models takes more than 2.5 s"
