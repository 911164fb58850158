"""Ctrl-C, put off until the run's state is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts(deferred: bool) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, so that the loop can stop where its state is whole.

    A second Ctrl-C interrupts at once. Where it is not to be deferred, or this is not the main
    thread, which alone may handle signals, Ctrl-C does what it always does.
    """
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not deferred or not in_main or before in (None, signal.SIG_IGN):
        yield lambda: False
        return
    event = threading.Event()

    def handle(number: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield event.is_set
    finally:
        signal.signal(signal.SIGINT, before)
