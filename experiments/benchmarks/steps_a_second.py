"""Steps a second, which `versus_pytorch` compares."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def of_fit(
    model: Any, data: Any, optimizer: Any, batch_size: int, warmup: int = 50, steps: int = 500
) -> float:
    """Steps a second of `fit`, compiling left out."""
    import genjax_models as gm

    times: list[float] = []
    gm.fit(
        model,
        data,
        optimizer,
        steps=warmup + steps,
        batch_size=batch_size,
        devices=1,
        log_every=warmup,
        hooks=[lambda state, metrics: times.append(time.perf_counter())],
    )
    return steps / (times[-1] - times[0])


def of(act: Callable[[], Any], warmup: int = 50, steps: int = 500) -> float:
    """Measures calls a second, after `warmup` calls."""
    for _ in range(warmup):
        act()
    start = time.perf_counter()
    for _ in range(steps):
        act()
    return steps / (time.perf_counter() - start)
