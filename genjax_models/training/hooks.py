"""Hooks: functions `(TrainState, metrics) -> None` that `fit` calls every so often.

`metrics` are named numbers: the means over the steps since the last log. The hooks that report
(`progress_bar`, `json_lines`, `tensorboard`) take a `split` as well, so that a hook that evaluates
on other data (`validation`) can pass its numbers to them. In a run of several processes only the
first one reports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import jax

from genjax_models.core.files import replaced
from genjax_models.training.state import TrainState


class Diverged(FloatingPointError):
    """A metric left its bounds.

    Attributes:
        step: Step after which it was seen.
        metric: Name of the metric.
    """

    def __init__(self, message: str, step: int, metric: str) -> None:
        super().__init__(message)
        self.step = step
        self.metric = metric


class Hook(Protocol):
    """A function of the state and the mean metrics since the last log."""

    def __call__(self, state: TrainState, metrics: Mapping[str, float], /) -> None:
        """Looks at the run. What it returns is ignored; what it raises stops the run."""
        ...


class Report(Protocol):
    """A hook that writes the metrics of a split to a file or a screen."""

    def __call__(
        self, state: TrainState, metrics: Mapping[str, float], /, split: str = "train"
    ) -> None:
        """Reports the metrics of the split at `state.step`."""
        ...


@dataclasses.dataclass(frozen=True)
class Every:
    """A hook that is called every `every` steps rather than at every log.

    Attributes:
        every: Period in steps.
        hook: Hook to call.
    """

    every: int
    hook: Hook

    def __post_init__(self) -> None:
        """Checks the period."""
        if self.every < 1:
            raise ValueError(f"every is {self.every}: a hook's period must be at least 1 step")

    def __call__(self, state: TrainState, metrics: Mapping[str, float], /) -> None:
        """Calls the hook; `fit` keeps the period."""
        self.hook(state, metrics)


def validation(
    evaluate: Callable[[TrainState], Mapping[str, float]], reports: Iterable[Report]
) -> Hook:
    """Returns a hook that evaluates held-out data and reports the split `validation`.

    Args:
        evaluate: Returns the metrics of a state.
        reports: Hooks to pass them to.
    """
    reports = tuple(reports)

    def hook(state: TrainState, metrics: Mapping[str, float], /) -> None:
        values = evaluate(state)
        for report in reports:
            report(state, values, split="validation")

    return hook


def stop_when(metric: str, *, above: float, mend: str) -> Hook:
    """Returns a hook that stops the run when a metric exceeds a bound.

    A run that diverges seldom shows a NaN.

    Args:
        metric: Name of the metric, `player/term`.
        above: Highest value that is accepted.
        mend: Advice that ends the message.

    Raises:
        Diverged: By the hook: the metric exceeds the bound.
        ValueError: By the hook: there is no such metric; the message lists those that exist.
    """

    def hook(state: TrainState, metrics: Mapping[str, float], /) -> None:
        if metric not in metrics:
            raise ValueError(
                f"there is no metric {metric!r} to stop the run by: there are {', '.join(metrics)}"
            )
        step = int(state.step)
        if metrics[metric] > above:
            raise Diverged(
                f"step {step}: {metric} is {metrics[metric]:.4g}, above {above:.4g}: the run is "
                f"stopped and its last checkpoint is as it was; {mend}",
                step,
                metric,
            )

    return hook


def json_lines(path: str | Path) -> Report:
    """Returns a hook that appends one JSON object a report: `step`, `split` and the metrics.

    A run that is resumed from a checkpoint repeats the steps since then. At the first report, the
    lines of that step and later ones, left by an earlier run, are removed from the file; so is a
    line that was cut off in the middle.

    Args:
        path: File, created with its folder if needed.
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
    """Reads the lines of a file that `json_lines` wrote; none where there is no file.

    Damaged lines are left out with a warning; a last line without an end is left out silently.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    found = [_row(line) for line in text.split("\n")[:-1]]
    if damaged := [number for number, row in enumerate(found, 1) if row is None]:
        listed = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        warnings.warn(f"{path} is damaged at line {listed}: left out", stacklevel=2)
    return [row for row in found if row is not None]


def _row(line: str) -> dict[str, Any] | None:
    """Returns the object of a line of `json_lines`, or None for any other line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("split"), str):
        return None
    numbers = {name: value for name, value in row.items() if name != "split"}
    whole = type(numbers.get("step")) is int
    return row if whole and all(type(v) in (int, float) for v in numbers.values()) else None


def truncate_json_lines(path: str | Path, before: int) -> None:
    """Keeps the lines of steps below `before`; the file is replaced atomically."""
    path = Path(path)
    if not path.exists():
        return
    kept = [row for row in read_json_lines(path) if row["step"] < before]
    with replaced(path) as fresh:
        fresh.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")


def tensorboard(directory: str | Path) -> Report:
    """Returns a hook that writes TensorBoard event files, with one tag `split/metric` a metric.

    Args:
        directory: Folder of the event files.
    """
    writers: list[Any] = []

    def report(state: TrainState, metrics: Mapping[str, float], /, split: str = "train") -> None:
        if jax.process_index() != 0:
            return
        step = int(state.step)
        if not writers:
            from tensorboardX import SummaryWriter

            writers.append(SummaryWriter(str(directory), purge_step=step))
        for name, value in metrics.items():
            writers[0].add_scalar(f"{split}/{name}", float(value), step)
        writers[0].flush()

    # The writer's thread would lose what it has not written when the program ends.
    weakref.finalize(report, lambda: [writer.close() for writer in writers])
    return report


