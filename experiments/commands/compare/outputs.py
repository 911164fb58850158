"""Outputs of a comparison: a page, a table of all numbers, the README's picture and table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments.commands.compare import measuring, page, pictures, wording
from experiments.commands.compare.comparing import Result
from experiments.commands.compare.settings import Settings
from experiments.commands.terminal import plain_cell
from experiments.runner.datasets import Splits
from genjax_models.metrics import Extractor, frechet_floor

PAGE, TABLE, CSV, PICTURE = "compare.html", "table.md", "compare.csv", "compare.png"
PLAIN = (
    "kind", "dequantized", "codes", "steps", "planned_steps", "parameters", "train_seconds",
    "compile_seconds", "sample_compile_seconds",
)  # fmt: skip
FIGURES = (
    "bits_per_dim", "frechet_distance", "kernel_distance", "precision", "recall", "density",
    "coverage", "inception_score", "sample_ms",
)  # fmt: skip
COLUMNS = (
    "experiment", "title", *PLAIN,
    *(f"{name}{part}" for name in FIGURES for part in ("", "_low", "_high", "_kind")),
    "devices", "command", "failed",
)  # fmt: skip
"""Of the CSV: units are in the names, or those of `wording`; shares are in 0..1."""


def writer(
    settings: Settings, out: Path, command: str
) -> Callable[[Sequence[Result], Splits, Extractor], None]:
    """Returns a function that writes all files anew from the results so far.

    Args:
        settings: The comparison's.
        out: Its folder.
        command: The command that made it.
    """
    known: list[float] = []

    def write(results: Sequence[Result], splits: Splits, extractor: Extractor) -> None:
        if not known:  # the reference is the same each time
            features = extractor.features(measuring.of(splits.test))
            known.append(frechet_floor(features, settings.samples, jax.random.key(0)))
        about = page.About(settings, command, splits.test, extractor.name, known[0])
        write_csv(results, out / CSV)
        (out / TABLE).write_text(markdown(results, about), "utf-8")
        pictures.overview(results, about.data, out / PICTURE, known[0])
        (out / PAGE).write_text(page.render(results, about), "utf-8")

    return write


def write_csv(results: Sequence[Result], path: Path) -> None:
    """Writes one line a model, all numbers unrounded."""
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, COLUMNS)
        lines.writeheader()
        lines.writerows(
            {name: plain_cell(value) for name, value in _line(result).items()} for result in results
        )


def _line(result: Result) -> dict[str, Any]:
    row, name = result.row, result.contender.experiment
    line = {"experiment": name, "title": result.contender.title, "failed": row.get("failed", "")}
    line |= {name: row[name] for name in (*PLAIN, "devices", "command") if name in row}
    for name in FIGURES:
        measured: Mapping[str, Any] = row.get(name, {})
        ends = {"": "value", "_low": "low", "_high": "high", "_kind": "kind"}
        line |= {f"{name}{part}": measured.get(key) for part, key in ends.items()}
    return line


def markdown(results: Sequence[Result], about: page.About) -> str:
    """The table of a README: rounded numbers with their intervals of 95 %."""
    head = (
        "model", "density", "bits/dim", "", "Fréchet distance", "precision", "recall", "coverage",
        "training", "ms a sample", "parameters",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for result in results:
        title, row = f"`{result.contender.experiment}`", result.row
        if "failed" in row:
            lines.append(f"| {title} | {row['failed']} |{' |' * (len(head) - 2)}")
            continue
        bits, *rest = (wording.with_interval(row, column) for column in wording.QUALITY)
        cells = (
            title,
            wording.kind_in_words(row),
            bits,
            row["bits_per_dim"]["kind"],
            *rest,
            wording.training_in_words(row),
            wording.shown(row, wording.SAMPLE_MS),
            wording.count(row["parameters"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\n{page.in_a_sentence(about)}\n"
