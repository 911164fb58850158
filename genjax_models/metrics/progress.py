"""A bar for what goes over a data set once; nothing where there is no terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import jax


@contextlib.contextmanager
def progress(total: int | None, what: str) -> Iterator[Callable[..., None]]:
    """A bar on the terminal, which goes when it is done.

    `with progress(9, "evaluating") as advance: ...`, where `advance()` is called nine times, or
    `advance(3)` three times.

    Args:
        total: How much there is to be done; None where that is not known.
        what: What is being done, to stand beside the bar.
    """
    if jax.process_index() != 0 or not sys.stderr.isatty():
        yield lambda num=1: None
        return
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(bar_width=32))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)
    with contextlib.ExitStack() as stack:
        # Inside another bar, such as that of the training which asks for it, there is none.
        with contextlib.suppress(LiveError):
            stack.enter_context(bar)
        yield lambda num=1: bar.advance(task, num)
