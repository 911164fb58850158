"""How many programs JAX compiles, which tests hold to be none where nothing is new."""

import jax

_compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **kwargs: (
        _compiled.append(event) if "backend_compile" in event else None
    )
)


def num_compiled(call):
    """How many programs are compiled by a call."""
    before = len(_compiled)
    jax.block_until_ready(call())
    return len(_compiled) - before
