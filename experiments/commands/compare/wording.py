"""Numbers as people read them: with their interval, and what they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from genjax_models.training.hooks import duration


class Column(NamedTuple):
    """A figure of the comparison.

    Attributes:
        key: Its name in a row.
        title: Its title.
        unit: Its unit; empty where it has none.
        digits: Decimals.
        best: -1 where the lowest is best, 1 where the highest is.
        meaning: Its meaning, in a sentence.
    """

    key: str
    title: str
    unit: str
    digits: int
    best: int
    meaning: str


BITS = Column(
    "bits_per_dim", "bits/dim", "bits an entry", 2, -1,
    "Code length of a test image, an entry: of the same discrete data for all. A bound is from "
    "above; the truth is at most that.",
)  # fmt: skip
FRECHET = Column(
    "frechet_distance", "Fréchet distance", "", 1, -1,
    "How far the samples' features lie from those of the test images, squared.",
)  # fmt: skip
PRECISION = Column(
    "precision", "precision", "share", 2, 1,
    "Samples that lie where test images do.",
)  # fmt: skip
RECALL = Column(
    "recall", "recall", "share", 2, 1,
    "Test images that lie where samples do.",
)  # fmt: skip
COVERAGE = Column(
    "coverage", "coverage", "share", 2, 1,
    "Test images that have a sample near them.",
)  # fmt: skip
SAMPLE_MS = Column(
    "sample_ms", "time to sample", "ms a sample", 2, -1,
    "Compiling apart.",
)  # fmt: skip
QUALITY = (BITS, FRECHET, PRECISION, RECALL, COVERAGE)


def value(row: Mapping[str, Any], column: Column) -> float | None:
    """The number; None where there is none."""
    measured = row.get(column.key)
    return None if measured is None else measured["value"]


def number(x: float, digits: int) -> str:
    """With that many decimals, fewer where three digits stand before them."""
    return f"{x:,.{max(0, digits - 1) if abs(x) >= 100 else digits}f}"


def shown(row: Mapping[str, Any], column: Column) -> str:
    """The number alone, or a dash."""
    found = value(row, column)
    return "–" if found is None else number(found, column.digits)


def interval(row: Mapping[str, Any], column: Column) -> str:
    """`1.99 to 2.04`; empty where no sound interval is known."""
    measured = row.get(column.key)
    if measured is None or measured["low"] is None:
        return ""
    low, high = (number(measured[end], column.digits) for end in ("low", "high"))
    return f"{low} to {high}"


def with_interval(row: Mapping[str, Any], column: Column) -> str:
    """`2.01 (1.99 to 2.04)`."""
    within = interval(row, column)
    return f"{shown(row, column)} ({within})" if within else shown(row, column)


def kind_in_words(row: Mapping[str, Any]) -> str:
    """Describes a model's place in the taxonomy, and its density."""
    explicit = row["kind"] != "implicit"
    words = f"explicit, {row['kind']}" if explicit else "implicit"
    return f"{words} (dequantised: a bound)" if row["dequantized"] else words


def training_in_words(row: Mapping[str, Any]) -> str:
    """Time, steps, and why there are not more of them."""
    return f"{duration(row['train_seconds'])}, {row['steps']:,} steps"


def count(num: int) -> str:
    """`1.2 M`, `45 k`."""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if num >= size:
            return f"{num / size:.3g} {unit}"
    return str(num)
