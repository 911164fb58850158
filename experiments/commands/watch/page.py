"""`watch.html`: the animation, its frames and the figures, on one page that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.watch.drawing import FLOOR, GAMMA
from experiments.commands.watch.learners import Learner, Look
from experiments.commands.watch.watching import Watched
from experiments.runner import pages


def render(
    watched: Sequence[Watched], pngs: Sequence[bytes], gif: bytes, name: str, command: str
) -> str:
    """The page.

    Args:
        watched: The models and what was seen of them.
        pngs: The frames.
        gif: The animation.
        name: The density's name.
        command: The command that made it.
    """
    steps = [look.step for look in watched[0].looks]
    return pages.fill(
        Path(__file__).with_name("page.html"),
        name=html.escape(name.replace("_", " ")),
        gif=pages.uri(gif, "gif"),
        frames="".join(
            f"<figure><figcaption>After {step:,} {'step' if step == 1 else 'steps'}</figcaption>"
            f'<img src="{pages.uri(png, "png")}" alt="The truth and the models after {step} steps">'
            "</figure>"
            for step, png in zip(steps, pngs, strict=True)
        ),
        last=len(steps) - 1,
        table=_table(watched, steps),
        kinds="".join(_kind(one.learner) for one in watched),
        gamma=GAMMA,
        floor=FLOOR,
        command=html.escape(command),
    )


def _table(watched: Sequence[Watched], steps: Sequence[int]) -> str:
    head = "".join(f"<th>{html.escape(one.learner.title)}</th>" for one in watched)
    rows = (
        f"<tr><td>{step:,}</td>{''.join(_cell(one.looks[i]) for one in watched)}</tr>"
        for i, step in enumerate(steps)
    )
    return (
        f"<table><thead><tr><th>steps</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _cell(look: Look) -> str:
    return f"<td>{look.kl.value:.3f} <small>± {2 * look.kl.standard_error:.3f}</small></td>"


def _kind(learner: Learner) -> str:
    title, kind = html.escape(learner.title), html.escape(learner.kind)
    return f"<li><b>{title}</b>: {kind}.</li>"
