"""`edit`: a run's model changes images of its test split, shown beside them and measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.commands.arguments import RunPath, parse
from experiments.runner import loading, runs
from experiments.runner.config import PositiveInt, Seed
from experiments.runner.files import PICTURES, check_output
from genjax_models import diffusion, plots
from genjax_models.applications import editing
from genjax_models.core import interpolate, traverse
from genjax_models.data import Dataset
from genjax_models.diffusion import inverse, schedules
from genjax_models.networks.conv import average_pool

WhatName = Literal[
    "complete", "inpaint", "super_resolution", "interpolate", "traverse", "attribute"
]
SHOWN = 8
"""Images in a picture."""
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""Of attribute: how far codes are moved, 1 from the mean code of one label to that of the other."""
VALUES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Of traverse: what an entry of a code is set to."""
POINTS = 10
"""Of interpolate: images of a line, its ends included."""
NOISE, SPREAD, GRID = 0.05, 0.7, 50
"""Of a diffusion, its data in -1 .. 1: what noise a measurement is said to have, how far the data
spread, and steps."""


@dataclasses.dataclass(frozen=True)
class EditArguments:
    """Change images of a run's test split by its model."""

    run: RunPath
    """The run directory."""
    what: WhatName = "complete"
    """Fill in the lower half, fill in a square in the middle, enlarge twofold; walk from one image
    to the next, along each entry of a code, or from one label to another."""
    num: PositiveInt = 200
    """Images that the figures are of."""
    source: str = "4"
    """Of attribute: the label that is taken away, by its class's name or number."""
    target: str = "9"
    """Of attribute: the label that is given instead."""
    out: Path = Path("edit.png")
    """The picture."""
    overwrite: bool = False
    """Replace a file that is there already."""
    seed: Seed = 0
    """Decides what is drawn."""


class Edited(NamedTuple):
    """Result of an edit.

    Attributes:
        rows: Pictures side by side, as `LAYOUTS` says `[rows, columns, *shape]`.
        x: Edited images `[N, *shape]`; None for walks.
        original: The right answers `[N, *shape]`; None if there are none.
        unknown: Mask of the entries that were not given, bool `[*shape]`.
        label: Labels that a classifier should read `[N]`.
    """

    rows: np.ndarray
    x: np.ndarray | None = None
    original: np.ndarray | None = None
    unknown: np.ndarray | None = None
    label: np.ndarray | None = None


def main(argv: Sequence[str]) -> int:
    """The command `edit`.

    Args:
        argv: The arguments after the command.

    Raises:
        ValueError: Arguments that cannot be, or a run that cannot do it.
    """
    arguments = parse(EditArguments, "edit", argv)
    check_output(arguments.out, PICTURES, overwrite=arguments.overwrite)
    from experiments.runner.datasets import load_splits
    from experiments.runner.files import keep_compiled_programs

    keep_compiled_programs()
    run = loading.load_run(arguments.run)
    spec = run.record.spec
    if len(spec.shape) != 3 or spec.num_levels is None:
        raise ValueError(f"{arguments.run} is a run on {spec.name}, which holds no images")
    splits = load_splits(run.record.config)
    edited = EDITS[arguments.what](run, splits.train, splits.test, arguments)
    plots.save(plots.traversal(edited.rows, spec.num_levels), arguments.out)
    print(f"{arguments.what} by {run.record.experiment.name}: {arguments.out}")
    print(LAYOUTS[arguments.what])
    for line in figures(run, edited):
        print(line)
    return 0


def figures(run: runs.Run, edited: Edited) -> list[str]:
    """Measures the error of edited images, and a classifier's readings of them."""
    from experiments.measures.images import classifier as load_classifier

    lines, top = [], float((run.record.spec.num_levels or 2) - 1)
    if edited.x is None:
        return lines
    if edited.original is not None and edited.unknown is not None:
        error = (edited.x.astype(float) - edited.original)[:, edited.unknown] / top
        ratio = -10 * np.log10(np.mean(error**2))
        lines.append(f"PSNR of what was not given: {ratio:.2f} dB, {len(error):,} images")
    if edited.label is not None:
        classifier = load_classifier(run.record.config)
        read = 100 * np.mean(classifier.predict(np.clip(edited.x, 0, top)) == edited.label)
        lines.append(f"read as they ought to be: {read:.1f} % ({classifier.name})")
        if edited.original is not None:
            usual = 100 * np.mean(classifier.predict(edited.original) == edited.label)
            lines.append(f"the originals: {usual:.1f} %")
    return lines


