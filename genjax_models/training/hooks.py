"""Hooks: what `fit` calls every so often, `(TrainState, metrics) -> None`, for all but the maths.

`metrics` are named numbers, the mean over the steps since the last call. The hooks here that
report (`progress_bar`, `json_lines`, `tensorboard`) take a `split` too, so that a hook that
evaluates on other data (`validation`) can pass its numbers on to them. In a run of several
processes only the first one reports.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import jax

if TYPE_CHECKING:
    from genjax_models.training.state import TrainState


class Hook(Protocol):
    """What `fit` calls with the state and the metrics since the last call."""

    def __call__(self, state: TrainState, metrics: Mapping[str, float], /) -> None:
        """Looks at the run; what it returns is ignored, what it raises stops the run."""
        ...


class Report(Protocol):
    """A hook that passes metrics on to a file or a screen, of whichever split."""

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Reports the metrics of that split at `state.step`."""
        ...


@dataclasses.dataclass(frozen=True)
class Every:
    """Calls a hook every `every` steps rather than at every log.

    Attributes:
        every: The period in steps.
        hook: What to call.
    """

    every: int
    hook: Hook

    def __post_init__(self) -> None:
        """Checks the period."""
        if self.every < 1:
            raise ValueError(f"every is {self.every}: a hook's period must be at least 1 step")

    def __call__(self, state: TrainState, metrics: Mapping[str, float], /) -> None:
        """Passes on to the hook; it is `fit` that keeps the period."""
        self.hook(state, metrics)


def validation(
    evaluate: Callable[[TrainState], Mapping[str, float]], reports: Iterable[Report]
) -> Hook:
    """A hook that evaluates the run on data held back, and reports it as split `validation`.

    Args:
        evaluate: The metrics of a state.
        reports: Who is told.
    """
    reports = tuple(reports)

    def hook(state: TrainState, metrics: Mapping[str, float], /) -> None:
        values = evaluate(state)
        for report in reports:
            report(state, values, split="validation")

    return hook


def json_lines(path: str | Path) -> Report:
    """Appends one JSON object a report to a file: `step`, `split` and the named values.

    A run that is resumed from a checkpoint repeats the steps since then. At its first report,
    lines of that step or later ones, which a run before this one left, are taken out of the file;
    so is a line that was cut off in the middle.

    Args:
        path: The file, made with its folder if need be.
    """
    path = Path(path)
    begun = False

    def report(state: TrainState, metrics: Mapping[str, float], /, split: str = "train") -> None:
        nonlocal begun
        if jax.process_index() != 0:
            return
        step = int(state.step)
        if not begun:
            path.parent.mkdir(parents=True, exist_ok=True)
            truncate_json_lines(path, before=step)
            begun = True
        row = {"step": step, "split": split, **{k: float(v) for k, v in metrics.items()}}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    return report


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """The whole lines of a file that `json_lines` wrote; none where there is no file."""
    path = Path(path)
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # cut off when the run was killed
    return rows


def truncate_json_lines(path: str | Path, before: int) -> None:
    """Keeps the lines of steps less than `before`; the file is exchanged in one go."""
    path = Path(path)
    if not path.exists():
        return
    kept = [row for row in read_json_lines(path) if row["step"] < before]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    os.replace(temporary, path)


def tensorboard(directory: str | Path) -> Report:
    """Writes TensorBoard event files: one tag a metric, under its split.

    Args:
        directory: Where the event files go.
    """
    writer: Any = None

    def report(state: TrainState, metrics: Mapping[str, float], /, split: str = "train") -> None:
        nonlocal writer
        if jax.process_index() != 0:
            return
        step = int(state.step)
        if writer is None:
            from tensorboardX import SummaryWriter

            writer = SummaryWriter(str(directory), purge_step=step)
        for name, value in metrics.items():
            writer.add_scalar(f"{split}/{name}", float(value), step)
        writer.flush()

    return report


