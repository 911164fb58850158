"""The metrics of the steps since the last log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax_models.training.errors import NonFiniteLoss


class Window:
    """Metrics gathered step by step, and their means.

    A mean is taken over steps, not over calls, so it does not depend on how many steps a call made;
    steps that wait for the next log are saved with a checkpoint, so a resumed run logs the same.
    """

    def __init__(self, rows: Mapping[str, list[float]] | None = None) -> None:
        self._rows = {name: list(values) for name, values in (rows or {}).items()}

    def add(self, rows: Mapping[str, np.ndarray], first_step: int) -> None:
        """Adds the metrics `[num]` of some steps, the first of which is `first_step`.

        Raises:
            NonFiniteLoss: A metric is not finite.
        """
        for name, values in rows.items():
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size and not name.endswith("/loss"):  # its terms say more
                raise NonFiniteLoss(
                    _message(name, float(values[bad[0]]), first_step + int(bad[0]) + 1)
                )
        for name, values in rows.items():
            self._rows.setdefault(name, []).extend(float(v) for v in values)

    def means(self) -> dict[str, float]:
        """The mean of each metric."""
        return {name: float(np.mean(values)) for name, values in self._rows.items() if values}

    def clear(self) -> None:
        """Forgets all steps."""
        self._rows = {}

    def as_json(self) -> dict[str, Any]:
        """What `Window(...)` makes the same window of."""
        return self._rows


def _message(name: str, value: float, step: int) -> str:
    player, term = name.split("/", 1)
    return (
        f"step {step}: {term!r} of player {player!r} is {value}: the run is stopped and its last "
        "checkpoint is as it was; lower the learning rate, clip the gradient "
        "(optax.clip_by_global_norm), or look at the data"
    )
