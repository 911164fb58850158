"""A model at rest: `model.json` and `weights.safetensors`, written and read without pickle.

    gm.save("my_vae", model, state.ema, state.state)
    model, params, model_state = gm.load_model("my_vae")    # in another process, another project

The JSON holds the model as the value that it is: the names of its classes and functions, and their
arguments. Only names of this library, `jax.nn`, `flax.linen` and those that were given to
`register` are read back, so that a file from elsewhere runs no code of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from genjax_models.core import values
from genjax_models.core.files import replaced
from genjax_models.core.preprocess import data_dtype
from genjax_models.core.protocols import Model, TractableDensity
from genjax_models.core.types import DataSpec, Params, State
from genjax_models.core.values import register
from genjax_models.core.version import __version__

__all__ = ["export_log_prob", "export_sampler", "load_model", "load_run", "register", "save"]

FORMAT = 1
"""Number of the layout of `model.json`; a reader refuses those of later ones."""
MODEL, WEIGHTS = "model.json", "weights.safetensors"


def save(
    folder: str | os.PathLike[str],
    model: Model,
    params: Params,
    state: State | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model, its parameters and its state, which `load_model` reads.

    Each file appears whole or not at all, and replaces one of its name. The weights are arrays by
    dotted names, `params.encoder.Dense_0.kernel`, as other tools read them.

    Args:
        folder: Folder for `model.json` and `weights.safetensors`; made if it does not exist.
        model: The model.
        params: Its parameters, as `TrainState.ema` holds them.
        state: Its state, as `TrainState.state`; None for models that carry none.
        metadata: Whatever else is to be kept with it: anything that JSON holds.

    Raises:
        TypeError: The model holds something that has no public name (see `register`), or an array;
            or the metadata is nothing for JSON.
        ValueError: The arrays are not the model's own, by name, shape or type.
    """
    from safetensors.flax import save as as_safetensors

    spec, template = _describe(model)
    if state is None:
        if template["state"]:
            raise ValueError(
                f"a {type(model).__name__} carries state ({', '.join(template['state'])}): give"
                " save(..., state=), which training keeps as TrainState.state"
            )
        state = {}
    page = {
        "format": FORMAT,
        "library": __version__,
        "model": _encode(model, type(model).__name__),
        "data": _encode(spec, "spec"),
        "metadata": dict(metadata or {}),
    }
    arrays = _named({"params": params, "state": state})
    _check(arrays, _named(template), "what is to be saved")
    weights = as_safetensors({name: jnp.asarray(array) for name, array in arrays.items()})
    try:
        text = json.dumps({**page, "sha256": _digest(weights)}, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the metadata is nothing that JSON holds: {error}") from None
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / WEIGHTS) as file:
        file.write_bytes(weights)
    with replaced(folder / MODEL) as file:
        file.write_text(text + "\n", "utf-8")


def load_model(folder: str | os.PathLike[str]) -> tuple[Any, Params, State]:
    """Reads a model that `save` wrote.

    Args:
        folder: Folder with `model.json` and `weights.safetensors`.

    Returns:
        The model, its parameters and its state.

    Raises:
        FileNotFoundError: One of the two files is not there.
        ValueError: A file is damaged, of a later version, or not of the other; or the model names
            something that is neither public nor registered.
    """
    from safetensors.flax import load_file

    folder = Path(folder).expanduser()
    page = read_page(folder)
    if _digest(_read(folder / WEIGHTS)) != page.get("sha256"):
        raise ValueError(
            f"{folder / WEIGHTS} is damaged, or belongs to another {MODEL}: save the model anew"
        )
    try:
        model = _decode(page["model"])
        _, template = _describe(model)
    except Exception as error:
        raise ValueError(
            f"{folder / MODEL}, written by genjax_models {page.get('library')}, holds no model of"
            f" {__version__}: {error}"
        ) from error
    arrays = load_file(folder / WEIGHTS)  # `load` of safetensors 0.8 knows no bfloat16
    names = _named(template)
    _check(arrays, names, str(folder / WEIGHTS))
    whole = jax.tree.unflatten(jax.tree.structure(template), [arrays[name] for name in names])
    return model, whole["params"], whole["state"]


