"""What a run is of, kept with its checkpoints, so that no other run goes on from them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax_models.core.loss import Loss, Weight
from genjax_models.core.protocols import Model
from genjax_models.training.feed import Data
from genjax_models.training.state import Optimizers, TrainState, optimizer_of

_SAMPLED = 64
"""Examples that a fingerprint reads of data that are not in memory."""


def describe(
    model: Model,
    data: Data | None,
    optimizer: Optimizers,
    losses: Mapping[str, Loss] | None,
    state: TrainState,
    **settings: Any,
) -> dict[str, Any]:
    """What decides a run and can be told from its arguments, as JSON holds it.

    Args:
        model: What is trained.
        data: What it is trained on; None where that may change on the way.
        optimizer: The optimizer, or one for each player.
        losses: Player -> the loss that takes the place of the player's own.
        state: A training state, or its description.
        **settings: Numbers that are kept as they are.
    """
    used = {name: (losses or {}).get(name, player.loss) for name, player in model.players.items()}
    described = {
        **settings,
        "losses": {name: _terms(loss) for name, loss in used.items()},
        "optimizer": {
            name: _structure(state.opt_state[name])
            for name in optimizer_of(optimizer, model.players)
        },
    }
    if data is not None:
        described["data"] = fingerprint(data)
    return json.loads(json.dumps(described))


def fingerprint(data: Data) -> dict[str, Any]:
    """What tells data from others: what an example is, how many there are, and what they hold.

    `sample` is of some examples; `content` of all, where they are in memory, else None.
    """
    rows = data.rows(np.unique(np.linspace(0, len(data) - 1, _SAMPLED).astype(np.int64)))
    found = {
        "shape": data.spec.shape,
        "levels": data.spec.levels,
        "labels": data.spec.num_classes,
        "examples": len(data),
        "sample": _content(rows),
        "content": None if data.arrays is None else _content(data.arrays),
    }
    return json.loads(json.dumps(found))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """In what two descriptions of runs differ, in words; what one of them lacks is not compared."""
    lines = []
    for name in (name for name in old if name in new):
        if name == "data":
            lines += data_differences(old[name], new[name])
        elif isinstance(old[name], Mapping):
            pairs = {k: (old[name].get(k), new[name].get(k)) for k in {**old[name], **new[name]}}
            lines += [
                f"{name} of {k}: {_in_words(a)} -> {_in_words(b)}"
                for k, (a, b) in pairs.items()
                if a != b
            ]
        elif old[name] != new[name]:
            lines.append(f"{name} {_in_words(old[name])} -> {_in_words(new[name])}")
    return lines


def data_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """In what two fingerprints of data differ, in words."""
    lines = [
        f"{name} of the data {_in_words(old.get(name))} -> {_in_words(new.get(name))}"
        for name in ("shape", "levels", "labels", "examples")
        if old.get(name) != new.get(name)
    ]
    if lines:
        return lines
    contents = [(old.get(name), new.get(name)) for name in ("content", "sample")]
    is_same = all(a is None or b is None or _same_content(a, b) for a, b in contents)
    return [] if is_same else ["the data, as many examples but others"]


def _in_words(value: Any) -> str:
    return "none" if value is None else str(value)


def _terms(loss: Loss) -> dict[str, Any]:
    return {name: _weight(loss.weights.get(name, 1.0)) for name in loss.terms}


def _weight(weight: Weight) -> Any:
    return "a schedule" if callable(weight) else float(weight)


def _structure(state: Any) -> str:
    """The optimizer's transformations, whose states they are: `(ScaleByAdamState, EmptyState)`."""
    if hasattr(state, "_fields"):
        parts = [_structure(part) for part in state]
        inner = ", ".join(part for part in parts if part)
        return f"{type(state).__name__}({inner})" if inner else type(state).__name__
    if isinstance(state, tuple):
        return f"({', '.join(_structure(part) for part in state)})"
    return ""  # arrays, whose shapes are compared where they are read


def _content(arrays: Mapping[str, Any]) -> dict[str, list[float]]:
    return {name: _numbers(np.asarray(arrays[name])) for name in sorted(arrays)}


def _numbers(array: np.ndarray) -> list[float]:
    """A few numbers that tell an array from others.

    Of whole numbers the checksum. Real ones may be computed anew by each process, and differ in
    their last bits between machines: of them what such bits do not change.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if not np.issubdtype(flat.dtype, np.floating):
        return [zlib.crc32(flat.view(np.uint8).data)]
    x = flat.astype(np.float64)
    waves = np.cos(0.7548776662466927 * np.arange(len(x)))  # so that the order counts
    return [float(v) for v in (x.mean(), x.std(), x.min(), x.max(), (x * waves).mean())]


def _same_content(old: Mapping[str, list[float]], new: Mapping[str, list[float]]) -> bool:
    if old.keys() != new.keys() or any(len(old[k]) != len(new[k]) for k in old):
        return False
    return all(
        old[k] == new[k] if len(old[k]) == 1
        else np.allclose(old[k], new[k], rtol=1e-6, atol=1e-6 * abs(old[k][1]))
        for k in old
    )  # fmt: skip