def sample_grid(
    sample: Callable[[TrainState], Any], path: str | Path, levels: int | None = None
) -> Hook:
    """Draws samples and writes them as a grid; the file shows the latest.

    Args:
        sample: The images `[N, H, W, C]` of a state, usually drawn from `state.ema`.
        path: The image file.
        levels: The range of the values is 0 .. levels - 1.
    """

    def hook(state: TrainState, metrics: Mapping[str, float], /) -> None:
        from genjax_models import plots

        images = sample(state)
        if jax.process_index() == 0:
            plots.save(plots.grid(images, levels), path)

    return hook


def progress_bar(steps: int, interval: float = 10.0) -> ProgressBar:
    """Shows how far the run is: steps a second, the loss and its terms, and the time left.

    On a terminal it is a bar that is redrawn in place; elsewhere it is one line now and then:
    `with progress_bar(steps) as bar: fit(..., hooks=[bar])`.

    Args:
        steps: Length of the run.
        interval: Seconds between lines where there is no terminal.
    """
    return ProgressBar(steps, interval)


class ProgressBar:
    """What `progress_bar` makes; a context that gives the terminal back whatever happens.

    Attributes:
        rate: Steps a second since the first report, so without compiling; None until the second.
    """

    def __init__(self, steps: int, interval: float) -> None:
        """Keeps the settings; nothing is shown yet."""
        self.rate: float | None = None
        self._steps = steps
        self._interval = interval
        self._clock: tuple[float, int] | None = None  # when and where the rate is measured from
        self._next_line = -float("inf")
        self._pending: str | None = None
        self._shown: dict[str, str] = {}
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Draws the empty bar, so that compiling is not mistaken for hanging."""
        if jax.process_index() == 0 and sys.stderr.isatty():
            self._bar, self._task = _rich_bar(self._steps)
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Gives the terminal back; without one, prints where the run ended."""
        if self._bar is not None:
            self._bar.stop()
        if self._pending is not None:
            print(self._pending, file=sys.stderr, flush=True)

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Shows the metrics at `state.step`."""
        if jax.process_index() != 0:
            return
        step, now = int(state.step), time.perf_counter()
        self._shown[split] = format_metrics(metrics)
        if self._clock is None:
            self._clock = (now, step)  # what came before is compiling, not training
        seconds, done = now - self._clock[0], step - self._clock[1]
        if done and seconds > 0:
            self.rate = done / seconds
        if self._bar is not None:
            self._draw(step)
            return
        self._pending = _line(step, self._steps, self.rate, self._shown)
        if now >= self._next_line:
            print(self._pending, file=sys.stderr, flush=True)
            self._next_line, self._pending = now + self._interval, None

    def _draw(self, step: int) -> None:
        values = "  ".join(
            text if split == "train" else f"[dim]{split}[/dim] {text}"
            for split, text in self._shown.items()
        )
        left = f"{duration((self._steps - step) / self.rate)} left" if self.rate else ""
        speed = f"{self.rate:,.1f} steps/s" if self.rate else ""
        self._bar.update(self._task, completed=step, values=values, speed=speed, left=left)


def _rich_bar(steps: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TextColumn("[green]{task.fields[speed]}"),
        TextColumn("[cyan]{task.fields[left]}"),
        TextColumn("{task.fields[values]}"),
        console=Console(stderr=True),
        refresh_per_second=4,  # a redraw takes time from a small model's steps
    )
    return bar, bar.add_task("", total=steps, speed="compiling", left="", values="")


def _line(step: int, steps: int, rate: float | None, shown: Mapping[str, str]) -> str:
    parts = [f"step {step}/{steps}"]
    if rate is not None:
        parts += [f"{rate:,.1f} steps/s", f"{duration((steps - step) / rate)} left"]
    parts += [text if split == "train" else f"{split} {text}" for split, text in shown.items()]
    return "  ".join(parts)


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Named numbers in a line: `loss 98.21  kl 23.4`; a lone player's name is left out."""
    players = {name.split("/")[0] for name in metrics if "/" in name}
    short = {name: name.split("/", 1)[-1] if len(players) == 1 else name for name in metrics}
    totals_first = sorted(metrics, key=lambda name: name.split("/")[-1] != "loss")
    return "  ".join(f"{short[name]} {metrics[name]:.4g}" for name in totals_first)


def duration(seconds: float) -> str:
    """Seconds as a person reads them: `42s`, `3m 05s`, `2h 10m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
