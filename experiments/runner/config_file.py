"""Configurations in files: a run's `config.json`, or YAML that a person writes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from experiments.runner.config import check, describe, suggest

T = TypeVar("T")
_OF_A_RUN = ("experiment", "config", "spec", "example", "data", "versions")
"""Names in a run's `config.json`."""


def configured(default: T, path: Path, experiment: str | None = None) -> T:
    """A configuration with the fields that a file sets.

    Args:
        default: The configuration, a dataclass, that the other fields are of.
        path: A run's `config.json`, its directory, or a file that ends in .json, .yaml or .yml and
            holds some of the fields, those of nested dataclasses below their names.
        experiment: Name of the experiment that the configuration is of; None for a command's own.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, is of another experiment, or sets a field that there is not
            or to a value that it cannot have.
    """
    path = path / "config.json" if path.is_dir() else path
    values = _read(path)
    own = values.get("experiment")
    if own is not None and own != experiment:
        raise ValueError(
            f"{path} is a configuration of {own}, and this is"
            f" {f'the experiment {experiment}' if experiment else 'no experiment'}: give another"
            " --config"
        )
    if isinstance(values.get("config"), Mapping):
        others = [name for name in values if name not in _OF_A_RUN]
        values = {**values["config"], **{name: values[name] for name in others}}
    found = _updated(default, {k: v for k, v in values.items() if k != "experiment"}, path)
    try:
        check(found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return found


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise ValueError(f"--config is {path}: give a file that ends in .json, .yaml or .yml")
    import yaml

    text, is_json = path.read_text("utf-8"), path.suffix.lower() == ".json"
    try:
        values = json.loads(text) if is_json else yaml.safe_load(text) or {}
    except (ValueError, yaml.YAMLError) as error:
        kind, why = "JSON" if is_json else "YAML", " ".join(str(error).split())
        raise ValueError(f"{path} is no {kind}: {why}") from error
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"{path} holds no fields of a configuration: write NAME: VALUE lines")
    return values


def _updated(default: Any, values: Mapping[str, Any], path: Path, where: str = "") -> Any:
    """The dataclass with the fields that are given, at whatever depth."""
    hints = get_type_hints(type(default), include_extras=True)
    names = [field.name for field in dataclasses.fields(default)]
    changes = {}
    for name, value in values.items():
        if name not in names:
            raise ValueError(
                f"{path} sets {where}{name}, which is no field: {suggest(str(name), names)}"
            )
        before = getattr(default, name)
        if dataclasses.is_dataclass(before):
            if not isinstance(value, Mapping):
                raise ValueError(
                    f"{path} sets {where}{name} to {value!r}: it has fields of its own"
                )
            changes[name] = _updated(before, value, path, f"{where}{name}.")
            continue
        try:
            changes[name] = _of_type(hints[name], value)
        except TypeError:
            raise ValueError(
                f"{path} sets {where}{name} to {value!r}: it takes {describe(hints[name])}"
            ) from None
    return dataclasses.replace(default, **changes)


def _of_type(hint: Any, value: Any) -> Any:
    """A value of a file as a field's type has it; a TypeError where it is none."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _of_type(parts[0], value)
    if origin in (Union, types.UnionType):
        for part in parts:
            with contextlib.suppress(TypeError):
                return _of_type(part, value)
    elif origin is Literal and value in parts:
        return value
    elif origin is tuple and isinstance(value, list):
        kinds = [parts[0]] * len(value) if Ellipsis in parts else parts
        if len(kinds) == len(value):
            return tuple(_of_type(kind, entry) for kind, entry in zip(kinds, value, strict=True))
    elif hint is float and type(value) in (int, float, str):
        with contextlib.suppress(ValueError):
            return float(value)  # YAML takes 1e-3 for a text
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif hint in (int, bool, str, type(None)) and type(value) is hint:
        return value
    raise TypeError
