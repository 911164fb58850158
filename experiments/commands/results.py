"""`results`: the project's records, and the page that is written from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from experiments.commands.arguments import PROGRAM, parse
from experiments.runner import records
from experiments.runner.records import Figure, Record

PAGE = records.FOLDER.parent / "RESULTS.md"

PARTS = {
    "compare": "All families, one ruler",
    "autoencoders": "Autoencoders",
    "flows": "Flows",
    "autoregressive": "Autoregressive models",
    "diffusion": "Diffusion",
    "adversarial": "Adversarial models",
    "energy": "Energy-based models",
    "applications": "Applications",
    "speed": "Speed",
}
"""Family -> heading; a family that is not here stands under its own name, after these."""

HEAD = f"""# Results

Written by `{PROGRAM} results` from the records in `results/`; do not edit this page. Figures are of
the test split and of the averaged parameters, unless the row says otherwise. **Bold** figures reach
their goal; a goal that was missed is marked so. Where a commit or a time was not recorded, the cell
is empty.
"""


@dataclasses.dataclass(frozen=True)
class AddArguments:
    """Take finished runs into the project's records: several seeds of one run are one record."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN")]
    """Run directories that differ in their seed alone."""
    name: str | None = None
    """The record's name; EXPERIMENT_DATASET by default."""


def main(argv: Sequence[str]) -> int:
    """`results` writes the page, `results add RUN ...` takes runs into the records first."""
    if argv and argv[0] == "add":
        add(parse(AddArguments, "results add", argv[1:]))
    elif argv:
        raise ValueError(
            f"results takes no {argv[0]}: give nothing, to write {PAGE.name} from the records, or"
            f" `add RUN`, to take a run into them"
        )
    PAGE.write_text(page(records.read_all()), "utf-8")
    print(f"{PAGE} holds {len(records.read_all())} records")
    return 0


def add(arguments: AddArguments) -> None:
    """Writes the record of runs.

    Raises:
        ValueError: No run is given, one is not finished, or they differ in more than their seed.
    """
    if not arguments.runs:
        raise ValueError("results add needs a run directory")
    for run in arguments.runs:
        if not (run / records.RECORD).is_file():
            raise ValueError(f"{run} holds no {records.RECORD}: give a run that has been finished")
    joined = records.join_seeds([records.read(run / records.RECORD) for run in arguments.runs])
    name = arguments.name or arguments.runs[0].resolve().name.rsplit("-seed", 1)[0]
    records.write(records.FOLDER / f"{name.replace('-', '_')}.json", joined)


def page(kept: Mapping[str, Record]) -> str:
    """The page of these records."""
    families = dict.fromkeys((*PARTS, *(record.family for record in kept.values())))
    parts = [HEAD]
    for family in families:
        rows = [row for record in kept.values() if record.family == family for row in _rows(record)]
        if rows:
            parts.append("\n".join([f"## {PARTS.get(family, family)}\n", *_TABLE, *rows]) + "\n")
    return "\n".join(parts)


_TABLE = (
    "| run | figure | measured | goal | to compare with | seeds | time | commit |",
    "|---|---|---|---|---|---|---|---|",
)


def _rows(record: Record) -> Iterator[str]:
    """A row for each figure; what is of the run stands in the first."""
    what = record.summary + (f"<br>`{record.command}`" if record.command else "")
    if record.note:
        what += f"<br>{record.note}"
    seeds = ", ".join(map(str, record.seeds))
    time = "" if record.seconds is None else records.duration(record.seconds)
    if record.timed:
        time = f"{time} ({record.timed})".strip()
    of_run = (what, seeds, time, record.commit or "")
    for figure in record.figures:
        first, seeds, time, commit = of_run
        cells = (first, _name(figure), _measured(figure), _goal(figure), figure.reference)
        yield "| " + " | ".join(map(_cell, (*cells, seeds, time, commit))) + " |"
        of_run = ("", "", "", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _name(figure: Figure) -> str:
    kind = f" ({figure.kind})" if figure.kind else ""
    num = f", {figure.num:,} examples" if figure.num is not None else ""
    return figure.metric + kind + num


def _measured(figure: Figure) -> str:
    value = f"{figure.value:.5g}"
    if figure.reached:
        value = f"**{value}**"
    if figure.unit:
        value += f" {figure.unit}"
    if figure.low is not None and figure.high is not None:
        value += f" ({figure.low:.5g} to {figure.high:.5g}; {figure.interval})"
    return value


def _goal(figure: Figure) -> str:
    bounds = (("≤", figure.at_most), ("≥", figure.at_least))
    goal = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    return f"{goal}: not reached" if figure.reached is False else goal
