"""Hooks: what `fit` calls every so often, `(TrainState, metrics) -> None`, for all but the maths.

`metrics` are named numbers, the mean over the steps since the last call. The hooks here that
report (`progress_bar`, `json_lines`, `tensorboard`) take a `split` too, so that a hook that
evaluates on other data (`validation`) can pass its numbers on to them. In a run of several
processes only the first one reports.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import jax

from genjax_models.core.files import replaced
from genjax_models.training.errors import Diverged
from genjax_models.training.progress import progress_bar as progress_bar

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


def stop_when(metric: str, *, above: float, mend: str) -> Hook:
    """A hook that stops the run when a metric goes above a bound: what diverges is seldom NaN.

    Args:
        metric: Its name, `player/term`.
        above: The highest value that is let pass.
        mend: What to do about it, to end the message.

    Raises:
        Diverged: From the hook: the metric is above the bound.
        ValueError: From the hook: there is no such metric; it lists them.
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
    """The whole lines of a file that `json_lines` wrote; none where there is no file.

    Others are left out, with a warning, but for a last one that was cut off when a run was killed.
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
    """What a line of `json_lines` says, or None if it is no such line."""
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
    """Keeps the lines of steps less than `before`; the file is exchanged in one go."""
    path = Path(path)
    if not path.exists():
        return
    kept = [row for row in read_json_lines(path) if row["step"] < before]
    with replaced(path) as fresh:
        fresh.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")


def tensorboard(directory: str | Path) -> Report:
    """Writes TensorBoard event files: one tag a metric, under its split.

    Args:
        directory: Where the event files go.
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


def coverage(
    count: Callable[[TrainState], tuple[int, int]], below: int, reports: Iterable[Report] = ()
) -> Hook:
    """Watches how many modes samples cover, and warns when they are fewer than `below`.

    It warns at the first such look and, once there have been enough again, at the next one. A
    generator that has just begun covers few: `Every` puts the first look off.

    Args:
        count: The number of modes that samples of a state cover, and of those that there are
            (`metrics.mode_shares` and `metrics.classified_modes` count them).
        below: The least number of modes that is enough.
        reports: Who is told the number, as `modes` of split `validation`.
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