def load_run(
    directory: str | os.PathLike[str],
) -> tuple[Any, Params, State, DataSpec]:
    """Reads a finished run of `python -m experiments train`, or an exported one.

    Args:
        directory: The run directory.

    Returns:
        The model, its averaged parameters, its state and the spec of its data.

    Raises:
        FileNotFoundError: There is no run, or it has not ended.
        ValueError: A file is damaged, as `load_model` says.
    """
    directory = Path(directory).expanduser()
    if not (directory / MODEL).exists() and (directory / "config.json").exists():
        raise FileNotFoundError(
            f"the run in {directory} has not ended, and holds no {MODEL} yet: train it to its end,"
            f" or write its newest checkpoint by python -m experiments export {directory} FOLDER"
        )
    model, params, state = load_model(directory)
    return model, params, state, model.spec


def read_page(folder: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Reads `model.json`, whose `metadata` is the user's; the weights are not read.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or of a later version.
    """
    path = Path(folder).expanduser() / MODEL
    try:
        page = json.loads(_read(path))
        form = page["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no model that gm.save wrote: {error}") from None
    if form != FORMAT:
        raise ValueError(
            f"{path} is of format {form}, written by genjax_models {page.get('library')}; this is"
            f" {__version__}, which reads format {FORMAT}: install that version"
        )
    return page


def export_sampler(
    model: Model,
    params: Params,
    file: str | os.PathLike[str],
    num: int,
    *,
    state: State | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    **condition: Any,
) -> None:
    """Writes the sampler as a program that runs with JAX alone, without this library.

    `jax.export.deserialize(bytearray(open(file, "rb").read())).call(seed)` gives the samples that
    `model.sample(params, jax.random.key(seed), num, state=state, **condition)` gives, for a seed of
    type `numpy.uint32`. The parameters are part of the file.

    Args:
        model: The model.
        params: Its parameters.
        file: File to write.
        num: Number of samples of a call.
        state: The model's state.
        platforms: Platforms that the program is lowered for.
        **condition: Further arguments of `model.sample`, which become part of the program.

    Raises:
        ImportError: The extra `export` is not installed.
    """

    def sample(seed: jax.Array) -> Any:
        return model.sample(params, jax.random.key(seed), num, **_given(state=state), **condition)

    _export(file, sample, (jax.ShapeDtypeStruct((), jnp.uint32),), platforms)


def export_log_prob(
    model: TractableDensity,
    params: Params,
    file: str | os.PathLike[str],
    num: int,
    *,
    state: State | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    **condition: Any,
) -> None:
    """Writes log p(x) as a program that runs with JAX alone: `call(x)` of examples `[num, *shape]`.

    Args:
        model: The model.
        params: Its parameters.
        file: File to write.
        num: Number of examples of a call.
        state: The model's state.
        platforms: Platforms that the program is lowered for.
        **condition: Further arguments of `model.log_prob`, which become part of the program.

    Raises:
        ImportError: The extra `export` is not installed.
    """
    spec, _ = _describe(model)

    def log_prob(x: jax.Array) -> Any:
        return model.log_prob(params, x, **_given(state=state), **condition)

    x = jax.ShapeDtypeStruct((num, *spec.shape), data_dtype(spec))
    _export(file, log_prob, (x,), platforms)


def _given(**kwargs: Any) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if value is not None}


def _export(
    file: str | os.PathLike[str], function: Any, shapes: Sequence[Any], platforms: Sequence[str]
) -> None:
    from jax import export

    program = export.export(jax.jit(function), platforms=tuple(platforms))(*shapes)
    try:
        written = program.serialize()
    except ImportError:
        raise ImportError(
            "programs are written by flatbuffers, which is not installed: pip install"
            " 'genjax_models[export]'"
        ) from None
    with replaced(Path(file).expanduser()) as path:
        path.write_bytes(written)


def _describe(model: Any) -> tuple[DataSpec, dict[str, Any]]:
    """The data's spec, and the shapes of parameters and state."""
    spec: DataSpec = model.spec
    others = {
        "condition": getattr(model, "source_spec", None) or spec,
        "y": getattr(model, "spec_y", None) or spec,
    }
    batch = {
        name: jnp.zeros((2, *each.shape), data_dtype(each))
        for name, each in {"x": spec, **others}.items()
    }
    batch["label"] = jnp.zeros(2, jnp.int32)
    params, state = jax.eval_shape(model.init, jax.random.key(0), batch)
    return spec, {"params": params, "state": state}


def _named(tree: Any) -> dict[str, Any]:
    """The leaves by dotted names, in the order of `jax.tree.leaves`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _check(arrays: Mapping[str, Any], expected: Mapping[str, Any], what: str) -> None:
    for there, here, words in ((expected, arrays, "lacks"), (arrays, expected, "has also")):
        if missing := [name for name in there if name not in here]:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ValueError(
                f"{what} is not of this model: it {words} {', '.join(missing[:3])}{more}"
            )
    for name, own in expected.items():
        array = arrays[name]
        if (array.shape, array.dtype) != (own.shape, own.dtype):
            raise ValueError(
                f"{what} is not of this model: {name} is {array.dtype} {array.shape}, and should"
                f" be {own.dtype} {own.shape}"
            )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no {path.name} in {path.parent}: gm.save(folder, model, params) writes it"
        ) from None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _encode(x: Any, where: str) -> Any:
    """A value as JSON: `{"name": ...}`, `{"call": ..., "kwargs": ...}`, tuples as lists."""
    if x is None or isinstance(x, bool | int | str):
        return x
    if isinstance(x, float):
        return x if math.isfinite(x) else {"float": str(x)}
    if isinstance(x, np.dtype):
        x = getattr(jnp, x.name)
    if (name := values.public_name(x)) is not None:
        return {"name": name}
    if values.has_arguments(x) and not isinstance(x, type):
        args, kwargs = values.arguments(x, defaults=True)
        page: dict[str, Any] = {"call": _encode(type(x), where)["name"]}
        if args:
            page["args"] = [_encode(arg, where) for arg in args]
        page["kwargs"] = {key: _encode(arg, f"{where}.{key}") for key, arg in kwargs.items()}
        return page
    if isinstance(x, tuple):
        return [_encode(part, where) for part in x]
    if isinstance(x, list):
        return {"list": [_encode(part, where) for part in x]}
    if isinstance(x, Mapping):
        return {"dict": [[_encode(k, where), _encode(v, where)] for k, v in x.items()]}
    raise TypeError(
        f"{where} is {values.source(x)}, which has no public name: make it a named function or a"
        " frozen dataclass of a module of yours, and give it to gm.saving.register"
    )


def _decode(page: Any) -> Any:
    if isinstance(page, list):
        return tuple(map(_decode, page))
    if not isinstance(page, dict):
        return page
    match page:
        case {"name": str(name)}:
            return _public(name)
        case {"call": str(name), "kwargs": dict(kwargs)}:
            cls = _public(name)
            if not (isinstance(cls, type) and values.has_arguments(cls)):
                raise ValueError(f"{name} is no class of a model's parts, and is not called")
            args = [_decode(arg) for arg in page.get("args", [])]
            return cls(*args, **{key: _decode(arg) for key, arg in kwargs.items()})
        case {"float": "inf" | "-inf" | "nan" as text}:
            return float(text)
        case {"list": list(parts)}:
            return [_decode(part) for part in parts]
        case {"dict": list(pairs)}:
            return {_decode(key): _decode(value) for key, value in pairs}
    raise ValueError(f"{str(page)[:80]} stands for nothing")


def _public(name: str) -> Any:
    try:
        return values.public_object(name)
    except KeyError:
        raise ValueError(
            f"{name} is no public name of a part of a model: if it is yours, give it to"
            " gm.saving.register before"
        ) from None