def sample_grid(
    sample: Callable[[TrainState], Any], path: str | Path, num_levels: int | None = None
) -> Hook:
    """Returns a hook that draws samples and writes them as a grid, over the last one.

    Args:
        sample: Returns images `[N, H, W, C]` of a state, usually drawn from `state.ema`.
        path: Image file.
        num_levels: The values are in 0 .. num_levels - 1.
    """

    def hook(state: TrainState, metrics: Mapping[str, float], /) -> None:
        from genjax_models import plots

        images = sample(state)
        if jax.process_index() == 0:
            plots.save(plots.grid(images, num_levels), path)

    return hook


def coverage(
    count: Callable[[TrainState], tuple[int, int]], below: int, reports: Iterable[Report] = ()
) -> Hook:
    """Returns a hook that warns when samples cover fewer than `below` modes.

    It warns once, and again only after there have been enough in between. A generator that has
    just begun covers few: `Every` delays the first look.

    Args:
        count: Returns the number of modes that samples of a state cover, and of all modes
            (`metrics.mode_shares` and `metrics.classified_modes` count them).
        below: Least number of modes that is enough.
        reports: Hooks to pass the number to, as `modes` of split `validation`.
    """
    reports, enough = tuple(reports), True

    def hook(state: TrainState, metrics: Mapping[str, float], /) -> None:
        nonlocal enough
        covered, of = count(state)
        for report in reports:
            report(state, {"modes": float(covered)}, split="validation")
        warns, enough = enough and covered < below, covered >= below
        if warns and jax.process_index() == 0:
            warnings.warn(
                f"step {int(state.step)}: samples cover {covered} of {of} modes, fewer than "
                f"{below}: the generator may be collapsing",
                stacklevel=2,
            )

    return hook


def progress_bar(steps: int, interval: float = 10.0) -> ProgressBar:
    """Returns a hook that shows steps a second, the loss and its terms, and the time left.

    On a terminal it is a bar that is redrawn in place, elsewhere one line now and then:
    `with progress_bar(steps) as bar: fit(..., hooks=[bar])`.

    Args:
        steps: Length of the run in steps.
        interval: Seconds between lines where there is no terminal.
    """
    return ProgressBar(steps, interval)


class ProgressBar:
    """The hook of `progress_bar`: a context that restores the terminal whatever happens.

    Attributes:
        rate: Steps a second since the first report, so without compiling; None before the second.
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
        self._screen: _Screen | None = None

    def __enter__(self) -> Self:
        """Draws the empty bar, so that compiling is not mistaken for hanging."""
        if jax.process_index() == 0 and sys.stderr is not None and sys.stderr.isatty():
            self._screen = _Screen(self._steps)
        return self

    def __exit__(self, *exc: object) -> None:
        """Restores the terminal; without one, prints the last line."""
        if self._screen is not None:
            with _reader_may_go():
                self._screen.live.stop()
        if self._pending is not None:
            _say(self._pending)

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
        if self._screen is not None:
            with _reader_may_go():
                self._screen.draw(step, self._speed(step), self._shown)
            return
        self._pending = _line(step, self._steps, self._speed(step), self._shown)
        if now >= self._next_line:
            _say(self._pending)
            self._next_line, self._pending = now + self._interval, None

    def _speed(self, step: int) -> list[str]:
        """Returns steps a second and the time left, if they are known."""
        if self.rate is None:
            return []
        left = duration((self._steps - step) / self.rate)
        return [f"{self.rate:,.1f} steps/s", f"{left} left"]


class _Screen:
    """A terminal's few lines: the bar, and beneath it the metrics of each split."""

    def __init__(self, steps: int) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.text import Text

        columns = (MofNCompleteColumn(), BarColumn(bar_width=32), TextColumn("{task.description}"))
        self.bar = Progress(*columns)
        self._task = self.bar.add_task("compiling", total=steps)
        self._metrics = Text(no_wrap=True, overflow="ellipsis")
        self.live = Live(
            Group(self.bar, self._metrics),
            console=Console(stderr=True),
            refresh_per_second=4,  # a redraw takes time from a small model's steps
        )
        self.live.start()

    def draw(self, step: int, speed: list[str], shown: Mapping[str, str]) -> None:
        self.bar.update(self._task, completed=step, description="  ".join(speed))
        width = max(map(len, shown))
        lines = [f"{split:<{width}}  {text}" for split, text in shown.items()]
        self._metrics.plain = "\n".join(lines)


def _say(line: str) -> None:
    if sys.stderr is not None:  # it is None where it was closed, and `print` would take stdout
        with _reader_may_go():
            print(line, file=sys.stderr, flush=True)


def _reader_may_go() -> contextlib.AbstractContextManager[None]:
    """Ignores a closed screen: that nobody looks at a run is no reason to end it."""
    return contextlib.suppress(OSError, ValueError)


def _line(step: int, steps: int, speed: list[str], shown: Mapping[str, str]) -> str:
    values = [text if split == "train" else f"{split} {text}" for split, text in shown.items()]
    return "  ".join([f"step {step}/{steps}", *speed, *values])


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Formats metrics in a line, `loss 98.21  kl 23.4`; a lone player's name is left out."""
    players = {name.split("/")[0] for name in metrics if "/" in name}
    short = {name: name.split("/", 1)[-1] if len(players) == 1 else name for name in metrics}
    totals_first = sorted(metrics, key=lambda name: name.split("/")[-1] != "loss")
    return "  ".join(f"{short[name]} {metrics[name]:.4g}" for name in totals_first)


def duration(seconds: float) -> str:
    """Formats seconds: `42s`, `3m 05s`, `2h 10m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
