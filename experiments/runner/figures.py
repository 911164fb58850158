"""Figures of a finished run, one after the other: each announced, and kept as it comes."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Figures = dict[str, dict[str, Any]]
"""Name -> value, unit and kind."""
HEARTBEAT = 20.0
"""Seconds between words of what takes long."""
_LEAVES_OUT = (ValueError, FileNotFoundError, ImportError)
"""What a figure raises that cannot be had here: too few samples, no labels, a package, a file."""


class Measured(NamedTuple):
    """What has been measured so far.

    Attributes:
        metrics: The figures.
        done: Names of what was measured.
        left_out: Name of what cannot be measured here -> why.
    """

    metrics: Figures = {}
    done: tuple[str, ...] = ()
    left_out: Mapping[str, str] = {}

    def pending(self, names: Mapping[str, Any]) -> tuple[str, ...]:
        """Which of the names are still to be measured."""
        return tuple(n for n in names if n not in self.done and n not in self.left_out)


def measure_all(
    figures: Mapping[str, Callable[[], Figures]],
    found: Measured,
    keep: Callable[[Measured], None],
) -> Measured:
    """Measures what has not been measured yet.

    What cannot be measured here is left out with a line that says why; the others are kept.

    Args:
        figures: Name -> a function of its figures.
        found: What was measured before.
        keep: Is given all that was found so far, after each.
    """
    for name in found.pending(figures):
        where = f"{list(figures).index(name) + 1} of {len(figures)}"
        try:
            with announced(f"measuring {name.replace('_', ' ')} ({where})"):
                metrics = figures[name]()
            found = found._replace(metrics=found.metrics | metrics, done=(*found.done, name))
        except _LEAVES_OUT as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"{name.replace('_', ' ')} is left out: {why}", file=sys.stderr, flush=True)
            found = found._replace(left_out={**found.left_out, name: why})
        keep(found)
    return found


@contextlib.contextmanager
def announced(what: str, every: float = HEARTBEAT) -> Iterator[None]:
    """Says what begins, and from time to time that it still goes on."""
    from genjax_models.training.hooks import duration

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    def beat() -> None:
        while not ended.wait(every):
            say(f"{what}, for {duration(time.monotonic() - began)}")

    ended, began = threading.Event(), time.monotonic()
    say(what)
    watch = threading.Thread(target=beat, daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