def by_diffusion(
    model: diffusion.Diffusion,
    params: Any,
    y: jax.Array,
    measure: editing.Measurement,
    key: jax.Array,
    *,
    label: jax.Array | None = None,
    state: Any = None,
) -> jax.Array:
    """Examples for a measurement, by guidance of the sampler (`diffusion.inverse.posterior`).

    A model of p(x | label) that was trained to do without labels is given none.
    """
    shape = (len(y), *model.spec.shape)
    # In the model's units x' = 2 x / (num_levels - 1) - 1, A x' = 2 A x / (num_levels - 1) - A 1.
    scale = 2.0 / ((model.spec.num_levels or 2) - 1)
    seen = scale * y - measure(jnp.ones(shape))
    given = {} if label is None or model.drop_label > 0 else {"label": label}
    denoise = model.denoiser(params, state=state, **given)
    schedule = schedules.bind(model.schedule, params)
    # Cheaper than moment matching, and more robust on measurements that say little.
    covariance = inverse.Isotropic(SPREAD)
    guided = inverse.posterior(denoise, schedule, measure, seen, NOISE, covariance=covariance)
    timesteps, (key_noise, key_steps) = (
        diffusion.linear_timesteps(GRID),
        jax.random.split(key),
    )
    noise = diffusion.initial_noise(schedule, shape, timesteps, key_noise)
    return model.restore(diffusion.ddim(guided, schedule, noise, timesteps, key_steps))


RESTORES: Mapping[type, editing.Restore] = {diffusion.Diffusion: by_diffusion}
"""Models whose family has a way of its own to find examples for a measurement."""


def _completed(known: Callable[[tuple[int, ...]], np.ndarray]) -> Any:
    def edit(run: runs.Run, train: Dataset, test: Dataset, arguments: EditArguments) -> Edited:
        rows, mask = _rows(test, arguments.num), known(run.record.spec.shape)
        x = _call(run, editing.complete, rows["x"], arguments.seed, rows, mask=mask)
        grey = (run.record.spec.num_levels or 2) // 3
        shown = np.where(mask, rows["x"], grey)
        return _restored(rows, shown, x, ~mask)

    return edit


def _super_resolved(
    run: runs.Run, train: Dataset, test: Dataset, arguments: EditArguments
) -> Edited:
    rows = _rows(test, arguments.num)
    small = np.asarray(average_pool(jnp.asarray(rows["x"], jnp.float32), 2))
    x = _call(run, editing.super_resolve, small, arguments.seed, rows, factor=2)
    shown = small.repeat(2, axis=1).repeat(2, axis=2)
    return _restored(rows, shown, x, np.ones(run.record.spec.shape, bool))


def _restored(
    rows: Mapping[str, np.ndarray], shown: np.ndarray, x: np.ndarray, unknown: np.ndarray
) -> Edited:
    """Three rows: what was given, what was made of it, what it was; a column an image."""
    triples = np.stack([shown[:SHOWN], x[:SHOWN], rows["x"][:SHOWN]], axis=0)
    return Edited(triples.astype(np.float32), x, rows["x"], unknown, rows.get("label"))


def _interpolated(run: runs.Run, train: Dataset, test: Dataset, arguments: EditArguments) -> Edited:
    rows = _rows(test, 2 * SHOWN)
    first = {name: a[:SHOWN] for name, a in rows.items()}
    x, to = rows["x"][:SHOWN], rows["x"][SHOWN:]

    def edit(model: Any, params: Any, x: Any, key: jax.Array, *, to: Any, **given: Any) -> Any:
        del key
        return interpolate(model, params, x, to, POINTS, **given)

    return Edited(_call(run, edit, x, arguments.seed, first, to=to))


