"""`reference`: the library's reference as pages, from its docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from experiments.commands.arguments import parse

LIBRARY = "genjax_models"


@dataclasses.dataclass(frozen=True)
class ReferenceArguments:
    """Write the library's reference as HTML pages."""

    out: Path = Path("reference")
    """The folder to write to."""


def main(argv: Sequence[str]) -> int:
    """The command `reference`."""
    arguments = parse(ReferenceArguments, "reference", argv, ReferenceArguments())
    try:
        from pdoc import pdoc, render
    except ImportError:
        raise ImportError("the reference is made by pdoc: pip install -e '.[docs]'") from None
    for module in modules():
        _resolve_annotations(module)
    render.configure(docformat="google", math=True)
    pdoc(LIBRARY, output_directory=arguments.out)
    print(f"see {arguments.out / 'index.html'}")
    return 0


def modules() -> Iterator[ModuleType]:
    """The library's modules, imported."""
    package = __import__(LIBRARY)
    yield package
    for found in pkgutil.walk_packages(package.__path__, f"{LIBRARY}."):
        yield __import__(found.name, fromlist=["_"])


def _resolve_annotations(module: ModuleType) -> None:
    """Gives constructors of named tuples the types that their texts stand for.

    `typing` makes them in a namespace of its own, where pdoc does not find our names.
    """
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if issubclass(cls, tuple) and hasattr(cls, "_fields") and cls.__module__ == module.__name__:
            cls.__new__.__annotations__ = typing.get_type_hints(cls)
