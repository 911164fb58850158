"""`compare.html`: the comparison on one page that needs nothing but itself."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.commands.compare import pictures, taxonomy, wording
from experiments.commands.compare.comparing import Result
from experiments.commands.compare.measuring import LOOK_SAMPLES
from experiments.commands.compare.settings import Settings
from experiments.runner import pages
from genjax_models.core import DataSpec
from genjax_models.data import Dataset
from genjax_models.training.hooks import duration


class About(NamedTuple):
    """Facts that all rows of a comparison share.

    Attributes:
        settings: The comparison's settings.
        command: The command that made it.
        data: The split that figures are of.
        extractor: Name of what reads the features.
        floor: The Fréchet distance of as many real images to that split, were there more of them.
    """

    settings: Settings
    command: str
    data: Dataset
    extractor: str
    floor: float


def render(results: Sequence[Result], about: About) -> str:
    """The page.

    Args:
        results: The models that were measured so far, and those that failed.
        about: Facts that they share.
    """
    name, minutes = about.data.spec.name, f"{about.settings.minutes:g} min"
    measured = [result for result in results if "failed" not in result.row]
    return pages.fill(
        Path(__file__).with_name("page.html"),
        title=html.escape(f"Generative models on {name}"),
        dataset=html.escape(name),
        minutes=html.escape(minutes),
        num=len(results),
        colours=_colours(len(results)),
        facts=_facts(results, about),
        tree=_tree(results, about.data.spec),
        sheets=_sheets(results, about),
        quality=_quality(results),
        legend=_legend(),
        intervals=_intervals(results, about),
        cost=_cost(results),
        curves=_curves(measured),
        look_samples=LOOK_SAMPLES,
        extractor=html.escape(about.extractor),
        floor=f"{about.floor:.1f}",
        commands=_commands(measured, about),
    )


def in_a_sentence(about: About) -> str:
    """Describes the figures, for a caption."""
    settings = about.settings
    return (
        f"{about.data.spec.name}, at most {settings.minutes:g} min of training each, seed"
        f" {settings.seed}; {settings.samples:,} samples against {len(about.data):,} images of the"
        f" {about.data.split} split, to which as many real ones would be at {about.floor:.1f} in"
        f" Fréchet distance ({about.extractor}). In parentheses, intervals of 95 %."
    )


def _colours(num: int) -> str:
    light, dark = (
        "".join(f"--model-{i}:{pictures.colour(i, shade)};" for i in range(num))
        for shade in (False, True)
    )
    return f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"


def _facts(results: Sequence[Result], about: About) -> str:
    settings = about.settings
    devices = next((r.row["devices"] for r in results if "devices" in r.row), "")
    facts = {
        "training time each": f"at most {settings.minutes:g} min",
        "measured on": f"{about.data.split}, {len(about.data):,} images",
        "samples of each": f"{settings.samples:,}",
        "features": about.extractor,
        "seed": settings.seed,
        "devices": devices,
    }
    items = (f"<div><dt>{k}</dt><dd>{html.escape(str(v))}</dd></div>" for k, v in facts.items())
    return f"<dl>{''.join(items)}</dl>"


def _tree(results: Sequence[Result], spec: DataSpec) -> str:
    """The taxonomy as nested lists, the models at their leaves."""
    explicit = [_leaf(kind, results, spec) for kind in taxonomy.KINDS if kind.explicit]
    implicit = [_leaf(kind, results, spec) for kind in taxonomy.KINDS if not kind.explicit]
    return (
        '<ul class="tree"><li><div class="node root"><b>generative model</b>'
        "<span>learns p(x) from examples</span></div><ul>"
        '<li><div class="node"><b>explicit</b><span>says how likely an example is</span></div>'
        f"<ul>{''.join(explicit)}</ul></li>"
        '<li><div class="node"><b>implicit</b><span>draws examples, and says no more</span></div>'
        f"<ul>{''.join(implicit)}</ul></li></ul></li></ul>"
    )


def _leaf(kind: taxonomy.Kind, results: Sequence[Result], spec: DataSpec) -> str:
    models = [
        _model(i, result, spec)
        for i, result in enumerate(results)
        if result.row.get("kind") == kind.name
    ]
    return (
        f'<li><div class="node"><b>{kind.name if kind.explicit else "no density"}</b>'
        f"<code>{kind.asked}</code><span>{kind.meaning}</span></div>"
        f'<ul class="models">{"".join(models)}</ul></li>'
    )


def _model(index: int, result: Result, spec: DataSpec) -> str:
    row = result.row
    notes = [
        "a bound for discrete data: noise lies between" if row["dequantized"] else "",
        "has codes" if row["codes"] else "",
    ]
    picture = pictures.sheet(pictures.samples_of(result)[:8], spec, columns=4)
    words = "; ".join(filter(None, notes))
    return (
        f'<li><div class="node model m{index}" style="--own:var(--model-{index})">'
        f"<b>{html.escape(result.contender.title)}</b>"
        f'<img class="pixels" alt="Eight samples" src="{picture}">'
        f"{f'<span>{words}</span>' if words else ''}</div></li>"
    )


def _sheets(results: Sequence[Result], about: About) -> str:
    real = about.data.rows(np.arange(64) % len(about.data))["x"]
    caption = f"Real images of the {about.data.split} split, for comparison."
    figures = [_sheet("Test images", pictures.sheet(real, about.data.spec), caption, "")]
    for i, result in enumerate(results):
        if "failed" in result.row:
            continue
        row = result.row
        words = [f"Fréchet {wording.shown(row, wording.FRECHET)}"]
        if wording.value(row, wording.BITS) is not None:
            kind = row["bits_per_dim"]["kind"].split(",")[0]
            words.insert(0, f"{wording.shown(row, wording.BITS)} bits/dim ({kind})")
        words += [
            f"{name} {wording.shown(row, column)}"
            for name, column in (("precision", wording.PRECISION), ("recall", wording.RECALL))
        ]
        sheet = pictures.sheet(pictures.samples_of(result), about.data.spec)
        own = f"--own:var(--model-{i})"
        figures.append(_sheet(result.contender.title, sheet, "; ".join(words) + ".", own))
    return "".join(figures)


def _sheet(title: str, picture: str, caption: str, own: str) -> str:
    alt = html.escape(f"{title}: 64 images, the first that were drawn")
    return (
        f'<figure style="{own}"><h3>{html.escape(title)}</h3>'
        f'<img class="pixels" alt="{alt}" src="{picture}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _quality(results: Sequence[Result]) -> str:
    best = {column.key: _best(results, column) for column in wording.QUALITY}
    head = ["model", "density"]
    head += [f"{c.title}{f' <i>{c.unit}</i>' if c.unit else ''}" for c in wording.QUALITY]
    rows = []
    for i, result in enumerate(results):
        row = result.row
        if "failed" in row:
            rows.append((_name(i, result), f'<td colspan="6">{html.escape(row["failed"])}</td>'))
            continue
        cells = [f"<td>{html.escape(wording.kind_in_words(row))}</td>"]
        for column in wording.QUALITY:
            strong = " best" if wording.value(row, column) == best[column.key] else ""
            small = [wording.interval(row, column)]
            if column is wording.BITS:
                small.append(row[column.key]["kind"])
            notes = "".join(f"<small>{html.escape(s)}</small>" for s in small if s)
            cells.append(f'<td class="number{strong}">{wording.shown(row, column)}{notes}</td>')
        rows.append((_name(i, result), "".join(cells)))
    return _table(head, rows)


def _best(results: Sequence[Result], column: wording.Column) -> float | None:
    values = [wording.value(result.row, column) for result in results]
    known = [v for v in values if v is not None]
    return max(known, key=lambda v: column.best * v) if len(known) > 1 else None


def _cost(results: Sequence[Result]) -> str:
    head = [
        "model", "trained <i>time</i>", "steps", "compiling <i>s</i>",
        "time to sample <i>ms a sample</i>", "compiling <i>s</i>", "parameters", "has codes",
    ]  # fmt: skip
    rows = []
    for i, result in enumerate(results):
        row = result.row
        if "failed" in row:
            continue
        whole = row["steps"] == row["planned_steps"]
        steps = f"{row['steps']:,}" + ("" if whole else f" of {row['planned_steps']:,}")
        cells = (
            duration(row["train_seconds"]),
            steps,
            wording.number(row["compile_seconds"], 1),
            f"{wording.shown(row, wording.SAMPLE_MS)}"
            f"<small>{wording.interval(row, wording.SAMPLE_MS)}</small>",
            wording.number(row["sample_compile_seconds"], 1),
            wording.count(row["parameters"]),
            "yes" if row["codes"] else "no",
        )
        rows.append((_name(i, result), "".join(f'<td class="number">{c}</td>' for c in cells)))
    return _table(head, rows)


def _name(index: int, result: Result) -> str:
    title, name = html.escape(result.contender.title), result.contender.experiment
    own = f"--own:var(--model-{index})"
    return f'<th scope="row" style="{own}"><b>{title}</b><small>{name}</small></th>'


def _table(head: Iterable[str], rows: Iterable[tuple[str, str]]) -> str:
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    body = "".join(f"<tr>{name}{cells}</tr>" for name, cells in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _legend() -> str:
    items = (
        f"<div><dt>{column.title}</dt><dd>{html.escape(column.meaning)}</dd></div>"
        for column in wording.QUALITY
    )
    return f'<dl class="meanings">{"".join(items)}</dl>'


def _intervals(results: Sequence[Result], about: About) -> str:
    figures = []
    for column in wording.QUALITY:
        mark = about.floor if column is wording.FRECHET else None
        light, dark = pictures.in_both(
            lambda shade, column=column, mark=mark: pictures.intervals(results, column, shade, mark)
        )
        figures.append(_both(light, dark, f"{column.title} of each model with its interval"))
    return "".join(figures)


def _curves(results: Sequence[Result]) -> str:
    panels = (
        ("bits_per_dim", "bits/dim of validation images"),
        ("frechet_distance", "Fréchet distance of samples to validation images"),
    )
    figures = []
    for key, title in panels:
        light, dark = pictures.in_both(
            lambda shade, key=key, title=title: pictures.curve(results, key, title, shade)
        )
        figures.append(_both(light, dark, f"{title} against seconds of training"))
    return "".join(figures)


def _both(light: str, dark: str, alt: str) -> str:
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{html.escape(alt)}"></picture>'
    )


def _commands(results: Sequence[Result], about: About) -> str:
    lines = [about.command, *(result.row["command"] for result in results)]
    versions = next((r.row["versions"] for r in results), {})
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    codes = "".join(f"<code>{html.escape(line)}</code>" for line in lines)
    return f"{codes}<p>{html.escape(listed)}</p>"
