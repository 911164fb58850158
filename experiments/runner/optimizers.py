"""From an optimizer's settings to Optax: the one place where names become schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import optax

from experiments.runner.config import Optimizer, ScheduleName

SCHEDULES: Mapping[ScheduleName, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda peak, steps: optax.constant_schedule(peak),
    "linear": lambda peak, steps: optax.linear_schedule(peak, 0.0, steps),
    "cosine": lambda peak, steps: optax.cosine_decay_schedule(peak, steps),
    "exponential": lambda peak, steps: optax.exponential_decay(peak, steps, 0.01),
}
"""Name -> (highest value, steps to fall over) -> schedule."""


def learning_rate(settings: Optimizer, steps: int) -> optax.Schedule:
    """The learning rate over a run: a linear warm-up, then the named schedule."""
    warmup = settings.warmup_steps
    if warmup >= steps:
        raise ValueError(
            f"--optimizer.warmup-steps is {warmup} but the run has {steps} steps: warm up for fewer"
        )
    fall = SCHEDULES[settings.schedule](settings.learning_rate, steps - warmup)
    if warmup == 0:
        return fall
    rise = optax.linear_schedule(0.0, settings.learning_rate, warmup)
    return optax.join_schedules([rise, fall], [warmup])


def make_optimizer(settings: Optimizer, steps: int) -> optax.GradientTransformation:
    """Adam with decoupled weight decay and gradient clipping, each where it is asked for."""
    adam = optax.adamw(
        learning_rate(settings, steps),
        b1=settings.b1,
        b2=settings.b2,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        mask=lambda params: jax.tree.map(lambda a: a.ndim > 1, params),
    )
    if settings.gradient_clip is None:
        return adam
    return optax.chain(optax.clip_by_global_norm(settings.gradient_clip), adam)
