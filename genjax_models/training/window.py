"""The metrics of the steps since the last log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax_models.training.errors import NonFiniteLoss


class Window:
    """Metrics gathered step by step, and their means.

    A mean is taken over steps, one added after the other, so it does not depend on how many of them
    a call made. The sums so far are saved with a checkpoint, so a resumed run logs the same.
    """

    def __init__(self, num: int = 0, sums: Mapping[str, float] | None = None) -> None:
        """Args: the number of steps so far, and the sum of each metric over them."""
        self._num = num
        self._sums = dict(sums or {})

    def add(self, rows: Mapping[str, np.ndarray], first_step: int) -> None:
        """Adds the metrics `[num]` of some steps, the first of which is `first_step`.

        Raises:
            NonFiniteLoss: A metric is not finite.
        """
        _check_finite(rows, first_step)
        for name, values in rows.items():
            sums = np.append(self._sums.get(name, 0.0), values.astype(np.float64))
            self._sums[name] = float(np.add.accumulate(sums)[-1])
        self._num += len(next(iter(rows.values())))

    def means(self) -> dict[str, float]:
        """The mean of each metric."""
        return {name: value / self._num for name, value in self._sums.items()}

    def clear(self) -> None:
        """Forgets all steps."""
        self._num, self._sums = 0, {}

    def as_json(self) -> dict[str, Any]:
        """What `Window(**...)` makes the same window of."""
        return {"num": self._num, "sums": self._sums}


def _check_finite(rows: Mapping[str, np.ndarray], first_step: int) -> None:
    first = {name: np.flatnonzero(~np.isfinite(values)) for name, values in rows.items()}
    first = {name: int(bad[0]) for name, bad in first.items() if bad.size}
    if not first:
        return
    step = min(first.values())  # of the steps after it, everything is lost
    name = min((n for n, s in first.items() if s == step), key=_how_indirect)
    value, (player, term) = rows[name][step], name.split("/", 1)
    raise NonFiniteLoss(
        f"step {first_step + step + 1}: {term!r} of player {player!r} is {value}: the run is "
        "stopped and its last checkpoint is as it was; lower the learning rate, clip the gradient "
        "(optax.clip_by_global_norm), or look at the data",
        step=first_step + step + 1,
        player=player,
    )


def _how_indirect(name: str) -> int:
    """A term says more than the loss that it is a part of, which says more than its gradient."""
    return {"loss": 1, "gradient_norm": 2}.get(name.split("/", 1)[1], 0)
