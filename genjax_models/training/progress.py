"""A progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import jax

if TYPE_CHECKING:
    from genjax_models.training.state import TrainState


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
        self._screen: _Screen | None = None

    def __enter__(self) -> Self:
        """Draws the empty bar, so that compiling is not mistaken for hanging."""
        if jax.process_index() == 0 and sys.stderr is not None and sys.stderr.isatty():
            self._screen = _Screen(self._steps)
        return self

    def __exit__(self, *exc: object) -> None:
        """Gives the terminal back; without one, prints where the run ended."""
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
        """Steps a second and the time left, where they are known."""
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
    """Nobody may look at a run any more: that is no reason to end it."""
    return contextlib.suppress(OSError, ValueError)


def _line(step: int, steps: int, speed: list[str], shown: Mapping[str, str]) -> str:
    values = [text if split == "train" else f"{split} {text}" for split, text in shown.items()]
    return "  ".join([f"step {step}/{steps}", *speed, *values])


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
