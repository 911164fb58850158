"""The reference is built without a warning, and every public name is in it with what it says."""

import warnings
from types import ModuleType

import pytest

from experiments.commands import reference
from experiments.commands.cli import main

doc = pytest.importorskip("pdoc.doc")
MODULES = list(reference.modules())


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert main(["reference", "--out", str(out)]) == 0
    return out


def is_public(name):
    return not any(part.startswith("_") for part in name.split("."))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_says_what_it_is(module):
    page = doc.Module(module)
    assert page.docstring, "the module has no docstring"
    silent = [
        member.qualname
        for member in page.flattened_own_members
        if member.kind in ("class", "function")
        and is_public(member.qualname)
        and member.taken_from[0].startswith("genjax_models")
        and not member.docstring
    ]
    assert not silent


def test_every_exported_name_is_reached(pages):
    def page(module):
        path = pages.joinpath(*module.__name__.split(".")).with_suffix(".html")
        assert path.exists(), f"{module.__name__} has no page"
        return path.read_text("utf-8")

    assert (pages / "index.html").exists()
    for module in MODULES:
        for name in getattr(module, "__all__", ()):
            exported = getattr(module, name)
            if isinstance(exported, ModuleType):
                assert page(exported)
            else:
                assert f'id="{name}"' in page(module), f"{module.__name__}.{name} is not there"