def _traversed(run: runs.Run, train: Dataset, test: Dataset, arguments: EditArguments) -> Edited:
    rows = _rows(test, 1)

    def edit(model: Any, params: Any, x: Any, key: jax.Array, **given: Any) -> Any:
        del key
        return traverse(model, params, x, VALUES, **given)

    return Edited(_call(run, edit, rows["x"], arguments.seed, rows)[0])


def _given_label(run: runs.Run, train: Dataset, test: Dataset, arguments: EditArguments) -> Edited:
    """Images of one label moved towards another, in steps; the figures are of a whole one."""
    from genjax_models.data.transforms import only_labels

    model, options = run.setup.model, {"state": run.state.state}
    if _condition(run, _rows(test, 1)):
        raise ValueError(f"{arguments.run} is given the label, which its codes do not hold then")
    source, target = (train.spec.label_of(k) for k in (arguments.source, arguments.target))
    of = {k: only_labels(train, [k]).arrays for k in (source, target)}
    ends = [jnp.asarray((of[k] or {})["x"]) for k in (target, source)]
    direction = jax.jit(editing.attribute, static_argnums=0)(model, run.params, *ends, **options)
    rows = _rows(only_labels(test, [source]), arguments.num)

    def edit(model: Any, params: Any, x: Any, key: jax.Array, **given: Any) -> Any:
        del key
        return editing.shift(model, params, x, **given)

    options = {"direction": direction}
    moved = [_call(run, edit, rows["x"], 0, rows, strength=s, **options) for s in STRENGTHS]
    label = np.full(len(rows["x"]), target)
    steps = np.stack([rows["x"][:SHOWN], *(x[:SHOWN] for x in moved)], axis=1)
    return Edited(steps, moved[STRENGTHS.index(1.0)], label=label)


def _call(
    run: runs.Run,
    edit: Callable[..., jax.Array],
    x: np.ndarray,
    seed: int,
    rows: Mapping[str, np.ndarray],
    **options: Any,
) -> np.ndarray:
    """`edit(model, params, x, key, ...)`, compiled, with what the run's model is conditioned on."""
    model = run.setup.model
    known = {"factor", "strength"} & set(options)
    fixed = {name: options.pop(name) for name in known}
    restore = RESTORES.get(type(model))
    if restore is not None and edit in (editing.complete, editing.super_resolve):
        fixed["restore"] = restore

    @jax.jit
    def compiled(params: Any, x: Any, key: jax.Array, given: Any) -> jax.Array:
        return edit(model, params, x, key, **given, **fixed)

    given = {**options, **_condition(run, rows), "state": run.state.state}
    return np.asarray(compiled(run.params, x, jax.random.key(seed), given))


def _condition(run: runs.Run, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: rows[name] for name in run.setup.condition(1)}


def _rows(data: Dataset, num: int) -> dict[str, np.ndarray]:
    return data.rows(np.arange(min(num, len(data))))


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def upper_half(shape: tuple[int, ...]) -> np.ndarray:
    """True in the upper half of images `[H, W, C]`."""
    return np.broadcast_to(np.arange(shape[0])[:, None, None] < shape[0] // 2, shape)


def around_the_middle(shape: tuple[int, ...]) -> np.ndarray:
    """True but in a square of half the height and width in the middle."""
    height, width, _ = shape
    mask = np.ones(shape, bool)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = False
    return mask


EDITS: Mapping[WhatName, Callable[[runs.Run, Dataset, Dataset, EditArguments], Edited]] = {
    "complete": _completed(upper_half),
    "inpaint": _completed(around_the_middle),
    "super_resolution": _super_resolved,
    "interpolate": _interpolated,
    "traverse": _traversed,
    "attribute": _given_label,
}

_TRIPLES = "rows: what was given, what was made of it, the original; columns: images"
LAYOUTS: Mapping[WhatName, str] = {
    "complete": _TRIPLES,
    "inpaint": _TRIPLES,
    "super_resolution": _TRIPLES,
    "interpolate": f"rows: pairs of images; columns: {POINTS} points between their codes",
    "traverse": f"rows: entries of one image's code; columns: their values, {_listed(VALUES)}",
    "attribute": f"rows: images; columns: the original, then strengths {_listed(STRENGTHS)}",
}
"""Titles of the rows and columns of a picture."""
