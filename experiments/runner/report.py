"""`report.html`: a run on one page that needs nothing but itself, no network and no other file."""

from __future__ import annotations

import html
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.runner import pages, runs
from experiments.runner.config import fields
from genjax_models import plots
from genjax_models.core.files import replaced
from genjax_models.data.text import printable
from genjax_models.training.hooks import duration, read_json_lines


def write(record: runs.Record, result: Mapping[str, Any]) -> None:
    """Writes a run's report from its pictures and metrics.

    Args:
        record: The run.
        result: Contents of `result.json`.
    """
    dataset = record.spec.name
    page = pages.fill(
        Path(__file__).with_name("report.html"),
        title=html.escape(f"{record.experiment.name} on {dataset}"),
        name=html.escape(record.experiment.name),
        dataset=html.escape(dataset),
        summary=html.escape(record.experiment.summary),
        goal=_goal(result),
        metrics=_metrics(result),
        facts=_facts(result),
        command=html.escape(result["command"]),
        curves=_curves(record),
        pictures=_pictures(record, result["split"]),
        settings=_settings(record),
        versions=html.escape(", ".join(f"{k} {v}" for k, v in result["versions"].items())),
    )
    with replaced(record.directory / runs.REPORT) as fresh:
        fresh.write_text(page, "utf-8")


def _goal(result: Mapping[str, Any]) -> str:
    if result["goal"] is None:
        return ""
    reached = result["reached"]
    mark, word = {True: ("yes", "reached"), False: ("no", "not reached")}.get(
        reached, ("open", "not measured")
    )
    return f'<p class="goal {mark}">Goal {html.escape(result["goal"])}: <b>{word}</b></p>'


def _metrics(result: Mapping[str, Any]) -> str:
    rows = [
        (name, f"{metric['value']:.4g}", metric["unit"], metric["kind"])
        for name, metric in result["metrics"].items()
    ]
    rows += [(name, "", "", f"left out: {why}") for name, why in result.get("left_out", {}).items()]
    rows += [(name, "", "", "not measured yet") for name in result.get("pending", ())]
    return _table(("metric", "value", "unit", "kind of figure"), rows, numbers=(1,))


def _facts(result: Mapping[str, Any]) -> str:
    speed = result["steps_per_second"]
    facts = {
        "split": f"{result['split']}, {result['examples']:,} examples",
        "seed": result["seed"],
        "steps": f"{result['steps']:,}",
        "time": duration(result["seconds"]),
        "speed": "" if speed is None else f"{speed:,.1f} steps/s",
        "devices": result["devices"],
    }
    items = (
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd></div>"
        for name, value in facts.items()
        if value != ""
    )
    return f"<dl>{''.join(items)}</dl>"


OF_TEXTS = ("window", "tokenizer", "bpe_size")
OF_FOLDERS = ("size", "crop", "flip", "color")


def _settings(record: runs.Record) -> str:
    """The settings that the run's data and figures depend on.

    Those that are not the experiment's own are marked; those that are off are left out, and those
    of texts or of folders of images where the data are none.
    """
    own = {name: value for name, _, value in fields(record.experiment.config)}
    unread = () if record.spec.vocabulary else OF_TEXTS
    unread += () if Path(record.config.dataset).expanduser().is_dir() else OF_FOLDERS
    rows = []
    for name, _, value in fields(record.config):
        changed = value != own.get(name)
        if changed or not (name in unread or value is None or value is False or value == ()):
            note = f"changed from {_text(own.get(name))}" if changed else ""
            rows.append((name, _text(value), note))
    return _table(("setting", "value", "not the experiment's own"), rows)


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _table(
    head: Iterable[str], rows: Iterable[Iterable[Any]], numbers: tuple[int, ...] = ()
) -> str:
    def cells(tag: str, row: Iterable[Any]) -> str:
        return "".join(
            f"<{tag}{' class=number' if i in numbers else ''}>{html.escape(str(cell))}</{tag}>"
            for i, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def _curves(record: runs.Record) -> str:
    """The curves twice: dark ink for a light page, light ink for a dark one."""
    rows = read_json_lines(record.directory / runs.METRICS)
    light, dark = (pages.svg(plots.curves(rows, dark=dark)) for dark in (False, True))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img class="curves" src="{light}" alt="{html.escape(_curves_in_words(rows))}"></picture>'
    )


def _curves_in_words(rows: list[dict[str, Any]]) -> str:
    """Describes the curves for readers who cannot see them: first and last value of each metric."""
    parts = []
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        names = [name for name in own[-1] if name not in ("step", "split") and name in own[0]]
        ends = ", ".join(f"{name} {own[0][name]:.4g} to {own[-1][name]:.4g}" for name in names)
        parts.append(f"{split} from step {own[0]['step']} to {own[-1]['step']}: {ends}")
    return "Metrics over the steps. " + "; ".join(parts)


def _pictures(record: runs.Record, split: str) -> str:
    dataset, points = record.spec.name, record.spec.shape == (2,)
    drawn = f"New examples of {dataset}, drawn from the model."
    if record.spec.class_names and "label" in record.setup.condition(1):
        drawn += f" Their classes, in turn: {', '.join(record.spec.class_names)}."
    beside = f"Points of {dataset} ({split} split) on the left, of the model on the right."
    captions = {
        runs.SAMPLES: ("Samples", beside if points else drawn),
        runs.DENSITY: ("Density", "The density p(x) that the model has learned."),
        runs.RECONSTRUCTIONS: (
            "Reconstructions",
            f"Examples of {dataset} ({split} split), and beneath each what comes back of it through"
            " its code.",
        ),
    }
    figures = [_text_figure(record.directory / runs.TEXTS, drawn)]
    for name, (title, caption) in captions.items():
        path = record.directory / name
        if path.exists():
            shown = (
                f'<img class="{"plot" if points else "pixels"}" alt="{html.escape(caption)}"'
                f' src="{pages.uri(path.read_bytes(), "png")}">'
            )
            if name == runs.SAMPLES:
                shown += _players(path)
            figures.append(_figure(title, shown, caption))
    return "".join(figures)


PLAYERS: Mapping[str, str] = {
    "gif": '<img class="pixels" alt="The samples, moving." src="$address">',
    "wav": '<audio controls src="$address"></audio>',
    "mid": '<p><a download="$name" href="$address">$name</a>, to play or to print as music</p>',
}
"""HTML that plays or offers a file of samples, by its suffix."""


def _players(samples: Path) -> str:
    """Films and sounds beside their pictures: the files of the experiment's writers."""
    shown = []
    for kind, player in PLAYERS.items():
        path = samples.with_suffix(f".{kind}")
        if path.exists():
            address = pages.uri(path.read_bytes(), kind)
            shown.append(string.Template(player).substitute(address=address, name=path.name))
    return "".join(shown)


def _text_figure(path: Path, caption: str) -> str:
    if not path.exists():
        return ""
    words = printable(path.read_text("utf-8"))
    return _figure("Samples", f"<pre>{html.escape(words)}</pre>", caption)


def _figure(title: str, shown: str, caption: str) -> str:
    caption = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f"<figure><h2>{title}</h2>{shown}{caption}</figure>"
