"""Ctrl-C and the signals that end a process, deferred until the state of the run is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Ctrl-C; what `kill`, a scheduler or a shutdown sends; and the closing of the terminal."""


class Interrupted(KeyboardInterrupt):
    """A run was interrupted, and saved.

    Attributes:
        step: Number of steps done.
        checkpoint_dir: Folder of its checkpoints.
        signal: Signal that interrupted it; SIGINT is Ctrl-C.
    """

    def __init__(self, step: int, checkpoint_dir: Path, number: int = signal.SIGINT) -> None:
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        super().__init__(
            f"interrupted{by} at step {step}, which is saved in {checkpoint_dir}: run the same "
            "again to go on from there"
        )
        self.step = step
        self.checkpoint_dir = checkpoint_dir
        self.signal = number


@contextmanager
def interrupts(
    deferred: bool, signals: Sequence[int] = STOPPING
) -> Iterator[Callable[[], int | None]]:
    """Defers signals, and yields a function that returns the first that came, or None.

    A second Ctrl-C interrupts at once; the other signals are sent twice by some terminals and
    schedulers, and wait. A signal that is ignored (`nohup`) stays ignored. Handlers are put back
    afterwards.

    Args:
        deferred: Whether to defer them. If not, or outside the main thread, which alone may handle
            signals, they do what they always do.
        signals: Signals to defer.
    """
    if not deferred or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: signal.getsignal(number) for number in signals}
    before = {n: handler for n, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    came: list[int] = []

    def handle(number: int, frame: Any) -> None:
        came.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    try:
        for number in before:
            signal.signal(number, handle)
        yield lambda: came[0] if came else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
