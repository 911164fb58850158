"""Ctrl-C and the signals that end a process, put off until the run's state is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Ctrl-C; what `kill`, a scheduler or a shutdown sends; and a terminal that is closed."""


@contextmanager
def interrupts(
    deferred: bool, signals: Sequence[int] = STOPPING
) -> Iterator[Callable[[], int | None]]:
    """Which signal came first, if any did, so that the loop can stop where its state is whole.

    A second Ctrl-C interrupts at once; the other signals are sent twice by some terminals and
    schedulers, and wait. A signal that is ignored (`nohup`) stays so. Where signals are not to be
    deferred, or this is not the main thread, which alone may handle them, they do what they always
    do. So they do afterwards.
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
