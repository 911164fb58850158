"""Contents of the page: samples of runs and real examples, each as a picture or a text."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.commands.judge.modes import DATA, MODES, ModeName, Session, Shown
from experiments.commands.judge.store import PICTURE, TEXT, Example
from experiments.runner import loading, runs, samples
from experiments.runner.datasets import load_splits
from genjax_models.data import tokenizers
from genjax_models.data.text import printable

if TYPE_CHECKING:
    from genjax_models.core import DataSpec


def session_of(directories: Sequence[Path], mode: ModeName, num: int, seed: int) -> Session:
    """The session of these runs, which can be judged side by side.

    Raises:
        FileNotFoundError: There is no such run.
        ValueError: Too few runs, one given twice, runs of different data, or of such as a person
            cannot judge.
    """
    fewest = MODES[mode].fewest_runs
    if len(directories) < fewest:
        raise ValueError(
            f"--mode {mode} needs {fewest} RUN at least, got {len(directories)}: give the"
            " directories of runs"
        )
    if len({path.resolve() for path in directories}) < len(directories):
        raise ValueError("a run is given twice: give each RUN once")
    records = [loading.read(path) for path in directories]
    first = records[0]
    for record in records:
        same = record.config.dataset == first.config.dataset and record.spec == first.spec
        if not same:
            raise ValueError(
                f"{record.directory} is of {_of(record)} and {first.directory} of {_of(first)}:"
                " only runs of the same data are judged side by side"
            )
    _as_shown(first.spec)
    return Session(mode, seed, num, _names(directories), first.spec.name)


def _of(record: runs.Record) -> str:
    return f"{record.spec.name} {record.spec.shape}"


def _names(directories: Sequence[Path]) -> tuple[str, ...]:
    """The folders' own names where those tell them apart, else their paths."""
    short = tuple(path.resolve().name for path in directories)
    return short if len(set(short)) == len(short) else tuple(map(str, directories))


def draw(
    session: Session, directories: Sequence[Path], report: Callable[[str], None]
) -> Iterator[tuple[Shown, Example]]:
    """Every example that the session's trials show.

    Args:
        session: The session.
        directories: The runs' directories.
        report: Called with a line of progress.

    Raises:
        ValueError: The dataset has too few real examples.
    """
    num_real = MODES[session.mode].num_real(session)
    record = loading.read(directories[0])
    shown_as = _as_shown(record.spec)
    if num_real:
        yield from _numbered(DATA, shown_as(_real(record, num_real, session.seed)))
    for number, path in enumerate(directories):
        report(f"drawing {session.num} samples of {path}")
        x = samples.draw_samples(loading.load_run(path), session.num, session.seed)
        yield from _numbered(number + 1, shown_as(x))


def _numbered(source: int, examples: Iterable[Example]) -> Iterator[tuple[Shown, Example]]:
    return ((Shown(source, i), example) for i, example in enumerate(examples))


def _real(record: runs.Record, num: int, seed: int) -> np.ndarray:
    """Different examples `[num, *shape]` of the split that figures are of."""
    data = load_splits(record.config).test
    starts = np.arange(0, len(data), data.window or 1)  # of a text, windows that do not overlap
    if num > len(starts):
        raise ValueError(
            f"{num} real examples are to be shown, and the {data.split} split of {data.spec.name}"
            f" has {len(starts)}: give a smaller --num"
        )
    return data.rows(np.random.default_rng(seed).choice(starts, num, replace=False))["x"]


def _as_shown(spec: DataSpec) -> Callable[[np.ndarray], Iterator[Example]]:
    """Returns the function that makes such data examples of the page.

    Raises:
        ValueError: They are neither images nor texts.
    """
    if spec.vocabulary:
        return lambda x: texts(x, spec)
    if len(spec.shape) == 3 and spec.shape[-1] in (1, 3) and spec.num_levels:
        return lambda x: pictures(x, spec.num_levels or 256)
    raise ValueError(
        f"{spec.name} has examples of shape {spec.shape}: only images and texts can be judged"
    )


def pictures(x: np.ndarray, num_levels: int) -> Iterator[Example]:
    """Images `[N, H, W, C]` of that many levels as PNG, pixel by pixel."""
    from PIL import Image

    grey = (
        np.rint(np.asarray(x, np.float64) * (255 / (num_levels - 1))).clip(0, 255).astype(np.uint8)
    )
    for image in grey:
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
        yield Example(PICTURE, buffer.getvalue())


def texts(x: np.ndarray, spec: DataSpec) -> Iterator[Example]:
    """Tokens `[N, T]` as what they stand for, with nothing in it that does not print."""
    decode = tokenizers.of(spec).decode
    for row in x:
        yield Example(TEXT, printable(decode(row)).encode())
